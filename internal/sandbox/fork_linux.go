package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fork is the sandbox's first process, forked from the shim. Starting another
// program for it would cost more than all the walls together; so it is this
// one, and does its work by system calls alone (see plan): it carries out what
// is planned ahead, forks the command's process, which does the same, and waits
// for its attempt. Then it carries out the rest, has the command's process do so
// and become the command, and reaps whatever dies until the command has ended.
type fork struct {
	*shared
	orders *orders
	lean   plan // of the shim, in front of the fork
	// What the two processes do before their attempt is known, and then.
	firstAhead, commandAhead, first, command plan

	pid    int
	ready  *os.File // where the first process hears that it may go on
	report *os.File // where it says how it went
}

// orders are what the first process is told, in shared memory.
type orders struct {
	lean, firstAhead, commandAhead, first, command []step

	page          uintptr   // bytes of memory
	paths         []uintptr // where the command may be, each as a text
	argv, env     uintptr
	ready, report uintptr // file descriptors of the first process
	readied       uintptr // the shim's end of ready
	begin, begun  uintptr // those over which it tells the command's process to begin

	// Room for arguments and results, made beforehand.
	told   [8]byte
	status uint32
	use    syscall.Rusage
	stat   unix.Statx_t
	out    forkReport
}

// forkReport is what the first process, or the command's before it has become
// the command, tells the shim.
type forkReport struct {
	Stage  int64 // one of the stages
	Step   int64 // of the plan that failed
	Errno  int64
	Stat   int64 // of the command's file: an error number
	Mode   int64 // of the command's file
	Status int64 // of wait(2)
	CPU    int64 // microseconds
	Memory int64 // KiB at most
}

// cloneArgs are the arguments of clone3(2).
type cloneArgs struct {
	Flags, PidFD, ChildTID, ParentTID, ExitSignal, Stack, StackSize, TLS, SetTID, SetTIDSize, Cgroup uint64
}

// Where a report is from.
const (
	stageFirstAhead = 1 + iota // a step of this plan failed
	stageCommandAhead
	stageFirst
	stageCommand
	stageExec  // the command could not be executed
	stageEnded // the command has ended
)

func newFork() (*fork, error) {
	s, err := newShared()
	if err != nil {
		return nil, err
	}
	f := &fork{shared: s, orders: put(s, orders{})}
	for _, p := range []*plan{&f.lean, &f.firstAhead, &f.commandAhead, &f.first, &f.command} {
		p.shared = s
	}
	return f, nil
}

// start forks, with flags of clone(2), into a control group of version 2; nil:
// the shim's. prepare is called with the process's id before it does anything. The calling thread must live as long as the process is to live.
func (f *fork) start(flags uintptr, group *os.File, prepare func(pid int) error) error {
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		return errors.Join(err, readyRead.Close(), readyWrite.Close())
	}
	beginRead, beginWrite, err := os.Pipe()
	if err != nil {
		return errors.Join(err, readyRead.Close(), readyWrite.Close(), reportRead.Close(), reportWrite.Close())
	}
	f.ready, f.report = readyWrite, reportRead
	f.orders.firstAhead, f.orders.commandAhead = f.firstAhead.script(), f.commandAhead.script()
	f.orders.ready, f.orders.report = readyRead.Fd(), reportWrite.Fd()
	f.orders.readied = readyWrite.Fd()
	f.orders.begin, f.orders.begun = beginRead.Fd(), beginWrite.Fd()
	f.orders.page = uintptr(os.Getpagesize())
	err = errors.Join(planLean(&f.lean), f.err)
	f.orders.lean = f.lean.script()
	if err == nil {
		f.pid, err = f.fork(flags, group)
	}
	err = errors.Join(err, readyRead.Close(), reportWrite.Close(), beginRead.Close(), beginWrite.Close())
	if err == nil {
		err = prepare(f.pid)
	}
	if err == nil {
		_, err = readyWrite.Write([]byte{1})
	}
	return err
}

// proceed has the processes carry out the rest, which is planned by now.
func (f *fork) proceed() error {
	f.orders.first, f.orders.command = f.first.script(), f.command.script()
	if f.err != nil {
		return f.err
	}
	// Where the plan ahead has failed it cannot be reported directly; the report
	// says so.
	if _, err := f.ready.Write([]byte{1}); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	return nil
}

// close gives back what was kept for a first process that is gone.
func (f *fork) close() {
	_ = f.ready.Close()
	_ = f.report.Close()
	f.shared.close()
}

func (f *fork) fork(flags uintptr, group *os.File) (int, error) {
	var args cloneArgs
	if group != nil {
		args = cloneArgs{Flags: uint64(flags) | unix.CLONE_INTO_CGROUP, ExitSignal: uint64(unix.SIGCHLD), Cgroup: uint64(group.Fd())}
	}
	// Handlers of the runtime must not run in the child: no signal gets there
	// before the command's own process, which clears the mask.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, err
	}
	id, errno := f.orders.clone(flags, &args)
	err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if errno != 0 {
		return 0, fmt.Errorf("making namespaces: %w", errno)
	}
	return int(id), err
}

// clone returns in the parent only.
//
//go:noinline
//go:norace
//go:nosplit
func (o *orders) clone(flags uintptr, args *cloneArgs) (pid uintptr, errno syscall.Errno) {
	for i := range o.lean {
		s := &o.lean[i]
		syscall.RawSyscall(s.call, s.args[0], s.args[1], s.args[2]) // where one fails, more is shared
	}
	stack := uintptr(unsafe.Pointer(&pid)) &^ (o.page - 1)
	syscall.RawSyscall(syscall.SYS_MADVISE, stack-2*o.page, 4*o.page, unix.MADV_DOFORK)
	if args.Flags != 0 {
		pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	} else {
		pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, flags|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	}
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	o.beFirst()
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}

// beFirst is all that the first process does.
//
//go:noinline
//go:norace
//go:nosplit
func (o *orders) beFirst() {
	// So that it hears of the end of a shim that is killed before it may go on.
	syscall.RawSyscall(syscall.SYS_CLOSE, o.readied, 0, 0)
	if !o.hear(o.ready) || !o.perform(o.firstAhead, stageFirstAhead) {
		return
	}
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		o.reportStage(stageFirstAhead, uintptr(len(o.firstAhead)), errno)
		return
	}
	if pid == 0 {
		o.beCommand()
		return
	}
	if !o.hear(o.ready) || !o.perform(o.first, stageFirst) {
		return
	}
	syscall.RawSyscall(syscall.SYS_WRITE, o.begun, uintptr(unsafe.Pointer(&o.told)), 1)
	for fd := uintptr(0); fd < 3; fd++ { // they are the command's
		syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	}
	for {
		ended, _, errno := syscall.RawSyscall6(syscall.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&o.status)), 0, 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return
		}
		if ended == pid {
			break
		}
	}
	syscall.RawSyscall(syscall.SYS_GETRUSAGE, ^uintptr(0), uintptr(unsafe.Pointer(&o.use)), 0) // of children: -1
	o.out.Status = int64(o.status)
	o.out.CPU = (o.use.Utime.Sec+o.use.Stime.Sec)*1_000_000 + o.use.Utime.Usec + o.use.Stime.Usec
	o.out.Memory = o.use.Maxrss
	o.reportStage(stageEnded, 0, 0)
}

// beCommand is all that the command's process does until it is the command.
//
//go:noinline
//go:norace
//go:nosplit
func (o *orders) beCommand() {
	// With a namespace the kernel ends it with the first process; without, this.
	syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0, 0)
	syscall.RawSyscall(syscall.SYS_CLOSE, o.begun, 0, 0) // and this, where it is gone already
	if o.perform(o.commandAhead, stageCommandAhead) && o.hear(o.begin) && o.perform(o.command, stageCommand) {
		o.become()
	}
}

// hear waits for a byte: it may go on; false: who would say so is gone.
//
//go:noinline
//go:norace
//go:nosplit
func (o *orders) hear(fd uintptr) bool {
	n, _, _ := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&o.told)), 1)
	return n == 1
}

// become executes the command: the first of its paths that is there.
//
//go:noinline
//go:norace
//go:nosplit
func (o *orders) become() {
	failure, at := syscall.ENOENT, 0
	for i := range o.paths {
		_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, o.paths[i], o.argv, o.env)
		if failure == syscall.ENOENT && errno != syscall.ENOTDIR {
			failure, at = errno, i
		}
	}
	atCwd := unix.AT_FDCWD
	_, _, errno := syscall.RawSyscall6(unix.SYS_STATX, uintptr(atCwd), o.paths[at], 0, unix.STATX_MODE|unix.STATX_TYPE, uintptr(unsafe.Pointer(&o.stat)), 0)
	o.out.Stat, o.out.Mode = int64(errno), int64(o.stat.Mode)
	o.reportStage(stageExec, uintptr(at), failure)
}

// perform carries out a plan, up to the first step that fails.
//
//go:noinline
//go:norace
//go:nosplit
func (o *orders) perform(steps []step, stage int64) bool {
	var last uintptr
	for i := range steps {
		s := &steps[i]
		first := s.args[0]
		if s.prev {
			first = last
		}
		r, _, errno := syscall.RawSyscall6(s.call, first, s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		if errno != 0 {
			o.reportStage(stage, uintptr(i), errno)
			return false
		}
		last = r
	}
	return true
}

//go:noinline
//go:norace
//go:nosplit
func (o *orders) reportStage(stage int64, step uintptr, errno syscall.Errno) {
	o.out.Stage, o.out.Step, o.out.Errno = stage, int64(step), int64(errno)
	syscall.RawSyscall(syscall.SYS_WRITE, o.report, uintptr(unsafe.Pointer(&o.out)), unsafe.Sizeof(o.out))
}

// end waits for the report and says how the command ended.
func (f *fork) end(spec *Spec) End {
	var r forkReport
	if err := binary.Read(f.report, binary.NativeEndian, &r); err != nil {
		return End{Exit: -1, Signal: "killed"} // with its sandbox
	}
	errno := syscall.Errno(r.Errno)
	plans := map[int64]*plan{stageFirstAhead: &f.firstAhead, stageCommandAhead: &f.commandAhead, stageFirst: &f.first, stageCommand: &f.command}
	if failed := plans[r.Stage]; failed != nil {
		return End{SetUp: fmt.Sprintf("isolating the attempt: %s: %v", failed.said(r.Step), errno), Exit: -1}
	}
	if r.Stage == stageExec {
		return End{SetUp: notExecuted(spec, errno, syscall.Errno(r.Stat), fs.FileMode(r.Mode)), Missing: true, Exit: -1}
	}
	status := syscall.WaitStatus(r.Status)
	e := End{Exit: status.ExitStatus(), CPU: float64(r.CPU) / 1e6, Memory: r.Memory << 10}
	if status.Signaled() {
		e.Exit, e.Signal = -1, unix.SignalName(status.Signal())
	}
	return e
}

// notExecuted says why a command could not be executed, from what executing it
// and looking at its file gave.
func notExecuted(spec *Spec, exec, stat syscall.Errno, mode fs.FileMode) string {
	name := spec.Command[0]
	switch {
	case stat != 0 && exec == syscall.ENOENT && len(candidates(spec)) > 1:
		return fmt.Sprintf("%s is not found in the sandbox's PATH, %s", name, variable(spec.Env, "PATH"))
	case stat != 0:
		return name + " is not there"
	case mode&unix.S_IFMT == unix.S_IFDIR:
		return name + " is a folder"
	case exec == syscall.EACCES && mode&0o111 == 0:
		return name + " is not executable; set its x bit or name its interpreter in the command"
	}
	return fmt.Sprintf("%s cannot be executed: %v", name, exec)
}
