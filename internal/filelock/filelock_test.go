package filelock_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"ratchet/internal/filelock"
)

// TestWhatIsLetGoIsFree: also while this process starts others, and while another process
// looks whether it is held.
func TestWhatIsLetGoIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Error(err)
		}
		return f
	}
	held := func() bool {
		f := open()
		defer filelock.Release(f)
		return filelock.Held(f)
	}
	stop := make(chan struct{})
	var meanwhile sync.WaitGroup
	for _, do := range []func(){
		func() { _ = exec.Command("true").Run() },
		func() { held() },
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
		f, other := open(), open()
		if err := filelock.Lock(f); err != nil {
			t.Errorf("nobody holds it: %v", err)
			break
		}
		if err := filelock.Lock(other); !errors.Is(err, filelock.ErrHeld) || !held() {
			t.Errorf("it is held: %v", err)
		}
		filelock.Release(other) // it never held it
		filelock.Release(f)
	}
	close(stop)
	meanwhile.Wait()
}
