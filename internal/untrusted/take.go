package untrusted

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// UnfitError says that something in a folder cannot be taken.
type UnfitError struct {
	Path string // below the folder
	Why  string // what it is
}

func (u *UnfitError) Error() string { return fmt.Sprintf("%q %s", u.Path, u.Why) }

// VisitFiles visits the regular files at some names below f, and below those that are
// folders. A link that stays below f stands for the file that it leads to;
// anything else that is neither a file nor a folder is an UnfitError. open opens
// the file, to be read.
func (f *Folder) VisitFiles(names []string, visit func(path string, open func() (*os.File, Info, error)) error) error {
	for _, name := range names {
		info, err := f.Lstat(name)
		if Theirs(err) { // by a link on the way
			info = Info{Mode: fs.ModeSymlink}
		} else if err != nil {
			return err
		}
		if info.Mode.IsDir() {
			err = f.takeFolder(name, visit)
		} else {
			err = f.takeFile(name, info, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Folder) takeFolder(name string, visit func(string, func() (*os.File, Info, error)) error) error {
	top, err := f.Folder(name)
	if err != nil {
		return err
	}
	defer top.Close()
	return top.Walk(func(e *Entry, err error) error {
		below := path.Join(filepath.ToSlash(name), e.Path)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", below, err)
		case e.Info.Mode.IsDir():
			return nil
		case e.Info.Mode.IsRegular():
			return visit(below, e.Open)
		}
		return f.takeFile(below, e.Info, visit)
	})
}

func (f *Folder) takeFile(name string, info Info, visit func(string, func() (*os.File, Info, error)) error) error {
	at := name
	if info.Mode&fs.ModeSymlink != 0 {
		var err error
		if at, info, err = f.follow(name); err != nil {
			return err
		}
	}
	switch {
	case info.Mode.IsRegular():
		return visit(name, func() (*os.File, Info, error) { return f.Open(at) })
	case info.Mode.IsDir():
		return &UnfitError{name, "is a link to a folder"}
	}
	return &UnfitError{name, "is " + Kind(info.Mode)}
}

// mostLinks is how many one name may lead through, as on Linux.
const mostLinks = 40

// follow gives the name without links that a name with links leads to.
func (f *Folder) follow(name string) (string, Info, error) {
	var done []string
	rest := strings.Split(filepath.ToSlash(name), "/")
	none := Info{}
	for links := 0; len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if len(done) == 0 {
				return "", none, &UnfitError{name, "leads out of the folder by a link"}
			}
			done = done[:len(done)-1]
			continue
		}
		here := path.Join(append(done, element)...)
		in, err := f.Folder(path.Dir(here))
		if err != nil {
			return "", none, err
		}
		e := Entry{Path: here, in: in, name: element}
		to := ""
		info, err := in.stat(element)
		if err == nil && info.Mode&fs.ModeSymlink != 0 {
			to, err = e.Link()
		}
		in.Close()
		switch {
		case err != nil && to == "" && links > 0 && Theirs(err):
			return "", none, &UnfitError{name, "is a link to what is not there"}
		case err != nil:
			return "", none, failed(name, err)
		case info.Mode&fs.ModeSymlink == 0:
			done = append(done, element)
			continue
		case path.IsAbs(to):
			return "", none, &UnfitError{name, "leads out of the folder by a link"}
		}
		if links++; links > mostLinks {
			return "", none, &UnfitError{name, "is a link to itself"}
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	at := path.Join(append(done, ".")...)
	info, err := f.Lstat(at)
	return at, info, err
}

// Follow is Open through links that stay below f.
func (f *Folder) Follow(name string) (*os.File, Info, error) {
	at, _, err := f.follow(name)
	if err != nil {
		return nil, Info{}, err
	}
	return f.Open(at)
}

// Special reports whether something is a socket, a pipe or a device: another process may
// be behind it.
func Special(m fs.FileMode) bool {
	return !m.IsDir() && !m.IsRegular() && m&fs.ModeSymlink == 0
}

// Kind says in words what is no regular file.
func Kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}
