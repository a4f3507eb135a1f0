// Package filelock says which process holds a file: it does so until it lets go
// or is gone, however it went. See flock(2).
package filelock

import (
	"errors"
	"os"
	"syscall"
)

// ErrHeld is the error of Take where another process, or another file that this
// one has opened, holds it.
var ErrHeld error = syscall.EWOULDBLOCK

// Lock has an open file hold what it is, or says ErrHeld at once. A child process
// that is given the file holds it, too.
func Lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for errors.Is(err, ErrHeld) && !Held(f) {
		// Another process is just checking whether it is held.
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	return err
}

// Held reports whether it is held, for a file opened to ask that. Release it.
func Held(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// Release lets go at once, for every process that has the file, and closes it.
// Closing alone does not let go where another goroutine is starting a process:
// until that executes its program, it has the file open.
func Release(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // closing does it, too, if later
	_ = f.Close()
}
