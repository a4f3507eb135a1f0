package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plan is a list of system calls for a process that can do nothing else: it
// was forked from the shim without an exec, and neither Go's scheduler nor its
// memory management work there. All that the calls need lies in memory that
// the shim and the process share, so that a plan can be made after the fork.
type plan struct {
	*shared
	steps []step
	what  []string // what each step does, for the error message if it fails
}

// step is one system call.
type step struct {
	call uintptr
	args [6]uintptr
	prev bool // the first argument is the result of the step before
}

// shared is memory that a forked process shares with the shim. It is no
// memory of Go's: nothing in it may point there.
type shared struct {
	bytes []byte
	used  int
	err   error // of making plans in it
}

// sharedSize has room for any command: the kernel takes 2 MiB of arguments and
// environment at most (execve(2)). Untouched pages cost nothing.
const sharedSize = 8 << 20

var errTooLong = errors.New("the command and its environment are too long")

func newShared() (*shared, error) {
	b, err := unix.Mmap(-1, 0, sharedSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("making shared memory: %w", err)
	}
	return &shared{bytes: b}, nil
}

// close gives the memory back. Nothing in it may be used any more.
func (s *shared) close() { _ = unix.Munmap(s.bytes) }

// put copies values into shared memory, one behind the other, and gives the
// address of the first. Where there is no room, the address is Go's and the
// error is noted.
func put[T any](s *shared, values ...T) *T {
	const align = 16
	if len(values) == 0 {
		return nil
	}
	from := (s.used + align - 1) &^ (align - 1)
	size := len(values) * int(unsafe.Sizeof(values[0]))
	if from+size > len(s.bytes) {
		s.err = errTooLong
		return &values[0]
	}
	s.used = from + size
	to := unsafe.Slice((*T)(unsafe.Pointer(&s.bytes[from])), len(values))
	copy(to, values)
	return &to[0]
}

// address is where something in shared memory is, as an argument.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// result stands for the result of the step before, as first argument.
type result struct{}

// call adds a system call. Arguments are numbers, addresses in shared memory,
// or texts.
func (p *plan) call(what string, number int, args ...any) {
	s := step{call: uintptr(number)}
	for i, a := range args {
		switch a := a.(type) {
		case result:
			s.prev = true
		case int:
			s.args[i] = uintptr(a)
		case uintptr:
			s.args[i] = a
		case string:
			s.args[i] = p.text(a)
		default:
			p.err = fmt.Errorf("sandbox: a system call has no argument %T", a)
		}
	}
	p.steps, p.what = append(p.steps, s), append(p.what, what)
}

// script are a plan's steps in shared memory.
func (p *plan) script() []step {
	if len(p.steps) == 0 {
		return nil
	}
	return unsafe.Slice(put(p.shared, p.steps...), len(p.steps))
}

// said is what a step does.
func (p *plan) said(n int64) string {
	if n < int64(len(p.what)) {
		return p.what[n]
	}
	return "forking"
}

// text gives the address of a text with its zero byte.
func (s *shared) text(text string) uintptr {
	b, err := unix.ByteSliceFromString(text)
	if err != nil {
		s.err = fmt.Errorf("%q: %w", text, err)
		return 0
	}
	return address(put(s, b...))
}

// texts gives the addresses of texts.
func (s *shared) texts(list []string) []uintptr {
	out := make([]uintptr, len(list))
	for i, text := range list {
		out[i] = s.text(text)
	}
	return out
}

// list gives the address of a list of texts, as execve takes it.
func (s *shared) list(list []string) uintptr {
	return address(put(s, append(s.texts(list), 0)...))
}

func (p *plan) mkdir(path string) {
	p.call("making "+path, unix.SYS_MKDIRAT, unix.AT_FDCWD, path, 0o755)
}

func (p *plan) symlink(to, path string) {
	p.call("making "+path, unix.SYS_SYMLINKAT, to, unix.AT_FDCWD, path)
}

func (p *plan) mount(source, target, kind string, flags int, data string) {
	p.call("mounting "+target, unix.SYS_MOUNT, source, target, kind, flags, data)
}

// bind shows source at target, with all that is mounted below it.
func (p *plan) bind(source, target string) {
	p.call("showing "+source, unix.SYS_MOUNT, source, target, "", unix.MS_BIND|unix.MS_REC, 0)
}

// setMount changes a mount's attributes; recursively with unix.AT_RECURSIVE.
func (p *plan) setMount(path string, attributes uint64, flags int) {
	attr := unix.MountAttr{Attr_set: attributes}
	p.call("restricting "+path, unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, path, flags, address(put(p.shared, attr)), int(unsafe.Sizeof(attr)))
}
