package sandbox

import (
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// denied are the system calls that no experiment needs and that reach the
// kernel's more fragile parts, or out of the sandbox. They fail with EPERM.
var denied = []string{
	"mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns",
	"fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "open_tree_attr", "move_mount", "mount_setattr",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"keyctl", "add_key", "request_key",
	"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
	"open_by_handle_at", "name_to_handle_at", "fanotify_init", "lookup_dcookie",
	"swapon", "swapoff", "reboot", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "nfsservctl",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
	"iopl", "ioperm", "modify_ldt", "uselib", "ustat", "sysfs", "_sysctl", "vm86", "vm86old",
	"mbind", "migrate_pages", "move_pages", "set_mempolicy_home_node",
}

// namespaces are the flags of clone(2) that make new ones.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// giveUp takes every privilege from what this thread starts from now on:
// capabilities for good, rights on files by Landlock, system calls by seccomp.
func giveUp() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: ambient capabilities: %w", err)
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if c == unix.CAP_SETPCAP {
			continue // needed to drop the others
		}
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0) // EINVAL: the kernel does not know it
	}
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SETPCAP, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: capabilities: %w", err)
	}
	if err := inheritNothing(); err != nil {
		return fmt.Errorf("giving up privileges: inheritable capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: no_new_privs: %w", err)
	}
	if err := restrictFiles(); err != nil {
		return fmt.Errorf("giving up privileges: Landlock: %w", err)
	}
	if err := filterCalls(); err != nil {
		return fmt.Errorf("giving up privileges: seccomp: %w", err)
	}
	return nil
}

// inheritNothing empties the set of inheritable capabilities.
func inheritNothing() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 has 64 bits in two parts
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	return unix.Capset(&header, &data[0])
}

// restrictFiles says again, by Landlock, what the mounts say already: a second
// wall. On a kernel with less of Landlock, or none, the first one stands alone.
func restrictFiles() error {
	rules := []landlock.Rule{
		landlock.RODirs("/"),
		landlock.RWDirs("/dev").WithIoctlDev(),
		landlock.RWDirs(boxMount, "/tmp").WithRefer(),
	}
	config := landlock.V7.BestEffort()
	if err := config.RestrictPaths(rules...); err != nil {
		return err
	}
	return config.RestrictScoped()
}

func filterCalls() error {
	known, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	var names []string
	for _, name := range denied {
		if _, ok := known.SyscallNames[name]; ok {
			names = append(names, name)
		}
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{
				{Names: names, Action: seccomp.ActionErrno | seccomp.Action(unix.EPERM)},
				// clone3 has its flags in memory, where a filter cannot see
				// them; told that it does not exist, C libraries use clone.
				{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
				{Action: seccomp.ActionErrno | seccomp.Action(unix.EPERM), NamesWithCondtions: anyNamespace()},
			},
		},
	})
}

// anyNamespace matches a clone that asks for one or more new namespaces.
func anyNamespace() []seccomp.NameWithConditions {
	var out []seccomp.NameWithConditions
	for bit := uint64(1); bit <= namespaces; bit <<= 1 {
		if namespaces&bit != 0 {
			out = append(out, seccomp.NameWithConditions{Name: "clone", Conditions: seccomp.ArgumentConditions{
				{Argument: 0, Operation: seccomp.BitsSet, Value: bit},
			}})
		}
	}
	return out
}

func executable() string { return "/proc/self/exe" }
