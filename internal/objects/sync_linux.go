package objects

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncAll makes the files of a folder durable: one sync of the file system
// instead of one for each.
func syncAll(dir string, _ []os.DirEntry) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
