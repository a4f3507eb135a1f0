package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plan is a list of system calls for a process that can do nothing else: it
// was forked from the shim without an exec, and neither Go's scheduler nor its
// memory management work there. All that the calls need is made beforehand.
type plan struct {
	steps []step
	keep  []any // what the arguments point to
	err   error // of making it
}

// step is one system call.
type step struct {
	call uintptr
	args [6]uintptr
	prev bool   // the first argument is the result of the step before
	what string // what it does, for whoever is told that it failed
}

// result stands for the result of the step before, as first argument.
type result struct{}

// call adds a system call. Arguments are numbers, texts, or pointers to data
// that stays as it is.
func (p *plan) call(what string, number int, args ...any) {
	s := step{call: uintptr(number), what: what}
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
		case unsafe.Pointer:
			s.args[i] = uintptr(a)
			p.keep = append(p.keep, a)
		default:
			p.err = fmt.Errorf("sandbox: a system call has no argument %T", a)
		}
	}
	p.steps = append(p.steps, s)
}

// text gives the address of a text with its zero byte.
func (p *plan) text(s string) uintptr {
	b, err := unix.BytePtrFromString(s)
	if err != nil {
		p.err = fmt.Errorf("%q: %w", s, err)
		return 0
	}
	p.keep = append(p.keep, b)
	return uintptr(unsafe.Pointer(b))
}

// texts gives the address of a list of texts, as execve takes it.
func (p *plan) texts(list []string) uintptr {
	pointers := make([]*byte, 0, len(list)+1)
	for _, s := range list {
		b, err := unix.BytePtrFromString(s)
		if err != nil {
			p.err = fmt.Errorf("%q: %w", s, err)
			return 0
		}
		pointers = append(pointers, b)
	}
	pointers = append(pointers, nil)
	p.keep = append(p.keep, pointers)
	return uintptr(unsafe.Pointer(&pointers[0]))
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
	attr := &unix.MountAttr{Attr_set: attributes}
	p.call("restricting "+path, unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, path, flags, unsafe.Pointer(attr), int(unsafe.Sizeof(*attr)))
}
