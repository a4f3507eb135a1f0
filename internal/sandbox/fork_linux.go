package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fork is the sandbox's first process, forked from the shim. Starting another
// program for it would cost more than all the walls together; so it is this
// one, and does its work by system calls alone (see plan): it carries out its
// plan, forks the command's process, which carries out its own and becomes the
// command, and then reaps whatever dies until the command has ended.
type fork struct {
	flags   uintptr  // of clone(2)
	group   *os.File // control group of version 2 to be born in; nil: the shim's
	first   plan
	command plan
	paths   []uintptr // where the command may be, each as a text
	argv    uintptr
	env     uintptr
	ready   uintptr // file descriptor: a byte comes when the plan may begin
	report  uintptr // file descriptor: a forkReport goes out

	// Room for arguments and results, made beforehand.
	clone3 cloneArgs
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
	stageFirst   = 1 + iota // the first process's plan failed
	stageCommand            // the command's plan failed
	stageExec               // the command could not be executed
	stageEnded              // the command has ended
)

// start forks. prepare is called with the process's id before the plan begins.
// The calling thread must live as long as the process is to live.
func (f *fork) start(prepare func(pid int) error) (pid int, report io.ReadCloser, err error) {
	if err := errors.Join(f.first.err, f.command.err); err != nil {
		return 0, nil, err
	}
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer readyWrite.Close()
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		return 0, nil, errors.Join(err, readyRead.Close())
	}
	f.ready, f.report = readyRead.Fd(), reportWrite.Fd()
	if f.group != nil {
		f.clone3 = cloneArgs{Flags: uint64(f.flags) | unix.CLONE_INTO_CGROUP, ExitSignal: uint64(unix.SIGCHLD), Cgroup: uint64(f.group.Fd())}
		defer f.group.Close()
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
		return 0, nil, err
	}
	id, errno := f.clone()
	err = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	runtime.KeepAlive(f)
	if errno != 0 {
		err = fmt.Errorf("making namespaces: %w", errno)
	}
	err = errors.Join(err, readyRead.Close(), reportWrite.Close())
	if err == nil {
		err = prepare(int(id))
	}
	if err == nil {
		_, err = readyWrite.Write([]byte{1})
	}
	if err != nil {
		if id > 0 {
			_ = syscall.Kill(int(id), syscall.SIGKILL)
		}
		return 0, nil, errors.Join(err, reportRead.Close())
	}
	return int(id), reportRead, nil
}

// clone returns in the parent only.
//
//go:noinline
//go:norace
//go:nosplit
func (f *fork) clone() (pid uintptr, errno syscall.Errno) {
	if f.clone3.Flags != 0 {
		pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&f.clone3)), unsafe.Sizeof(f.clone3), 0)
	} else {
		pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, f.flags|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	}
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	f.beFirst()
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}

// beFirst is all that the first process does.
//
//go:noinline
//go:norace
//go:nosplit
func (f *fork) beFirst() {
	if n, _, _ := syscall.RawSyscall(syscall.SYS_READ, f.ready, uintptr(unsafe.Pointer(&f.told)), 1); n != 1 {
		return // the shim is gone
	}
	if !f.perform(&f.first, stageFirst) {
		return
	}
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		f.tell(stageFirst, uintptr(len(f.first.steps)), errno)
		return
	}
	if pid == 0 {
		if f.perform(&f.command, stageCommand) {
			f.become()
		}
		return
	}
	for fd := uintptr(0); fd < 3; fd++ { // they are the command's
		syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	}
	for {
		ended, _, errno := syscall.RawSyscall6(syscall.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&f.status)), 0, 0, 0, 0)
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
	syscall.RawSyscall(syscall.SYS_GETRUSAGE, ^uintptr(0), uintptr(unsafe.Pointer(&f.use)), 0) // of children: -1
	f.out.Status = int64(f.status)
	f.out.CPU = (f.use.Utime.Sec+f.use.Stime.Sec)*1_000_000 + f.use.Utime.Usec + f.use.Stime.Usec
	f.out.Memory = f.use.Maxrss
	f.tell(stageEnded, 0, 0)
}

// become executes the command: the first of its paths that is there.
//
//go:noinline
//go:norace
//go:nosplit
func (f *fork) become() {
	failure, at := syscall.ENOENT, 0
	for i := range f.paths {
		_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, f.paths[i], f.argv, f.env)
		if failure == syscall.ENOENT && errno != syscall.ENOTDIR {
			failure, at = errno, i
		}
	}
	atCwd := unix.AT_FDCWD
	_, _, errno := syscall.RawSyscall6(unix.SYS_STATX, uintptr(atCwd), f.paths[at], 0, unix.STATX_MODE|unix.STATX_TYPE, uintptr(unsafe.Pointer(&f.stat)), 0)
	f.out.Stat, f.out.Mode = int64(errno), int64(f.stat.Mode)
	f.tell(stageExec, uintptr(at), failure)
}

// perform carries out a plan, up to the first step that fails.
//
//go:noinline
//go:norace
//go:nosplit
func (f *fork) perform(p *plan, stage int64) bool {
	var last uintptr
	for i := range p.steps {
		s := &p.steps[i]
		first := s.args[0]
		if s.prev {
			first = last
		}
		r, _, errno := syscall.RawSyscall6(s.call, first, s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		if errno != 0 {
			f.tell(stage, uintptr(i), errno)
			return false
		}
		last = r
	}
	return true
}

//go:noinline
//go:norace
//go:nosplit
func (f *fork) tell(stage int64, step uintptr, errno syscall.Errno) {
	f.out.Stage, f.out.Step, f.out.Errno = stage, int64(step), int64(errno)
	syscall.RawSyscall(syscall.SYS_WRITE, f.report, uintptr(unsafe.Pointer(&f.out)), unsafe.Sizeof(f.out))
}

// end waits for the report and says how the command ended.
func (f *fork) end(report io.ReadCloser, spec *Spec) childEnd {
	defer report.Close()
	var r forkReport
	if err := binary.Read(report, binary.NativeEndian, &r); err != nil {
		return childEnd{Exit: -1, Signal: "killed"} // with its sandbox
	}
	errno := syscall.Errno(r.Errno)
	switch r.Stage {
	case stageFirst:
		return childEnd{SetUp: fmt.Sprintf("isolating the attempt: %s: %v", f.first.said(r.Step), errno), Exit: -1}
	case stageCommand:
		return childEnd{SetUp: fmt.Sprintf("isolating the attempt: %s: %v", f.command.said(r.Step), errno), Exit: -1}
	case stageExec:
		return childEnd{SetUp: notExecuted(spec, errno, syscall.Errno(r.Stat), fs.FileMode(r.Mode)), Missing: true, Exit: -1}
	}
	status := syscall.WaitStatus(r.Status)
	e := childEnd{Exit: status.ExitStatus(), CPU: float64(r.CPU) / 1e6, Memory: r.Memory << 10}
	if status.Signaled() {
		e.Exit, e.Signal = -1, unix.SignalName(status.Signal())
	}
	return e
}

func (p *plan) said(step int64) string {
	if step < int64(len(p.steps)) {
		return p.steps[step].what
	}
	return "forking"
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
