package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// shim is a process that watches attempts, one after another: starting one
// costs more than an attempt. It outlives who started it, to see its attempt
// to the end.
type shim struct {
	socket   int                // to its starter
	null     *os.File           // where complaints go that belong to no attempt
	main     chan func()        // for the main thread to do
	outside  chan os.Signal     // asks from outside to end the attempt
	wakes    chan os.Signal     // says that a request may lie in the attempt's folder
	next     *sandbox.Container // made ahead, for an attempt like the last one; may be nil
	attempts int
}

// attemptsPerShim is after how many a shim makes room for a new one, so that
// nothing can pile up in it.
const attemptsPerShim = 100

// shimMain is the shim whose socket is file descriptor 3. Its exit status means
// nothing: its attempts' endings do.
func shimMain() int {
	// The first process dies with the thread that started it (PDEATHSIG): let
	// that be the main one, which lives as long as the shim.
	runtime.LockOSThread()
	s := &shim{socket: 3, main: make(chan func()), outside: make(chan os.Signal, 4), wakes: make(chan os.Signal, 1)}
	syscall.CloseOnExec(s.socket)
	// Caught and dropped, not ignored: what is ignored stays so in the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	signal.Notify(s.wakes, wakeSignal)
	var err error
	go func() {
		defer close(s.main)
		err = s.serve()
	}()
	for do := range s.main {
		do()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratchet-shim:", err)
		return 1
	}
	return 0
}

// serve watches one attempt after another.
func (s *shim) serve() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err = errors.Join(err, processes.BecomeReaper()); err != nil {
		return err
	}
	s.null = null
	defer func() {
		if s.next != nil {
			s.next.Discard()
		}
	}()
	for {
		folder, given, record, err := s.receive()
		if folder == "" {
			return err
		}
		if leaves, err := s.attempt(folder, given, record); leaves || err != nil {
			return err
		}
	}
}

// attempt watches one attempt to its end. leaves reports that the shim takes no
// other.
func (s *shim) attempt(folder string, given []string, record *os.File) (leaves bool, err error) {
	defer record.Close() // does nothing the second time
	s.attempts++
	select {
	case <-s.outside: // too late for the attempt before
	default:
	}
	signal.Notify(s.outside, syscall.SIGTERM, syscall.SIGINT)
	me, err := processes.Identify(os.Getpid())
	if err = errors.Join(err, note(record, keyShim, me), complainTo(record)); err != nil {
		return true, err
	}
	spec, err := ReadSpec(folder)
	if err != nil {
		return true, err
	}
	spec.Env = sandbox.Variables(spec.Env, given...)
	e, c := s.supervise(folder, spec)
	// Its starter collects at once what is left, and syncs it then.
	// If there is none, the attempt has to last until an engine comes.
	alone := s.alone()
	if !alone {
		e.Boot = processes.Boot()
	}
	if e.Boot != "" {
		err = note(record, keyEnding, e)
	} else if err = secure(folder); err == nil { // first what the ending speaks of
		err = errors.Join(note(record, keyEnding, e), record.Sync())
	}
	if err = errors.Join(err, complainTo(s.null), record.Close()); err != nil {
		return true, err
	}
	leaves = alone || s.attempts >= attemptsPerShim
	leaves = s.reportEnd(!leaves) != nil || leaves
	if c != nil {
		c.Remove()
	}
	if !leaves {
		signal.Reset(syscall.SIGTERM, syscall.SIGINT)
		s.next, _ = s.make(spec) // if it cannot be had, the attempt will say why
	}
	return leaves, nil
}

// supervise runs the command to its end. What it ran in is to be removed; it
// may be nil.
func (s *shim) supervise(folder string, spec *sandbox.Spec) (Ending, *sandbox.Container) {
	e := Ending{Started: time.Now().UTC(), Exit: -1}
	began := time.Now() // keeps a monotonic reading
	finish := func(setUp error) Ending {
		e.Ended, e.Wall = time.Now().UTC(), time.Since(began).Seconds()
		if setUp != nil {
			e.SetUp = setUp.Error()
		}
		return e
	}
	c, err := s.container(spec)
	if err != nil {
		return finish(err), nil
	}
	child, err := startContained(folder, spec, c)
	if err != nil {
		return finish(err), nil
	}
	w := &supervision{folder: folder, spec: spec, child: child, group: c.Group, outside: s.outside, wakes: s.wakes, began: began}
	e.EndedBy = w.run()
	e.MetricsSize = fileSize(filepath.Join(sandbox.Box(folder), sandbox.MetricsFile))
	end := child.wait()
	child.killTree()
	child.output.Wait()
	if end.SetUp != "" {
		e.Missing = end.Missing
		return finish(errors.New(end.SetUp)), c
	}
	e.Exit, e.Signal = end.Exit, end.Signal
	if end.Refused != nil {
		e.Refused = end.Refused()
	}
	e.CPU, e.Memory = max(end.CPU, w.cpu), max(end.Memory, w.memory)
	if n := c.Group.Refused(); n > 0 {
		e.ForksRefused = true
		e.Reached = append(e.Reached, Reached{Limit: "processes", Times: n})
	}
	e.Read, e.Written = w.usage.Read, w.usage.Written
	e.CutOut, e.CutErr = child.stdout.cut, child.stderr.cut
	cpu, killed := c.Group.Usage()
	e.CPU = max(e.CPU, cpu)
	if killed > 0 {
		e.Memory, e.OOMKilled = int64(spec.Limits.Memory), true
		e.Reached = append(e.Reached, Reached{Limit: "memory", Times: killed})
	}
	var largest int64
	e.Disk, largest, _ = diskUse(folder, spec)
	if max(e.Disk, largest) >= int64(spec.Limits.Disk) {
		e.Reached = append(e.Reached, Reached{Limit: "disk", Times: 0})
	}
	return finish(nil), c
}

// container is the one made ahead, if it fits, or a new one.
func (s *shim) container(spec *sandbox.Spec) (*sandbox.Container, error) {
	c := s.next
	s.next = nil
	if c != nil {
		if c.Fits(spec) {
			return c, nil
		}
		c.Discard()
	}
	return s.make(spec)
}

// make makes a container, on the main thread.
func (s *shim) make(like *sandbox.Spec) (c *sandbox.Container, err error) {
	made := make(chan struct{})
	s.main <- func() {
		defer close(made)
		c, err = sandbox.NewContainer(like)
	}
	<-made
	return c, err
}

// contained is a running command with the pipes around it.
type contained struct {
	pid      int           // of the sandbox's first process
	ended    chan struct{} // closed when the main program has ended
	end      sandbox.End
	stdout   *capture
	stderr   *capture
	output   sync.WaitGroup // until both pipes are drained
	isolated bool
	door     *doorway // nil: it has none
}

// startContained starts the command in a container that was made for it; where
// that fails, the container is discarded.
func startContained(folder string, spec *sandbox.Spec, box *sandbox.Container) (*contained, error) {
	door, err := openDoor(folder, spec, sandbox.OwnNetwork(spec))
	if err != nil {
		box.Discard()
		return nil, err
	}
	wait, err := box.Begin(folder, spec)
	if err != nil {
		box.Discard()
		door.close()
		return nil, err
	}
	if door != nil {
		door.receive(box, spec.Door)
	}
	c := &contained{pid: box.PID(), door: door, isolated: spec.Isolation == sandbox.Strict, ended: make(chan struct{})}
	c.stdout = newCapture(Stdout(folder), int64(spec.Limits.Output))
	c.stderr = newCapture(Stderr(folder), int64(spec.Limits.Output))
	c.output.Go(func() { c.stdout.drain(box.Stdout) })
	c.output.Go(func() { c.stderr.drain(box.Stderr) })
	go func() {
		defer close(c.ended)
		c.end = wait()
	}()
	return c, nil
}

// wait waits for the main program's end.
func (c *contained) wait() sandbox.End {
	<-c.ended
	return c.end
}

// killTree ends every process of the attempt and waits until they are gone.
func (c *contained) killTree() {
	processes.Kill(c.pid, c.isolated, c.ended)
	sandbox.Reap(c.pid) // how it ended says nothing that its report did not
	processes.Kill(c.pid, c.isolated, c.ended)
	processes.ReapOrphans()
	c.door.close()
}

func fileSize(path string) int64 {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// writeJSON writes a file whole or not at all, by renaming. It is not durable.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// reaches reports whether a metric's value reaches a rung's bar.
func reaches(h *sandbox.Halt, v, bar float64) bool {
	if h.Goal == study.Minimize {
		return v <= bar
	}
	return v >= bar
}
