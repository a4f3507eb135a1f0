package engine

import (
	"os/exec"
	"sync"
	"testing"
)

// TestALockThatIsLetGoIsFree: also while this process starts others, and while
// somebody looks whether it is held.
func TestALockThatIsLetGoIsFree(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stop := make(chan struct{})
	var meanwhile sync.WaitGroup
	for _, do := range []func(){
		func() { _ = exec.Command("true").Run() },
		func() { _ = e.Driven("run") },
	} {
		meanwhile.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	for range 500 {
		unlock, err := e.lock("run")
		if err != nil {
			t.Error(err)
			break
		}
		if e.Driven("run") == nil {
			t.Error("it is held, and nobody is said to hold it")
		}
		unlock()
	}
	close(stop)
	meanwhile.Wait()
}
