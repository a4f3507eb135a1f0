package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ratchet/study"
)

// Container is a sandbox that was made ahead, up to where the attempt that is
// to run in it matters: its first process waits inside.
type Container struct {
	shape  Spec
	made   time.Time
	fork   *fork
	Group  *Group
	Stdout *os.File // what the command will print
	Stderr *os.File
	notice *notice
	door   *handover // of the door's listener; nil: its network is the machine's
	// handedDoor is door once the first process is to make the listener, until
	// it is asked for.
	handedDoor *handover
}

// freshFor is how long a container may wait for its attempt: it shows the
// machine as it was.
const freshFor = time.Minute

// shape is what of a command decides how its sandbox is made ahead.
func shape(spec *Spec) Spec {
	return Spec{
		Isolation: spec.Isolation, ReadOnly: spec.ReadOnly, GPUs: spec.GPUs,
		Limits: study.AttemptLimits{Network: spec.Limits.Network, GPUs: spec.Limits.GPUs, Memory: spec.Limits.Memory},
	}
}

// Fits reports whether a container was made for such a command, not long ago.
func (c *Container) Fits(spec *Spec) bool {
	return time.Since(c.made) < freshFor && reflect.DeepEqual(c.shape, shape(spec))
}

// NewContainer makes a sandbox for commands like the given one.
func NewContainer(like *Spec) (*Container, error) {
	f, err := newFork()
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	c := &Container{shape: shape(like), made: time.Now(), fork: f}
	if err := c.make(); err != nil {
		c.Discard()
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	return c, nil
}

func (c *Container) make() error {
	var theirs []*os.File // what only the first process needs
	own := func(f *os.File) *os.File {
		theirs = append(theirs, f)
		return f
	}
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	ahead, command := &c.fork.firstAhead, &c.fork.commandAhead
	c.Group = newCgroup()
	ahead.call("living no longer than the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	group, err := c.Group.enter(ahead)
	for _, f := range group {
		own(f)
	}
	if err != nil {
		return err
	}
	for i, to := range []**os.File{&c.Stdout, &c.Stderr} {
		read, write, err := os.Pipe()
		if err != nil {
			return err
		}
		*to = read
		ahead.call("taking stdout and stderr", unix.SYS_DUP3, int(own(write).Fd()), 1+i, 0)
	}
	command.call("becoming a session", unix.SYS_SETSID)
	if c.shape.Isolation != Strict {
		ahead.call("becoming the reaper", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
		return c.fork.start(0, c.Group.born(group), func(int) error { return nil })
	}
	if c.notice, err = newNotice(); err != nil {
		return err
	}
	if c.notice != nil {
		own(c.notice.way.theirs)
	}
	// The group's name counts attempts: a namespace that begins in the group hides it.
	ahead.call("hiding the control group", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	// What the engine makes may be for its user alone; what is seen in the
	// sandbox is for another.
	ahead.call("setting the umask", unix.SYS_UMASK, 0o022)
	command.call("setting the umask", unix.SYS_UMASK, 0o022)
	command.call("hiding", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	if err := planGiveUp(command, c.notice); err != nil {
		return err
	}
	if OwnNetwork(&c.shape) {
		if c.door, err = newHandover("door"); err != nil {
			return err
		}
		own(c.door.theirs)
	}
	if err := planMachine(ahead, &c.shape); err != nil {
		return err
	}
	return c.fork.start(namespaces(&c.shape), c.Group.born(group), mapUsers)
}

// Begin starts the command of an attempt in it. wait gives how it ended.
func (c *Container) Begin(folder string, spec *Spec) (wait func() End, err error) {
	if err := c.Group.limit(spec.Limits); err != nil {
		return nil, err
	}
	f := c.fork
	first, command := &f.first, &f.command
	// From here on only the kernel may look into either process.
	first.call("hiding", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	if spec.Isolation != Strict { // else it has hidden before it gave that up
		command.call("hiding", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	}
	work := filepath.Join(Box(folder), WorkFolder)
	if spec.Isolation == Strict {
		work = boxMount + "/" + WorkFolder
		if err := planBox(first, spec, folder); err != nil {
			return nil, fmt.Errorf("isolating the attempt: %w", err)
		}
		if spec.Door != nil && c.door != nil {
			if err := planDoor(first, c.door, spec.Door.Ports); err != nil {
				return nil, fmt.Errorf("isolating the attempt: %w", err)
			}
			c.door, c.handedDoor = nil, c.door
		}
	}
	command.call("entering the working folder", unix.SYS_CHDIR, work)
	command.call("taking stdin", unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/null", unix.O_RDONLY)
	command.call("taking stdin", unix.SYS_DUP3, result{}, 0, 0)
	if err := planLimits(command, spec); err != nil {
		return nil, err
	}
	if spec.Isolation == Strict {
		planFiles(command)
	}
	// The engine's parent may have left files open for its children.
	command.call("handing nothing down", unix.SYS_CLOSE_RANGE, 3, int(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	planSignals(command)
	paths := f.texts(candidates(spec))
	f.orders.paths = unsafe.Slice(put(f.shared, paths...), len(paths))
	f.orders.argv, f.orders.env = f.list(spec.Command), f.list(spec.Env)
	c.notice.listen()
	if err := f.proceed(); err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	return func() End {
		e := f.end(spec)
		e.Refused = c.notice.refused
		return e
	}, nil
}

// PID is the first process.
func (c *Container) PID() int { return c.fork.pid }

// Discard ends a container that no command runs in.
func (c *Container) Discard() {
	if pid := c.fork.pid; pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		Reap(pid)
	}
	for _, f := range []*os.File{c.Stdout, c.Stderr} {
		_ = f.Close() // nil where there was no getting that far
	}
	c.Remove()
}

// Remove takes away what is left of a container whose processes are gone.
func (c *Container) Remove() {
	c.fork.close()
	c.notice.close()
	for _, h := range []*handover{c.door, c.handedDoor} {
		if h != nil {
			_ = h.ours.Close()
		}
	}
	c.Group.remove()
}
