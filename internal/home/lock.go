package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ratchet/internal/filelock"
)

// DrivenError says that another process drives the run.
type DrivenError struct {
	Run   string    `json:"-"`
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

func (d *DrivenError) Error() string {
	if d.PID == 0 {
		return fmt.Sprintf("run %s is driven by another process", d.Run)
	}
	return fmt.Sprintf("run %s is driven by process %d on %s, since %s", d.Run, d.PID, d.Host, d.Since.Local().Format("2006-01-02 15:04:05"))
}

// LockRun makes this process the only one on this machine that drives a run. It
// is free again when the process is gone, however it went. Against processes
// on other machines, and against mistakes, the journal's expected head stands.
func (h *Home) LockRun(run string) (unlock func(), err error) {
	if err := os.MkdirAll(h.RunFolder(run), 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(h.RunFolder(run), "engine.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Lock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, fmt.Errorf("locking run %s: %w", run, err)
		}
		d := &DrivenError{Run: run}
		if b, err := os.ReadFile(path); err == nil {
			_ = json.Unmarshal(b, d) // its name is a courtesy
		}
		return nil, d
	}
	host, _ := os.Hostname()
	b, err := json.Marshal(DrivenError{PID: os.Getpid(), Host: host, Since: h.Now()})
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(b, 0)
		}
	}
	if err != nil {
		filelock.Release(f)
		return nil, fmt.Errorf("locking run %s: %w", run, err)
	}
	return func() { filelock.Release(f) }, nil
}

// Driven reports which process on this machine drives a run; nil: none.
func (h *Home) Driven(run string) *DrivenError {
	if !exists(filepath.Join(h.RunFolder(run), "engine.lock")) {
		return nil
	}
	path := filepath.Join(h.RunFolder(run), "engine.lock")
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer filelock.Release(f)
	if !filelock.Held(f) {
		return nil
	}
	d := &DrivenError{Run: run}
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, d)
	}
	return d
}

// ErrInUse is the error of Exclusive where another process works in the home.
var ErrInUse = errors.New("another process works in this home")

// LockShared says that this process stores objects that no record names yet, until
// done is called. It waits for the end of a garbage collection.
func (h *Home) LockShared() (done func(), err error) { return h.flock(syscall.LOCK_SH) }

// Exclusive makes this process the only one that works in the home, until done
// is called, or fails at once with ErrInUse.
func (h *Home) Exclusive() (done func(), err error) {
	done, err = h.flock(syscall.LOCK_EX | syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	return done, err
}

func (h *Home) flock(how int) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(h.Folder, "home.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the home: %w", err), f.Close())
	}
	return func() { filelock.Release(f) }, nil
}

// OwnFolder makes a folder for this user alone in a place that all can write to. It
// reports false where there is no such place, or another process was first.
func OwnFolder(dir string) bool {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Getuid()
}
