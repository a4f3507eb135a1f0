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
	Goal string // what a link that leads out of the folder says; "": it is none
}

func (u *UnfitError) Error() string { return fmt.Sprintf("%q %s", u.Path, u.Why) }

// VisitFiles visits the regular files at some names below f, and below those that are
// folders. A link that stays below f stands for the file or folder that it leads to;
// anything else that is neither a file nor a folder is an UnfitError. What skip names, if
// it is not nil, is left out with all that is below. open opens the file, to be read.
func (f *Folder) VisitFiles(names []string, skip func(path string) bool, visit func(path string, open func() (*os.File, Info, error)) error) error {
	if skip == nil {
		skip = func(string) bool { return false }
	}
	v := visiting{f: f, skip: skip, visit: visit}
	for _, name := range names {
		if skip(filepath.ToSlash(name)) {
			continue
		}
		info, err := f.Lstat(name)
		if Theirs(err) { // by a link on the way
			info = Info{Mode: fs.ModeSymlink}
		} else if err != nil {
			return err
		}
		if info.Mode.IsDir() {
			err = v.folder(name, name, 0)
		} else {
			err = v.file(name, name, info, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// How many links to folders may lead into one another, and how many files are visited
// by way of such in all: a few links can make a folder look endless.
const (
	mostThrough  = 8
	mostByFolder = 100_000
)

// visiting is a call of VisitFiles.
type visiting struct {
	f     *Folder
	skip  func(string) bool
	visit func(string, func() (*os.File, Info, error)) error
	seen  int // files behind links to folders
}

// folder visits what is in the folder at a name below f, under another name. through
// says how many links to folders have led there.
func (v *visiting) folder(at, name string, through int) error {
	top, err := v.f.Folder(at)
	if err != nil {
		return err
	}
	defer top.Close()
	return top.Walk(func(e *Entry, err error) error {
		here, below := path.Join(filepath.ToSlash(at), e.Path), path.Join(filepath.ToSlash(name), e.Path)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", below, err)
		case v.skip(below) && e.Info.Mode.IsDir():
			return fs.SkipDir
		case v.skip(below), e.Info.Mode.IsDir():
			return nil
		case e.Info.Mode.IsRegular():
			if through > 0 {
				if v.seen++; v.seen > mostByFolder {
					return &UnfitError{Path: below, Why: fmt.Sprintf("is one of more than %d files behind links to folders", mostByFolder)}
				}
			}
			return v.visit(below, e.Open)
		}
		return v.file(here, below, e.Info, through)
	})
}

// file visits a file, or what a link stands for.
func (v *visiting) file(here, name string, info Info, through int) error {
	at := here
	if info.Mode&fs.ModeSymlink != 0 {
		var err error
		if at, info, err = v.f.follow(here); err != nil {
			return err
		}
	}
	switch {
	case info.Mode.IsRegular():
		return v.visit(name, func() (*os.File, Info, error) { return v.f.Open(at) })
	case info.Mode.IsDir() && through >= mostThrough:
		return &UnfitError{Path: name, Why: fmt.Sprintf("is a link to a folder behind %d others", through)}
	case info.Mode.IsDir() && (at == "." || strings.HasPrefix(path.Clean(filepath.ToSlash(here)), at+"/")):
		return &UnfitError{Path: name, Why: "is a link to a folder that it lies in"}
	case info.Mode.IsDir():
		return v.folder(at, name, through+1)
	}
	return &UnfitError{Path: name, Why: "is " + Kind(info.Mode)}
}

// mostLinks is how many one name may lead through, as on Linux.
const mostLinks = 40

// follow gives the name without links that a name with links leads to.
func (f *Folder) follow(name string) (string, Info, error) {
	var done []string
	rest := strings.Split(filepath.ToSlash(name), "/")
	none, goal := Info{}, ""
	for links := 0; len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if len(done) == 0 {
				return "", none, &UnfitError{Path: name, Why: "leads out of the folder by a link to " + goal, Goal: goal}
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
			return "", none, &UnfitError{Path: name, Why: "is a link to what is not there"}
		case err != nil:
			return "", none, failed(name, err)
		case info.Mode&fs.ModeSymlink == 0:
			done = append(done, element)
			continue
		case path.IsAbs(to):
			return "", none, &UnfitError{Path: name, Why: "leads out of the folder by a link to " + to, Goal: to}
		}
		goal = to
		if links++; links > mostLinks {
			return "", none, &UnfitError{Path: name, Why: "is a link to itself"}
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
