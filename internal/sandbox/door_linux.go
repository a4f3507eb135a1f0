package sandbox

import (
	"errors"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// doorFD is the file descriptor of one of the door's listeners, in the first process,
// until the shim has it.
const doorFD = 203

// planDoor has the first process make the listeners in the command's network, and
// hand them over, that of the door first.
func planDoor(p *plan, h *handover, ports []Port) error {
	at, err := net.ResolveTCPAddr("tcp", DoorAddress)
	if err != nil {
		return err
	}
	const what = "making the door to the gateway"
	for _, of := range append([]Port{{Number: at.Port}}, ports...) {
		port := of.Number
		in := put(p.shared, unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte(at.IP.To4())})
		network := (*[2]byte)(unsafe.Pointer(&in.Port)) // in network order
		network[0], network[1] = byte(port>>8), byte(port)
		p.call(what, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		p.call(what, unix.SYS_DUP3, result{}, doorFD, unix.O_CLOEXEC)
		p.call(what, unix.SYS_BIND, doorFD, address(in), int(unsafe.Sizeof(*in)))
		p.call(what, unix.SYS_LISTEN, doorFD, 128)
		h.plan(p, what, doorFD)
		p.call(what, unix.SYS_CLOSE, doorFD)
	}
	return nil
}

// DoorListeners gives what waits for the listeners that the first process makes, one
// after the other; nil: it makes none, or they have been asked for already. done ends
// the asking.
func (c *Container) DoorListeners() (take func() (net.Listener, error), done func()) {
	h := c.handedDoor
	if h == nil {
		return nil, nil
	}
	c.handedDoor = nil
	return func() (net.Listener, error) {
		fd, err := h.next()
		if err != nil {
			return nil, err
		}
		f := os.NewFile(uintptr(fd), "door")
		defer f.Close() // the listener has its own
		return net.FileListener(f)
	}, func() { _ = h.ours.Close() }
}

// handover is the way of a file descriptor from the first process, or the
// command's, to the shim. The shim closes their end once they were forked; to
// them it stays at.
type handover struct {
	ours, theirs *os.File
	at           int
}

func newHandover(name string) (*handover, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &handover{ours: os.NewFile(uintptr(pair[0]), name), theirs: os.NewFile(uintptr(pair[1]), name), at: pair[1]}, nil
}

// plan hands a file descriptor over.
func (h *handover) plan(p *plan, what string, fd int) {
	control := unix.UnixRights(fd)
	header := put(p.shared, unix.Msghdr{
		Iov: put(p.shared, unix.Iovec{Base: put(p.shared, byte(0)), Len: 1}), Iovlen: 1,
		Control: put(p.shared, control...), Controllen: uint64(len(control)),
	})
	p.call(what, unix.SYS_SENDMSG, h.at, address(header), 0)
}

// receive waits for the only file descriptor; an error says that none came.
func (h *handover) receive() (int, error) {
	defer h.ours.Close()
	return h.next()
}

// next waits for a file descriptor; an error says that none came.
func (h *handover) next() (int, error) {
	message, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := unix.Recvmsg(int(h.ours.Fd()), message, control, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		messages, err := unix.ParseSocketControlMessage(control[:n])
		if err != nil || len(messages) != 1 {
			return 0, errors.Join(errors.New("no file came"), err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			return 0, err
		}
		return fds[0], nil
	}
}
