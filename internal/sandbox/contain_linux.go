package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nobody is the user that commands of a root engine run as: kernel and
// distributions agree that this id owns nothing.
const nobody = 65534

// maxFiles is how many files a process may have open.
const maxFiles = 4096

// spawn starts the sandbox's first process, and in it the command. wait gives
// how the command ended.
func spawn(folder string, spec *Spec, group *cgroup, door *doorway, stdout, stderr *os.File) (pid int, wait func() childEnd, err error) {
	var n *notice
	var way *handover // of the door's listener
	f := &fork{}
	first, command := &f.first, &f.command
	first.call("living no longer than the shim", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	if err := group.enter(f); err != nil {
		return 0, nil, err
	}
	first.call("taking stdout", unix.SYS_DUP3, int(stdout.Fd()), 1, 0)
	first.call("taking stderr", unix.SYS_DUP3, int(stderr.Fd()), 2, 0)
	command.call("becoming a session", unix.SYS_SETSID)
	work := filepath.Join(Box(folder), WorkFolder)
	if spec.Isolation == Strict {
		work = boxMount + "/" + WorkFolder
		f.flags = namespaces(spec)
		if err := planView(first, spec, folder); err != nil {
			return 0, nil, fmt.Errorf("isolating the attempt: %w", err)
		}
		if door != nil && ownNetwork(spec) {
			if way, err = door.plan(first); err != nil {
				return 0, nil, fmt.Errorf("isolating the attempt: %w", err)
			}
		}
	} else {
		first.call("becoming the reaper", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
		command.call("living no longer than the first process", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL))
	}
	// From here on nobody but the kernel may look into the first process.
	first.call("hiding", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	command.call("entering the working folder", unix.SYS_CHDIR, work)
	command.call("taking stdin", unix.SYS_OPENAT, unix.AT_FDCWD, "/dev/null", unix.O_RDONLY)
	command.call("taking stdin", unix.SYS_DUP3, result{}, 0, 0)
	if err := planLimits(command, spec); err != nil {
		return 0, nil, err
	}
	if spec.Isolation == Strict {
		if n, err = newNotice(); err != nil {
			return 0, nil, err
		}
		if err := planGiveUp(command, n); err != nil {
			return 0, nil, err
		}
	}
	// Whoever started the engine may have left files open for its children.
	command.call("handing nothing down", unix.SYS_CLOSE_RANGE, 3, int(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	none := &unix.Sigset_t{}
	command.call("hearing signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, unsafe.Pointer(none), 0, int(unsafe.Sizeof(none.Val[0])))
	for _, path := range candidates(spec) {
		f.paths = append(f.paths, command.text(path))
	}
	f.argv, f.env = command.texts(spec.Command), command.texts(spec.Env)

	pid, report, err := f.start(func(pid int) error {
		if spec.Isolation != Strict {
			return nil
		}
		return mapUsers(pid)
	})
	n.listen()
	if way != nil {
		way.forked()
		door.receive(way)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	return pid, func() childEnd {
		e := f.end(report, spec)
		e.Refused = n.refused
		return e
	}, nil
}

// ownNetwork reports whether a command gets a network of its own.
func ownNetwork(spec *Spec) bool { return spec.Isolation == Strict && !spec.sharesNetwork() }

// namespaces are the new ones of the sandbox's first process.
func namespaces(spec *Spec) uintptr {
	flags := unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	if !spec.sharesNetwork() {
		flags |= unix.CLONE_NEWNET
	}
	return uintptr(flags)
}

// mapUsers gives the first process of a user namespace its own user, and with
// a root engine, nobody besides: the first process stays root there, to reach
// what it mounts, and the command becomes nobody.
func mapUsers(pid int) error {
	write := func(file, text string) error {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file), []byte(text), 0); err != nil {
			return fmt.Errorf("mapping users: %w", err)
		}
		return nil
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		lines := fmt.Sprintf("0 0 1\n%d %d 1\n", nobody, nobody)
		if err := write("uid_map", lines); err != nil {
			return err
		}
		return write("gid_map", fmt.Sprintf("%d %d 1\n%d %d 1\n", gid, gid, nobody, nobody))
	}
	if err := write("setgroups", "deny"); err != nil {
		return err
	}
	if err := write("uid_map", fmt.Sprintf("%d %d 1\n", uid, uid)); err != nil {
		return err
	}
	return write("gid_map", fmt.Sprintf("%d %d 1\n", gid, gid))
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

// candidates are the paths at which a command may be, as a shell looks for it.
func candidates(spec *Spec) []string {
	name := spec.Command[0]
	if strings.Contains(name, "/") {
		return []string{name} // a relative one is relative to the working folder
	}
	var out []string
	for _, dir := range filepath.SplitList(variable(spec.Env, "PATH")) {
		out = append(out, filepath.Join(dir, name))
	}
	if len(out) == 0 {
		out = append(out, "/nonexistent/"+name)
	}
	return out
}

// variable is the value of an environment's variable.
func variable(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// planLimits lowers the command's resource limits.
func planLimits(p *plan, spec *Spec) error {
	l := spec.Limits
	limits := []struct {
		which int
		value uint64
	}{
		{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, uint64(l.Disk)}, {unix.RLIMIT_NOFILE, maxFiles}, {unix.RLIMIT_MEMLOCK, 64 << 10},
	}
	// Counted within the user namespace; under Process it would count all of
	// the user's processes, so there the control group has to do.
	if spec.Isolation == Strict {
		limits = append(limits, struct {
			which int
			value uint64
		}{unix.RLIMIT_NPROC, uint64(l.Processes) + ownProcesses})
	}
	for _, r := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(r.which, &now); err != nil {
			return fmt.Errorf("reading resource limit %d: %w", r.which, err)
		}
		value := min(r.value, now.Max)
		p.call("limiting resources", unix.SYS_PRLIMIT64, 0, r.which, unsafe.Pointer(&unix.Rlimit{Cur: value, Max: value}), 0)
	}
	return nil
}

// reap takes the end of a child of this process.
func reap(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

func executable() string { return "/proc/self/exe" }

func initMain() int { return 1 } // the first process is forked here
