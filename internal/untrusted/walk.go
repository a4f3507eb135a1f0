package untrusted

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Entry is what a walk finds.
type Entry struct {
	Path string // below the folder of the walk, with slashes
	Info Info   // when the walk came by

	in   *Folder
	name string
}

// Walk visits all that is below f, each folder before what is in it, in the
// order of names. A visit with an error says why a folder is not gone into; its
// entry was visited before, but for f's own, whose path is ".". A visit may
// return fs.SkipDir: a folder is not gone into then. Any other error ends the
// walk. What goes while the walk is under way is passed over. Entries may be used
// in their visit only.
func (f *Folder) Walk(visit func(*Entry, error) error) error {
	if f == nil {
		return nil
	}
	at, err := f.self()
	if err != nil {
		return err
	}
	defer at.Close()
	return at.walk(&Entry{Path: ".", in: at, name: "."}, 0, visit)
}

func (f *Folder) walk(me *Entry, depth int, visit func(*Entry, error) error) error {
	names, err := f.names()
	if err != nil {
		return visit(me, err)
	}
	above := ""
	if depth > 0 {
		above = me.Path + "/"
	}
	for _, name := range names {
		e := &Entry{Path: above + name, in: f, name: name}
		if e.Info, err = f.stat(name); err != nil {
			continue // gone
		}
		if err := visit(e, nil); err != nil {
			if errors.Is(err, fs.SkipDir) {
				continue
			}
			return err
		}
		if !e.Info.Mode.IsDir() {
			continue
		}
		if err := f.down(e, depth, visit); err != nil {
			return err
		}
	}
	return nil
}

func (f *Folder) down(e *Entry, depth int, visit func(*Entry, error) error) error {
	if depth >= mostDepth {
		return visit(e, ErrDepth)
	}
	next, err := f.enter(e.name)
	if f.box && e.Info.Mode.Perm()&0o700 != 0o700 {
		if lock, ok := unlock(f.fd(), e.name); ok {
			defer lock(true)
			if next == nil {
				next, err = f.enter(e.name)
			}
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return visit(e, err)
	}
	defer next.Close()
	return next.walk(e, depth+1, visit)
}

// Open opens the entry, a regular file, to be read.
func (e *Entry) Open() (*os.File, Info, error) {
	file, info, err := e.in.read(e.name)
	return file, info, failed(e.Path, err)
}

// Link is where the entry, a link, leads.
func (e *Entry) Link() (string, error) {
	room := make([]byte, 4096) // of a path at most
	n, err := unix.Readlinkat(e.in.fd(), e.name, room)
	if err != nil {
		return "", failed(e.Path, err)
	}
	return string(room[:n]), nil
}

// Give makes the entry the property of a user.
func (e *Entry) Give(user, group int) error {
	return failed(e.Path, unix.Fchownat(e.in.fd(), e.name, user, group, unix.AT_SYMLINK_NOFOLLOW))
}

// Give makes the folder itself the property of a user.
func (f *Folder) Give(user, group int) error { return f.file.Chown(user, group) }
