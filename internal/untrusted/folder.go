package untrusted

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Why something is not opened; see Theirs.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrMount      = errors.New("on another file system")
	ErrDepth      = errors.New("nested too deep")
)

// mostDepth bounds how deep a walk goes: each level keeps a file open.
const mostDepth = 255

// Folder is a handle on a folder. It stays with the folder whatever becomes of
// its name. It is safe for concurrent use. There is nothing in a nil Folder.
type Folder struct {
	file *os.File
	dev  uint64
	box  bool // see OpenBox
}

// Info is what a file system says of a file.
type Info struct {
	Mode     fs.FileMode
	Size     int64  // bytes
	Disk     int64  // bytes of blocks
	Dev, Ino uint64 // name the file as long as it is there
	Modified time.Time
	Changed  time.Time // of content, name or rights; no program can set it
}

// Open opens a folder by a path that is trusted: links on the way to it, and
// in place of it, are followed.
func Open(path string) (*Folder, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return open(path, false)
}

// OpenBox opens a folder that a program of this engine writes to. On this side
// nothing is mounted in it, so that a way into another file system ends there;
// and a walk goes into folders whose owner has taken the rights on them away.
// Links on the way to it are followed; it itself may be none.
func OpenBox(path string) (*Folder, error) { return open(path, true) }

func open(path string, box bool) (*Folder, error) {
	file, info, err := openAt(unix.AT_FDCWD, path, unix.O_DIRECTORY)
	if box && errors.Is(err, unix.EACCES) {
		// Its program has locked it, which keeps out only its owner.
		if lock, ok := unlock(unix.AT_FDCWD, path); ok {
			lock(false)
			file, info, err = openAt(unix.AT_FDCWD, path, unix.O_DIRECTORY)
		}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Folder{file, info.Dev, box}, nil
}

// self is another handle on f.
func (f *Folder) self() (*Folder, error) {
	again, err := f.enter(".")
	if f.box && errors.Is(err, unix.EACCES) {
		if err = f.file.Chmod(0o700); err == nil {
			again, err = f.enter(".")
		}
	}
	return again, err
}

// Close lets go of the handle.
func (f *Folder) Close() error {
	if f == nil {
		return nil
	}
	return f.file.Close()
}

// Folder opens a folder below f. name has slashes; "." is f itself.
func (f *Folder) Folder(name string) (*Folder, error) {
	if f == nil {
		return nil, failed(name, fs.ErrNotExist)
	}
	at, err := f.self()
	if err != nil {
		return nil, err
	}
	if !filepath.IsLocal(name) {
		return nil, errors.Join(failed(name, unix.EXDEV), at.Close())
	}
	for element := range strings.SplitSeq(filepath.ToSlash(filepath.Clean(name)), "/") {
		if element == "." {
			continue
		}
		next, err := at.enter(element)
		if err = errors.Join(err, at.Close()); err != nil {
			return nil, failed(name, err)
		}
		at = next
	}
	return at, nil
}

// Open opens a regular file below f, to be read. name has slashes.
func (f *Folder) Open(name string) (*os.File, Info, error) {
	in, err := f.Folder(filepath.Dir(name))
	if err != nil {
		return nil, Info{}, err
	}
	defer in.Close()
	file, info, err := in.read(filepath.Base(name))
	return file, info, failed(name, err)
}

// Lstat says what is at a name below f. name has slashes.
func (f *Folder) Lstat(name string) (Info, error) {
	in, err := f.Folder(filepath.Dir(name))
	if err != nil {
		return Info{}, err
	}
	defer in.Close()
	info, err := in.stat(filepath.Base(name))
	return info, failed(name, err)
}

// Theirs reports whether an error says something of what is in such a folder,
// that its writer has caused himself, and not of this machine.
func Theirs(err error) bool {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotRegular) || errors.Is(err, ErrMount) || errors.Is(err, ErrDepth) {
		return true
	}
	var no unix.Errno
	return errors.As(err, &no) && slices.Contains([]unix.Errno{
		unix.EACCES, unix.EPERM, unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EMLINK, unix.ENAMETOOLONG, unix.ENXIO, unix.ENODEV, unix.EXDEV,
		unix.ESTALE, unix.EINVAL, // seen on ext4 under names that others exchange at that moment
	}, no)
}

func failed(name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "open", Path: name, Err: err}
}

// enter opens a folder in f.
func (f *Folder) enter(name string) (*Folder, error) {
	file, info, err := openAt(f.fd(), name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	if f.box && info.Dev != f.dev {
		return nil, errors.Join(ErrMount, file.Close())
	}
	return &Folder{file, info.Dev, f.box}, nil
}

// read opens a regular file in f. It looks first: opening can be enough to
// have a device do something.
func (f *Folder) read(name string) (*os.File, Info, error) {
	info, err := f.stat(name)
	if err == nil && !info.Mode.IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		return nil, Info{}, err
	}
	file, info, err := openAt(f.fd(), name, unix.O_NONBLOCK)
	switch {
	case err != nil:
		return nil, Info{}, err
	case !info.Mode.IsRegular():
		err = ErrNotRegular
	case f.box && info.Dev != f.dev:
		err = ErrMount
	}
	if err != nil {
		return nil, Info{}, errors.Join(err, file.Close())
	}
	return file, info, nil
}

func (f *Folder) stat(name string) (Info, error) {
	var s unix.Stat_t
	if err := again(func() error { return unix.Fstatat(f.fd(), name, &s, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return Info{}, err
	}
	return info(&s), nil
}

// names are those in f, sorted. No other goroutine lists by the same handle.
func (f *Folder) names() ([]string, error) {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := f.file.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (f *Folder) fd() int { return int(f.file.Fd()) }

// openAt opens one name for reading, and through no link.
func openAt(dir int, name string, flags int) (*os.File, Info, error) {
	fd := -1
	err := again(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY|flags, 0)
		return err
	})
	if err != nil {
		return nil, Info{}, err
	}
	file := os.NewFile(uintptr(fd), name)
	i, err := InfoOf(file)
	if err != nil {
		return nil, Info{}, errors.Join(err, file.Close())
	}
	return file, i, nil
}

// InfoOf is what the file system says of an open file.
func InfoOf(file *os.File) (Info, error) {
	var s unix.Stat_t
	if err := again(func() error { return unix.Fstat(int(file.Fd()), &s) }); err != nil {
		return Info{}, err
	}
	return info(&s), nil
}

// again repeats a call that a signal has interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func info(s *unix.Stat_t) Info {
	mode := fs.FileMode(s.Mode & 0o777)
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK, unix.S_IFCHR:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	return Info{
		Mode: mode, Size: s.Size, Disk: s.Blocks * 512, Dev: uint64(s.Dev), Ino: s.Ino, //nolint:unconvert // not everywhere 64 bits
		Modified: time.Unix(s.Mtim.Unix()), Changed: time.Unix(s.Ctim.Unix()),
	}
}
