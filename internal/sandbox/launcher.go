package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launcher starts commands. It keeps a spare shim ready, since most of what
// starting a command costs is the start of its shim. The zero Launcher is
// ready for use; a nil one keeps no spare. It is safe for concurrent use.
type Launcher struct {
	mu     sync.Mutex
	spare  *shimProcess
	busy   bool // a spare is being started
	closed bool
	wait   sync.WaitGroup
}

// Close ends the spare. What was started goes on.
func (l *Launcher) Close() {
	l.mu.Lock()
	l.closed = true
	spare := l.spare
	l.spare = nil
	l.mu.Unlock()
	if spare != nil {
		_ = spare.socket.Close() // tells it to end
		<-spare.exited
	}
	l.wait.Wait()
}

// shimProcess is a shim that this process started.
type shimProcess struct {
	id     identity
	socket *os.File      // of a spare: where it is told its attempt
	exited chan struct{} // closed when it was waited for
}

// launch starts the shim of an attempt, or gives the attempt to the spare.
func (l *Launcher) launch(folder string, lock *os.File) (*Handle, error) {
	if l != nil {
		defer l.replenish()
		if s := l.take(); s != nil {
			err := s.give(folder, lock)
			_ = s.socket.Close() // it has been told, or is gone
			if err == nil {
				return &Handle{folder: folder, shim: s.id, exited: s.exited}, nil
			}
		}
	}
	log, err := os.OpenFile(filepath.Join(folder, shimLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	defer log.Close()
	// The folder itself is not among the arguments: the command can read them.
	s, err := startShim(folder, log, lock, filepath.Base(folder))
	if err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	return &Handle{folder: folder, shim: s.id, exited: s.exited}, nil
}

// startShim starts a shim, with a file as its file descriptor 3.
func startShim(dir string, log, three *os.File, name string) (*shimProcess, error) {
	if isShim() {
		return nil, errNoMain
	}
	cmd := itself(shimName, name)
	cmd.Dir = dir
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	cmd.Env = []string{"GOGC=200", "GOMAXPROCS=2", "GOTRACEBACK=single", "GORACE=" + os.Getenv("GORACE")}
	cmd.ExtraFiles = []*os.File{three}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &shimProcess{exited: make(chan struct{})}
	s.id, _ = identify(cmd.Process.Pid) // it has ended already where this fails
	go func() {
		defer close(s.exited)
		_ = cmd.Wait() // how the shim itself ended says nothing: its file does
	}()
	return s, nil
}

func (l *Launcher) take() *shimProcess {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.spare
	l.spare = nil
	return s
}

// replenish starts a spare, unless there is one. Without one all is as ever,
// only slower.
func (l *Launcher) replenish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spare != nil || l.busy || l.closed {
		return
	}
	l.busy = true
	l.wait.Go(func() {
		s, err := startSpare()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy = false
		switch {
		case err != nil:
		case l.closed:
			_ = s.socket.Close()
			<-s.exited
		default:
			l.spare = s
		}
	})
}

// spareName is what a spare is called until it has an attempt.
const spareName = "spare"

func startSpare() (*shimProcess, error) {
	syscall.ForkLock.RLock() // no other child gets these
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "spare"), os.NewFile(uintptr(pair[1]), "spare")
	s, err := startShim("/", nil, theirs, spareName)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	s.socket = ours
	return s, nil
}

// give hands an attempt to a spare: its folder, and the lock on it. The lock
// is in the message until the spare has it, so that there is no moment at
// which nobody holds it.
func (s *shimProcess) give(folder string, lock *os.File) error {
	return unix.Sendmsg(int(s.socket.Fd()), []byte(folder), unix.UnixRights(int(lock.Fd())), nil, 0)
}

// receive waits, as a spare, for an attempt. No attempt comes when whoever
// started the spare is gone; folder is "" then.
func receive() (folder string, err error) {
	const socket = 3
	message, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	var n, controlN int
	for {
		n, controlN, _, _, err = unix.Recvmsg(socket, message, control, 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil || n == 0 {
		return "", err
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlN])
	if err != nil || len(messages) != 1 {
		return "", errors.Join(errors.New("no lock came with the attempt"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return "", err
	}
	unix.CloseOnExec(fds[0]) // stays open, and so locked, until the shim ends
	return string(message[:n]), unix.Close(socket)
}

// logTo makes the shim's own complaints go to a file.
func logTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for _, fd := range []int{1, 2} {
		if err := unix.Dup2(int(f.Fd()), fd); err != nil {
			return err
		}
	}
	return f.Close()
}
