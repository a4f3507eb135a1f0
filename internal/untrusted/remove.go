package untrusted

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// How deep RemoveAll goes, and how often it looks at a folder that does not
// become empty.
const (
	deepRemoval = 100
	mostLooks   = 1_000
)

// RemoveAll removes what is at a path, and if it is a folder all that is in it,
// whatever rights were taken away there and however deep it nests. A link is
// removed, not followed. What is not there is no error.
func RemoveAll(path string) error {
	above, err := Open(filepath.Dir(path))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer above.Close()
	above.box = true // and so all below it
	r := removal{}
	if err := r.remove(above, filepath.Base(path), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}

// removal is one under way.
type removal struct {
	top   *Folder // where folders are brought that lie too deep
	moved int
}

func (r *removal) remove(in *Folder, name string, depth int) error {
	err := again(func() error { return unix.Unlinkat(in.fd(), name, 0) })
	if err == nil {
		return nil
	}
	// A folder. Systems do not agree by which error they say so.
	info, statErr := in.stat(name)
	if statErr != nil {
		return statErr // usually not there: another process has just removed it
	}
	if !info.Mode.IsDir() {
		return err
	}
	if info.Mode.Perm()&0o700 != 0o700 {
		if lock, ok := unlock(in.fd(), name); ok { // otherwise it can be neither moved nor entered
			lock(false)
		}
	}
	if depth >= deepRemoval {
		return r.moveUp(in, name)
	}
	f, err := in.enter(name)
	if err != nil {
		return err
	}
	if r.top == nil {
		r.top = f
	}
	defer f.Close()
	for range mostLooks { // a process may still write to it
		if err := r.empty(f, depth); err != nil {
			return err
		}
		err = again(func() error { return unix.Unlinkat(in.fd(), name, unix.AT_REMOVEDIR) })
		if !taken(err) {
			return err
		}
	}
	return err
}

// moveUp moves a folder to the top, under a name that is free there: another
// removal of the same folder may be under way.
func (r *removal) moveUp(in *Folder, name string) error {
	for {
		r.moved++
		err := unix.Renameat(in.fd(), name, r.top.fd(), fmt.Sprintf(".ratchet-deep-%d", r.moved))
		if !taken(err) {
			return err
		}
	}
}

func taken(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) }

// empty removes what is in a folder, as of now.
func (r *removal) empty(f *Folder, depth int) error {
	names, err := f.names()
	for _, name := range names {
		if err := r.remove(f, name, depth+1); err != nil && !errors.Is(err, unix.ENOENT) {
			return err // where it is gone, another process has removed it
		}
	}
	return err
}
