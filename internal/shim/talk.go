package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"ratchet/internal/sandbox"

	"golang.org/x/sys/unix"
)

// What a process and the shims that it started say to each other, over a
// socket: an attempt is a folder and the variables that are in no file, with its record,
// which is locked; a byte comes back when it has ended. A shim that is let go, or whose starter is gone, gets no more.
const (
	saysStays  = 1 // and waits for the next
	saysLeaves = 2
)

// shimProcess is a shim that this process started.
type shimProcess struct {
	socket *net.UnixConn
	exited chan struct{} // closed when it was waited for
}

// startShim starts a shim, which waits for an attempt.
func startShim() (*shimProcess, error) {
	if isShim() {
		return nil, errNoMain
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := sandbox.Itself(shimName)
	cmd.Dir = "/"
	cmd.Env = []string{"GOGC=200", "GOMAXPROCS=2", "GOTRACEBACK=single", "GORACE=" + os.Getenv("GORACE")}
	cmd.ExtraFiles = []*os.File{theirs} // file descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	s := &shimProcess{socket: ours, exited: make(chan struct{})}
	go func() {
		defer close(s.exited)
		_ = cmd.Wait() // how the shim itself ended says nothing: its attempts' files do
	}()
	return s, nil
}

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // no other child gets these
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(pair[1]), "shim")
	f := os.NewFile(uintptr(pair[0]), "shim")
	defer f.Close() // the connection has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return c.(*net.UnixConn), theirs, nil
}

// send gives a shim an attempt. Its record is in the message until the shim has
// it, so that there is no moment at which the lock is free.
func (s *shimProcess) send(folder string, record *os.File, given []string) error {
	text := strings.Join(append([]string{folder}, given...), "\x00")
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	n, _, err := s.socket.WriteMsgUnix(message, unix.UnixRights(int(record.Fd())), nil)
	if err == nil && n < len(message) {
		_, err = s.socket.Write(message[n:])
	}
	return err
}

// hear waits until the shim has ended its attempt, or is gone, and reports
// whether it stays for another.
func (s *shimProcess) hear() bool {
	said := make([]byte, 1)
	if _, err := s.socket.Read(said); err != nil {
		<-s.exited
		return false
	}
	return said[0] == saysStays
}

// letGo tells a shim that it is on its own with its attempt.
func (s *shimProcess) letGo() { _ = s.socket.CloseWrite() }

// close lets go of a shim that has no attempt; it ends.
func (s *shimProcess) close() { _ = s.socket.Close() }

// receive waits for an attempt. None comes when its starter is gone; folder
// is "" then.
func (s *shim) receive() (folder string, given []string, record *os.File, err error) {
	head, control := make([]byte, 4), make([]byte, unix.CmsgSpace(4))
	var n, controlN int
	for {
		n, controlN, _, _, err = unix.Recvmsg(s.socket, head, control, 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil || n == 0 {
		return "", nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlN])
	if err != nil || len(messages) != 1 {
		return "", nil, nil, errors.Join(errors.New("no record came with the attempt"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return "", nil, nil, err
	}
	unix.CloseOnExec(fds[0]) // stays open, and so locked, until the attempt has ended
	record = os.NewFile(uintptr(fds[0]), recordFile)
	if err := s.read(head[n:]); err != nil {
		return "", nil, nil, errors.Join(err, record.Close())
	}
	text := make([]byte, binary.BigEndian.Uint32(head))
	if err := s.read(text); err != nil {
		return "", nil, nil, errors.Join(err, record.Close())
	}
	parts := strings.Split(string(text), "\x00")
	return parts[0], parts[1:], record, nil
}

// read reads the rest of a message.
func (s *shim) read(to []byte) error {
	for len(to) > 0 {
		n, err := unix.Read(s.socket, to)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			to = to[n:]
		}
	}
	return nil
}

// alone reports whether its starter is gone.
func (s *shim) alone() bool {
	poll := []unix.PollFd{{Fd: int32(s.socket), Events: unix.POLLIN}} // the end is to be read like an attempt
	n, err := unix.Poll(poll, 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// reportEnd says that the attempt has ended.
func (s *shim) reportEnd(stays bool) error {
	say := []byte{saysLeaves}
	if stays {
		say[0] = saysStays
	}
	if err := unix.Send(s.socket, say, 0); err != nil {
		return fmt.Errorf("telling that the attempt has ended: %w", err)
	}
	return nil
}

// complainTo makes what the shim complains of, and what Go says of its crash,
// go to a file.
func complainTo(f *os.File) error {
	for _, fd := range []int{1, 2} {
		if err := unix.Dup2(int(f.Fd()), fd); err != nil {
			return fmt.Errorf("preparing for complaints: %w", err)
		}
	}
	return nil
}
