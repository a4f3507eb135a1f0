//go:build !linux

package objects

import (
	"errors"
	"os"
	"path/filepath"
)

// syncAll makes the files of a folder durable.
func syncAll(dir string, entries []os.DirEntry) error {
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return SyncFolder(dir)
}
