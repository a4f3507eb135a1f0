package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"ratchet/internal/untrusted"
)

// nobody is the user that commands of a root engine run as: kernel and
// distributions agree that this id owns nothing.
const nobody = 65534

// maxFiles is how many files a process may have open.
const maxFiles = 4096

// OwnNetwork reports whether a command gets a network of its own.
func OwnNetwork(spec *Spec) bool { return spec.Isolation.ClosesNetwork(spec.Limits) }

// namespaces are the new ones of the sandbox's first process.
func namespaces(spec *Spec) uintptr {
	flags := unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if !spec.SharesNetwork() {
		flags |= unix.CLONE_NEWNET
	}
	return uintptr(flags)
}

// mapUsers gives the first process of a user namespace its own user; with a root
// engine, all users that this one knows: the first process stays root there, to
// reach what it mounts whoever owns it, and the command becomes the user nobody.
func mapUsers(pid int) error {
	write := func(file, text string) error {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file), []byte(text), 0); err != nil {
			return fmt.Errorf("mapping users: %w", err)
		}
		return nil
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		for _, file := range []string{"uid_map", "gid_map"} {
			same, err := sameUsers("/proc/self/" + file)
			if err != nil {
				return err
			}
			if err := write(file, same); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write("setgroups", "deny"); err != nil {
		return err
	}
	if err := write("uid_map", fmt.Sprintf("%d %d 1\n", uid, uid)); err != nil {
		return err
	}
	return write("gid_map", fmt.Sprintf("%d %d 1\n", gid, gid))
}

// sameUsers is a map in which everybody that the map in a file knows is who they
// are. Such a map has lines of three numbers: the first of a range inside, who
// that is outside, and how many (user_namespaces(7)).
func sameUsers(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("mapping users: %w", err)
	}
	out := ""
	for line := range strings.Lines(string(b)) {
		var inside, outside, count int64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return "", fmt.Errorf("mapping users: %s has the line %q: %w", file, line, err)
		}
		out += fmt.Sprintf("%d %d %d\n", inside, inside, count)
	}
	return out, nil
}

// GiveAway makes the box the property of the user that the command runs as.
func GiveAway(spec *Spec, folder string) error {
	if os.Getuid() != 0 || spec.Isolation != Strict {
		return nil
	}
	for _, dir := range Writable(folder, spec) {
		if err := giveFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

func giveFolder(dir string) error {
	box, err := untrusted.OpenBox(dir)
	if err != nil {
		return err
	}
	defer box.Close()
	err = box.Walk(func(e *untrusted.Entry, err error) error {
		if err == nil {
			err = e.Give(nobody, nobody)
		}
		return err
	})
	return errors.Join(err, box.Give(nobody, nobody))
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
	type limit struct {
		which int
		value uint64
	}
	limits := []limit{
		{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, uint64(l.Disk)}, {unix.RLIMIT_NOFILE, maxFiles}, {unix.RLIMIT_MEMLOCK, 64 << 10},
	}
	// Counted within the user namespace; under Process it would count all of
	// the user's processes, so there the control group has to do.
	if spec.Isolation == Strict {
		limits = append(limits, limit{unix.RLIMIT_NPROC, uint64(l.Processes) + ownProcesses})
	}
	if len(spec.Processors) > 0 {
		var set unix.CPUSet
		for _, n := range spec.Processors {
			set.Set(n)
		}
		p.call("choosing processors", unix.SYS_SCHED_SETAFFINITY, 0, int(unsafe.Sizeof(set)), address(put(p.shared, set)))
	}
	for _, r := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(r.which, &now); err != nil {
			return fmt.Errorf("reading resource limit %d: %w", r.which, err)
		}
		value := min(r.value, now.Max)
		p.call("limiting resources", unix.SYS_PRLIMIT64, 0, r.which, address(put(p.shared, unix.Rlimit{Cur: value, Max: value})), 0)
	}
	return nil
}

// sigaction is what rt_sigaction(2) takes.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// sigIgnore is SIG_IGN.
const sigIgnore = 1

// planSignals has the command hear every signal, and each by its default: execve
// keeps signals ignored that the engine was started to ignore.
func planSignals(command *plan) {
	const size = int(unsafe.Sizeof(sigaction{}.mask))
	byDefault := address(put(command.shared, sigaction{}))
	for signal := 1; signal <= 64; signal++ {
		var now sigaction
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), 0, uintptr(unsafe.Pointer(&now)), uintptr(size), 0, 0)
		if errno == 0 && now.handler == sigIgnore {
			command.call("hearing signals", unix.SYS_RT_SIGACTION, signal, byDefault, 0, size)
		}
	}
	command.call("hearing signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, address(put(command.shared, unix.Sigset_t{})), 0, size)
}

// Reap takes the end of a child of this process.
func Reap(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

func executable() string { return "/proc/self/exe" }

// InitMain is what the first process does elsewhere; here it is forked.
func InitMain() int { return 1 }
