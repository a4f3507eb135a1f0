package sandbox

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForkWithoutAShim: a first process whose shim is killed before it has said that
// it may go on, ends: it would hold the attempt's lock for ever.
func TestForkWithoutAShim(t *testing.T) {
	f, err := newFork()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	killed := errors.New("as if killed")
	if err := f.start(0, nil, func(first int) error { pid = first; return killed }); !errors.Is(err, killed) || pid == 0 {
		t.Fatalf("started process %d: %v", pid, err)
	}
	f.close() // all that the kernel closes for a process that is killed
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil || !status.Exited() || status.ExitStatus() != 1 {
		t.Errorf("it ended with %v (%v)", status, err)
	}
}
