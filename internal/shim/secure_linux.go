package shim

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// secure makes all that is in an attempt's folder durable, whatever rights the
// command has left on its files.
func secure(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close()); err != nil {
		return fmt.Errorf("syncing what the attempt left: %w", err)
	}
	return nil
}
