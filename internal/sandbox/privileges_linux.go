package sandbox

import (
	"fmt"
	"os"
	"slices"
	"sync"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
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
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	"statmount", "listmount", "memfd_secret", "cachestat", "lsm_set_self_attr",
	"open_by_handle_at", "name_to_handle_at", "fanotify_init", "lookup_dcookie",
	"swapon", "swapoff", "reboot", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "nfsservctl",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
	"iopl", "ioperm", "modify_ldt", "uselib", "ustat", "sysfs", "_sysctl", "vm86", "vm86old",
	"mbind", "migrate_pages", "move_pages", "set_mempolicy_home_node",
}

// allNamespaces are the flags of clone(2) that make new ones.
const allNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// capabilities is how many this kernel has.
var capabilities = sync.OnceValue(func() int {
	for c := 0; ; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err != nil {
			return c
		}
	}
})

// planGiveUp takes every privilege from the command's process: its user,
// capabilities for good, system calls by seccomp.
func planGiveUp(p *plan, n *notice) error {
	for c := range capabilities() {
		p.call("giving up capabilities", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c)
	}
	if os.Getuid() == 0 {
		p.call("becoming nobody", unix.SYS_SETGROUPS, 1, address(put(p.shared, uint32(nobody))))
		p.call("becoming nobody", unix.SYS_SETRESGID, nobody, nobody, nobody)
		p.call("becoming nobody", unix.SYS_SETRESUID, nobody, nobody, nobody)
	}
	header := put(p.shared, unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3})
	none := put(p.shared, [2]unix.CapUserData{}) // version 3 has 64 bits in two parts
	p.call("giving up capabilities", unix.SYS_CAPSET, address(header), address(none))
	p.call("giving up privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	return planCalls(p, n)
}

// Rights of Landlock (include/uapi/linux/landlock.h) that the rules speak of.
const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFirst = 1<<13 - 1 // of the first version of its interface
)

// LandlockVersion is the version of the kernel's Landlock; 0: there is none.
func LandlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// planFiles says again, by Landlock, what the mounts say already: a second
// wall, and one around signals and abstract sockets. On a kernel with less of
// Landlock, or none, the first one stands alone.
func planFiles(p *plan) {
	version := LandlockVersion()
	if version == 0 {
		return
	}
	handled, size := uint64(landlockFirst), 8 // the attributes grew with the interface
	ruleset := [3]uint64{}                    // files, network, scopes
	if version >= 2 {
		handled |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		handled |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		size = 16
	}
	if version >= 5 {
		handled |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		size = 24
		ruleset[2] = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	ruleset[0] = handled
	const rules, path = 200, 201 // file descriptors that are otherwise unused
	p.call("restricting files", unix.SYS_LANDLOCK_CREATE_RULESET, address(put(p.shared, ruleset)), size, 0)
	p.call("restricting files", unix.SYS_DUP3, result{}, rules, unix.O_CLOEXEC)
	for _, r := range []struct {
		path   string
		access uint64
	}{
		{"/", landlockRead},
		{"/dev", handled &^ unix.LANDLOCK_ACCESS_FS_REFER},
		{boxMount, handled &^ unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{"/tmp", handled &^ unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
	} {
		rule := put(p.shared, unix.LandlockPathBeneathAttr{Allowed_access: r.access & handled, Parent_fd: path})
		p.call("restricting "+r.path, unix.SYS_OPENAT, unix.AT_FDCWD, r.path, unix.O_PATH|unix.O_CLOEXEC)
		p.call("restricting "+r.path, unix.SYS_DUP3, result{}, path, unix.O_CLOEXEC)
		p.call("restricting "+r.path, unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, address(rule), 0)
	}
	p.call("restricting files", unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0)
}

// planCalls has the kernel refuse the denied system calls, and ask about the
// alarming ones where it can.
func planCalls(p *plan, n *notice) error {
	filter, err := callFilter()
	if err != nil {
		return fmt.Errorf("making the filter of system calls: %w", err)
	}
	program := address(put(p.shared, unix.SockFprog{Len: uint16(len(filter)), Filter: put(p.shared, filter...)}))
	if n == nil {
		p.call("filtering system calls", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, program)
		return nil
	}
	p.call("filtering system calls", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, program)
	n.plan(p)
	return nil
}

// callFilter is the same for every command.
var callFilter = sync.OnceValues(func() ([]unix.SockFilter, error) {
	known, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	var refused, asked []string
	for _, name := range denied {
		if _, ok := known.SyscallNames[name]; !ok {
			continue
		}
		if Noticing() && slices.Contains(alarming, name) {
			asked = append(asked, name)
		} else {
			refused = append(refused, name)
		}
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{Names: refused, Action: seccomp.ActionErrno | seccomp.Action(unix.EPERM)},
			// clone3 has its flags in memory, where a filter cannot see them;
			// told that it does not exist, C libraries use clone.
			{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
			{Action: seccomp.ActionErrno | seccomp.Action(unix.EPERM), NamesWithCondtions: append(anyNamespace(), otherSockets(), otherNetlink(), otherPersonalities(), hiding())},
		},
	}
	if len(asked) > 0 {
		policy.Syscalls = append(policy.Syscalls, seccomp.SyscallGroup{Names: asked, Action: seccomp.Action(unix.SECCOMP_RET_USER_NOTIF)})
	}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	// The policy allows whatever comes by another architecture's interface, as
	// 32-bit calls on a 64-bit kernel do. Those calls have other numbers, so
	// none of them can be let through.
	const archOffset = 4 // of struct seccomp_data
	instructions = append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(known.ID), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		// A call that is newer than this list is refused as if the kernel did not
		// have it; so are those of the x32 interface, whose numbers have a high bit.
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: firstUnknown(known), SkipFalse: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}, instructions...)
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
})

// otherSockets matches sockets that are no local and no internet ones. Some
// families know nothing of network namespaces: vsock leads to the hypervisor.
func otherSockets() seccomp.NameWithConditions {
	s := seccomp.NameWithConditions{Name: "socket"}
	for _, family := range []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK} {
		s.Conditions = append(s.Conditions, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: family})
	}
	return s
}

// otherNetlink matches netlink sockets but those that list addresses and routes,
// of the command's own network.
func otherNetlink() seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: "socket", Conditions: seccomp.ArgumentConditions{
		{Argument: 0, Operation: seccomp.Equal, Value: unix.AF_NETLINK},
		{Argument: 2, Operation: seccomp.NotEqual, Value: unix.NETLINK_ROUTE},
	}}
}

// otherPersonalities matches all that change more of a process's execution
// domain than what Linux is taken for, as Docker does (personality(2)):
// PER_LINUX, PER_LINUX32, UNAME26 with either, and the question.
func otherPersonalities() seccomp.NameWithConditions {
	p := seccomp.NameWithConditions{Name: "personality"}
	for _, harmless := range []uint64{0, 8, 0x20000, 0x20008, 0xffffffff} {
		p.Conditions = append(p.Conditions, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: harmless})
	}
	return p
}

// hiding matches what takes a process out of its shim's sight, where that is an
// ordinary user's (PR_SET_DUMPABLE in prctl(2)).
func hiding() seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: "prctl", Conditions: seccomp.ArgumentConditions{
		{Argument: 0, Operation: seccomp.Equal, Value: unix.PR_SET_DUMPABLE},
		{Argument: 1, Operation: seccomp.NotEqual, Value: 1},
	}}
}

// firstUnknown is the number behind all calls that the filter knows.
func firstUnknown(known *arch.Info) uint32 {
	const x32 = 1 << 30
	most := 0
	for number := range known.SyscallNumbers {
		if number < x32 {
			most = max(most, number)
		}
	}
	return uint32(most) + 1
}

// anyNamespace matches a clone that asks for one or more new namespaces.
func anyNamespace() []seccomp.NameWithConditions {
	var out []seccomp.NameWithConditions
	for bit := uint64(1); bit <= allNamespaces; bit <<= 1 {
		if allNamespaces&bit != 0 {
			out = append(out, seccomp.NameWithConditions{Name: "clone", Conditions: seccomp.ArgumentConditions{
				{Argument: 0, Operation: seccomp.BitsSet, Value: bit},
			}})
		}
	}
	return out
}
