package sandbox

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

	"ratchet/study"
)

// shimMain is the shim of the attempt in the working folder, or of the one
// that a spare is told. Its exit status means nothing: its ending file does.
func shimMain(name string) int {
	// The first process dies with the thread that started it (PDEATHSIG): let
	// that be the main one, which lives as long as the shim.
	runtime.LockOSThread()
	syscall.CloseOnExec(3) // the lock, or a spare's socket, is the shim's alone
	// Caught and dropped, not ignored: what is ignored stays so in the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	folder, err := os.Getwd()
	if name == spareName {
		if folder, err = receive(); folder == "" {
			return 0
		}
		if err == nil {
			err = logTo(filepath.Join(folder, shimLog))
		}
	}
	if err == nil {
		err = os.Chdir("/")
	}
	if err == nil {
		err = shim(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratchet-shim:", err)
		return 1
	}
	return 0
}

func shim(folder string) error {
	requests := make(chan os.Signal, 4)
	signal.Notify(requests, syscall.SIGTERM, syscall.SIGINT)
	if err := becomeReaper(); err != nil {
		return fmt.Errorf("becoming the reaper of the attempt: %w", err)
	}
	me, err := identify(os.Getpid())
	if err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(folder, shimFile), me, false); err != nil {
		return err
	}
	var spec Spec
	b, err := os.ReadFile(filepath.Join(folder, specFile))
	if err == nil {
		err = json.Unmarshal(b, &spec)
	}
	if err != nil {
		return err
	}
	e := supervise(folder, &spec, requests)
	return writeJSON(filepath.Join(folder, endingFile), e, true)
}

// supervise runs the command to its end.
func supervise(folder string, spec *Spec, requests <-chan os.Signal) Ending {
	e := Ending{Started: time.Now().UTC(), Exit: -1}
	began := time.Now() // keeps a monotonic reading
	finish := func(setUp error) Ending {
		e.Ended, e.Wall = time.Now().UTC(), time.Since(began).Seconds()
		if setUp != nil {
			e.SetUp = setUp.Error()
		}
		return e
	}
	group, err := newCgroup(filepath.Base(folder), spec.Limits)
	if err != nil {
		return finish(err)
	}
	defer group.remove()
	c, err := startContained(folder, spec, group)
	if err != nil {
		return finish(err)
	}
	w := &watch{folder: folder, spec: spec, child: c, group: group, requests: requests, began: began}
	e.EndedBy = w.run()
	e.MetricsSize = fileSize(filepath.Join(Box(folder), MetricsFile))
	end := c.wait()
	c.killTree()
	c.output.Wait()
	if end.SetUp != "" {
		e.Missing = end.Missing
		return finish(errors.New(end.SetUp))
	}
	e.Exit, e.Signal = end.Exit, end.Signal
	if end.Refused != nil {
		e.Refused = end.Refused()
	}
	e.CPU, e.Memory = max(end.CPU, w.cpu), max(end.Memory, w.memory)
	e.ForksRefused = group.refused()
	e.Read, e.Written = w.usage.Read, w.usage.Written
	e.CutOut, e.CutErr = c.stdout.cut, c.stderr.cut
	if cpu, oom := group.usage(); oom {
		e.CPU, e.Memory, e.OOMKilled = max(e.CPU, cpu), int64(spec.Limits.Memory), true
	} else {
		e.CPU = max(e.CPU, cpu)
	}
	e.Disk = diskUse(filepath.Join(folder, boxFolder), filepath.Join(folder, tmpFolder), spec.Checkpoint)
	return finish(nil)
}

// childEnd is what the sandbox's first process reports of the command.
type childEnd struct {
	SetUp   string `json:",omitempty"`
	Missing bool   `json:",omitempty"`
	Exit    int
	Signal  string `json:",omitempty"`
	CPU     float64
	Memory  int64
	// Refused waits until everything is gone and gives the alarming calls.
	Refused func() []string `json:"-"`
}

// contained is a running command with the pipes around it.
type contained struct {
	pid      int           // of the sandbox's first process
	ended    chan struct{} // closed when the main program has ended
	end      childEnd
	stdout   *capture
	stderr   *capture
	output   sync.WaitGroup // until both pipes are drained
	isolated bool
	door     *doorway // nil: it has none
}

// startContained starts the sandbox's first process in its group, and in it
// the command.
func startContained(folder string, spec *Spec, group *cgroup) (*contained, error) {
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, outRead.Close(), outWrite.Close())
	}
	door, err := openDoor(folder, spec, ownNetwork(spec))
	if err != nil {
		return nil, errors.Join(err, outRead.Close(), outWrite.Close(), errRead.Close(), errWrite.Close())
	}
	pid, wait, err := spawn(folder, spec, group, door, outWrite, errWrite)
	if err = errors.Join(err, outWrite.Close(), errWrite.Close()); err != nil {
		door.close()
		return nil, errors.Join(err, outRead.Close(), errRead.Close())
	}
	c := &contained{pid: pid, door: door, isolated: spec.Isolation == Strict, ended: make(chan struct{})}
	c.stdout = newCapture(Stdout(folder), int64(spec.Limits.Output))
	c.stderr = newCapture(Stderr(folder), int64(spec.Limits.Output))
	c.output.Go(func() { c.stdout.drain(outRead) })
	c.output.Go(func() { c.stderr.drain(errRead) })
	go func() {
		defer close(c.ended)
		c.end = wait()
	}()
	return c, nil
}

// wait waits for the main program's end.
func (c *contained) wait() childEnd {
	<-c.ended
	return c.end
}

// killTree ends every process of the attempt and waits until they are gone.
func (c *contained) killTree() {
	killAll(c.pid, c.isolated)
	reap(c.pid) // how it ended says nothing that its report did not
	killAll(c.pid, c.isolated)
	reapOrphans()
	c.door.close()
}

func fileSize(path string) int64 {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// writeJSON writes a file whole or not at all, by renaming.
func writeJSON(path string, v any, durable bool) error {
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
	if durable {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil || !durable {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// reaches reports whether a metric's value reaches a rung's bar.
func (h *Halt) reaches(v, bar float64) bool {
	if h.Goal == study.Minimize {
		return v <= bar
	}
	return v >= bar
}
