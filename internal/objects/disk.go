package objects

import (
	"errors"
	"os"
	"path/filepath"
)

// Disk is what a store asks of a file system to make things durable. Another
// than the system's is for simulations, which lose what was not synced.
type Disk interface {
	// Create makes a new file in a folder.
	Create(dir, pattern string) (*os.File, error)
	// Sync makes a file's content durable.
	Sync(*os.File) error
	// Rename gives a file another name; that is durable once the folder is
	// synced.
	Rename(from, to string) error
	// Mkdir makes a folder; that is durable once the folder that it is in is
	// synced.
	Mkdir(dir string) error
	// SyncFolder makes durable what a folder has.
	SyncFolder(dir string) error
}

// systemDisk is the system's.
type systemDisk struct{}

func (systemDisk) Create(dir, pattern string) (*os.File, error) { return os.CreateTemp(dir, pattern) }

func (systemDisk) Sync(f *os.File) error { return f.Sync() }

func (systemDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (systemDisk) Mkdir(dir string) error { return os.Mkdir(dir, 0o700) }

func (systemDisk) SyncFolder(dir string) error { return SyncFolder(dir) }

// WriteFile puts a file where a path says, in the place of what is there: durably, and
// whole or not at all.
func WriteFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes durable which files a folder has.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
