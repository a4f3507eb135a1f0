package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// alarming are those of the denied system calls that no program makes by
// accident, or to find out what it can use: with them one leaves a sandbox, or
// takes a machine over. The kernel asks the shim about each (seccomp_unotify(2)),
// which notes it and refuses it as the others are refused.
var alarming = []string{
	"mount", "umount", "umount2", "pivot_root", "chroot", "setns",
	"fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount", "mount_setattr",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
	"bpf", "open_by_handle_at", "swapon", "swapoff", "reboot", "acct", "iopl", "ioperm",
}

// listener is the file descriptor, in the command's process until it becomes
// the command, that the kernel's questions come from.
const listener = 202

// notice is where the shim hears of alarming calls.
type notice struct {
	way  *handover // of the listener
	wait sync.WaitGroup

	mu    sync.Mutex
	calls []string // each once
}

// Noticing reports whether the kernel can ask about system calls.
var Noticing = sync.OnceValue(func() bool {
	const getActionAvail = 2 // SECCOMP_GET_ACTION_AVAIL
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
})

// newNotice makes the way for the listener; nil where the kernel has none.
func newNotice() (*notice, error) {
	if !Noticing() {
		return nil, nil
	}
	way, err := newHandover("notice")
	if err != nil {
		return nil, err
	}
	return &notice{way: way}, nil
}

// plan has the command's process hand the listener over. The step before it
// has made the listener.
func (n *notice) plan(p *plan) {
	const what = "filtering system calls"
	p.call(what, unix.SYS_DUP3, result{}, listener, unix.O_CLOEXEC)
	n.way.plan(p, what, listener)
}

// listen answers the kernel until the command and all its children are gone.
func (n *notice) listen() {
	if n == nil {
		return
	}
	n.wait.Go(func() {
		fd, err := n.way.receive()
		if err != nil {
			return // it ended before; its report says why
		}
		defer unix.Close(fd)
		for n.answer(fd) {
		}
	})
}

// answer refuses one call; false: there is no process left that could make one. The
// structs are those of linux/seccomp.h: struct seccomp_notif has 80 bytes, the
// id of the question first and the call's number behind 16, struct
// seccomp_notif_resp has 24.
func (n *notice) answer(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, -1); err != nil {
		return errors.Is(err, unix.EINTR)
	}
	if poll[0].Revents&unix.POLLIN == 0 {
		return false // POLLHUP: all processes with this filter are gone
	}
	var question [80]byte
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&question))); errno != 0 {
		return errno == unix.EINTR || errno == unix.ENOENT // the caller was killed meanwhile
	}
	n.note(int(binary.NativeEndian.Uint32(question[16:])))
	var reply [24]byte
	copy(reply[:8], question[:8])
	refused := int32(unix.EPERM)
	binary.NativeEndian.PutUint32(reply[16:], uint32(-refused))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply)))
	return errno == 0 || errno == unix.EINTR || errno == unix.ENOENT
}

// close closes what was never listened at.
func (n *notice) close() {
	if n != nil {
		_ = n.way.ours.Close() // does nothing after listen
	}
}

func (n *notice) note(call int) {
	name := fmt.Sprintf("system call %d", call)
	if known, err := arch.GetInfo(""); err == nil {
		if s, ok := known.SyscallNumbers[call]; ok {
			name = s
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.calls, name) {
		n.calls = append(n.calls, name)
	}
}

// refused are the names of the alarming calls, once everything has ended.
func (n *notice) refused() []string {
	if n == nil {
		return nil
	}
	n.wait.Wait()
	return n.calls
}
