package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ratchet/study"
)

// nobody is the user that commands of a root engine run as: kernel and
// distributions agree that this id owns nothing.
const nobody = 65534

// initAttributes are the namespaces of the sandbox's first process. Under
// Strict it has every capability in its own user namespace and none outside.
func initAttributes(spec *Spec) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if spec.Isolation != Strict {
		attr.Setpgid = true
		return attr
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
		syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP
	if spec.Limits.Network != study.NetworkHost {
		attr.Cloneflags |= syscall.CLONE_NEWNET
	}
	uid, gid := os.Getuid(), os.Getgid()
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	if uid == 0 {
		// The first process stays root, to reach what it mounts; the command
		// becomes nobody.
		attr.UidMappings = append(attr.UidMappings, syscall.SysProcIDMap{ContainerID: nobody, HostID: nobody, Size: 1})
		attr.GidMappings = append(attr.GidMappings, syscall.SysProcIDMap{ContainerID: nobody, HostID: nobody, Size: 1})
		attr.GidMappingsEnableSetgroups = true
		return attr
	}
	attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_CHROOT, unix.CAP_DAC_OVERRIDE, unix.CAP_KILL}
	return attr
}

// giveAway makes the box the property of the user that the command runs as.
func giveAway(spec *Spec, folder string) error {
	if os.Getuid() != 0 || spec.Isolation != Strict {
		return nil
	}
	for _, dir := range []string{Box(folder), filepath.Join(folder, tmpFolder), spec.Checkpoint} {
		if dir == "" {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, nobody, nobody)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// initMain is the sandbox's first process: it is told what to run by file
// descriptor 3 and reports by 4.
func initMain() int {
	// Attributes of the thread that starts the command are the command's.
	runtime.LockOSThread()
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	report := os.NewFile(4, "report")
	var order initOrder
	if err := json.NewDecoder(os.NewFile(3, "order")).Decode(&order); err != nil {
		return 1 // the shim is gone
	}
	end, err := contain(order.Spec, order.Folder)
	if err != nil {
		end = childEnd{SetUp: err.Error(), Missing: errors.As(err, new(*missingError)), Exit: -1}
	}
	if json.NewEncoder(report).Encode(end) != nil {
		return 1
	}
	return 0
}

// contain builds the walls, runs the command inside and returns how it ended.
func contain(spec *Spec, folder string) (childEnd, error) {
	work := filepath.Join(Box(folder), WorkFolder)
	cmd := &exec.Cmd{Env: spec.Env, Args: spec.Command, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{}}
	if spec.Isolation == Strict {
		work = boxMount + "/" + WorkFolder
		if err := enter(spec, folder); err != nil {
			return childEnd{}, err
		}
		if os.Getuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{nobody}}
		}
	} else {
		cmd.SysProcAttr.Setsid = true
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return childEnd{}, fmt.Errorf("becoming the reaper of the attempt: %w", err)
		}
	}
	if err := os.Chdir(work); err != nil {
		return childEnd{}, err
	}
	path, err := findCommand(spec.Command[0], spec.Env, work)
	if err != nil {
		return childEnd{}, &missingError{err}
	}
	cmd.Path, cmd.Dir = path, work
	// Caught and dropped, not ignored: what is ignored stays so in the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	if err := setLimits(spec); err != nil {
		return childEnd{}, err
	}
	if spec.Isolation == Strict {
		if err := giveUp(); err != nil {
			return childEnd{}, err
		}
	}
	if err := cmd.Start(); err != nil {
		return childEnd{}, &missingError{fmt.Errorf("%s cannot be executed: %w", spec.Command[0], errors.Unwrap(err))}
	}
	return reap(cmd.Process.Pid), nil
}

// reap waits for the main program, and for orphans until then.
func reap(main int) childEnd {
	for {
		var status syscall.WaitStatus
		var use syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, 0, &use)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return childEnd{Exit: -1, Signal: "unknown: " + err.Error()}
		case pid == main:
			end := childEnd{Exit: status.ExitStatus()}
			if status.Signaled() {
				end.Exit, end.Signal = -1, unix.SignalName(status.Signal())
			}
			var all syscall.Rusage
			if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &all) == nil {
				use = all
			}
			end.CPU = seconds(use.Utime) + seconds(use.Stime)
			end.Memory = use.Maxrss << 10
			return end
		}
	}
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// findCommand looks a command up as a shell in the sandbox would.
func findCommand(name string, env []string, work string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(work, name)
		}
		return path, executableFile(path, name)
	}
	var search string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	for _, dir := range filepath.SplitList(search) {
		path := filepath.Join(dir, name)
		if executableFile(path, name) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not found in the sandbox's PATH, %s", name, search)
}

func executableFile(path, name string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s is not there", name)
	case info.IsDir():
		return fmt.Errorf("%s is a folder", name)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable; set its x bit or name its interpreter in the command", name)
	}
	return nil
}

func setLimits(spec *Spec) error {
	l := spec.Limits
	for _, r := range []struct {
		which int
		value uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_FSIZE, uint64(l.Disk)},
		{unix.RLIMIT_NOFILE, maxFiles},
		{unix.RLIMIT_MEMLOCK, 64 << 10},
	} {
		if err := lower(r.which, r.value); err != nil {
			return err
		}
	}
	// Counted within the user namespace; under Process it would count all of
	// the user's processes, so there the group's own limit has to do.
	if spec.Isolation == Strict {
		return lower(unix.RLIMIT_NPROC, uint64(l.Processes)+ownThreads)
	}
	return nil
}

// maxFiles is how many files a process may have open; ownThreads is room for
// the first process's own threads, which count as the same user's.
const (
	maxFiles   = 4096
	ownThreads = 8
)

func lower(which int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(which, &now); err != nil {
		return fmt.Errorf("reading resource limit %d: %w", which, err)
	}
	value = min(value, now.Max)
	// syscall's call, so that the runtime does not restore its own value of
	// NOFILE in the command.
	if err := syscall.Setrlimit(which, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
		return fmt.Errorf("setting resource limit %d to %d: %w", which, value, err)
	}
	return nil
}
