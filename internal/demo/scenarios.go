package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/maintenance"
	"ratchet/internal/research"
	"ratchet/internal/watching"
)

// restore damages a home for real and brings it back.
func (d *demo) restore(ctx context.Context) error {
	d.o.Say("a run, a backup of it, bytes of the home flipped, repaired, lost altogether and restored")
	e, run, err := d.create(ctx, "study", nil)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // the last that is open
	s, err := d.drive(ctx, e, run, watching.Options{})
	if err != nil {
		return err
	}
	before, err := e.Results(ctx, run)
	if err != nil {
		return err
	}
	place := maintenance.BackupPlace{To: filepath.Join(d.o.Dir, "backups")}
	care := maintenance.Of(e.Home, e.Publisher, e.Executor)
	m, err := care.Backup(ctx, place, nil)
	if err != nil {
		return err
	}
	d.o.Say("backup %s was made", m.ID)
	damaged, err := d.damage(filepath.Join(e.Folder, "objects"), s)
	if err != nil {
		return err
	}
	row := Row{Fault: "flipped bytes", Injected: damaged, As: "named by verify", Recovery: []float64{}}
	found, err := care.Verify(ctx, nil)
	if err != nil {
		return err
	}
	row.Detected = min(damaged, len(found.Damages))
	home := e.Folder
	if err := e.Close(); err != nil {
		return err
	}
	began := time.Now()
	if _, err := maintenance.Repair(ctx, home, place); err != nil {
		return err
	}
	if e, err = engine.Open(home, engine.Options{}); err != nil {
		return err
	}
	care = maintenance.Of(e.Home, e.Publisher, e.Executor)
	clean, err := care.Verify(ctx, nil)
	if err != nil {
		return err
	}
	if len(clean.Damages) == 0 {
		row.Recovered = damaged
		row.Recovery = append(row.Recovery, time.Since(began).Seconds())
	} else {
		row.Lost = len(clean.Damages)
	}
	d.result.Rows = append(d.result.Rows, row)

	lost := Row{Fault: "home removed", Injected: 1, Detected: 1, As: "nothing is there", Recovery: []float64{}}
	if err := errors.Join(e.Close(), os.RemoveAll(home)); err != nil {
		return err
	}
	began = time.Now()
	if e, err = engine.Open(home, engine.Options{}); err != nil {
		return err
	}
	care = maintenance.Of(e.Home, e.Publisher, e.Executor)
	if _, err := care.Restore(ctx, place, maintenance.RestoreOptions{Backup: m.ID}); err != nil {
		return err
	}
	after, err := e.Results(ctx, run)
	if err != nil {
		return err
	}
	if after.Digest == before.Digest {
		lost.Recovered = 1
		lost.Recovery = append(lost.Recovery, time.Since(began).Seconds())
	} else {
		lost.Lost = 1
	}
	d.result.Rows = append(d.result.Rows, lost)
	d.check("the results are the same", after.Digest == before.Digest, "digest %.12s", after.Digest)

	at, err := e.Locate(ctx, run, "stage-experimentation")
	if err != nil {
		return err
	}
	if _, err := e.Rollback(ctx, run, at, "the demo"); err != nil {
		return err
	}
	if _, err := d.drive(ctx, e, run, watching.Options{}); err != nil {
		return err
	}
	again, err := e.Results(ctx, run)
	if err != nil {
		return err
	}
	d.check("rolled back behind the search and gone on, they are again", again.Digest == before.Digest, "digest %.12s", again.Digest)
	return nil
}

// damage flips a byte in each of some objects that the run speaks of.
func (d *demo) damage(dir string, s *research.State) (int, error) {
	flipped := map[string]bool{}
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			digest := t.Last().Evidence
			if len(flipped) == 5 || flipped[digest] {
				continue
			}
			flipped[digest] = true
			path := filepath.Join(dir, digest[:2], digest)
			b, err := os.ReadFile(path)
			if err != nil {
				return len(flipped), err
			}
			b[len(b)/2] ^= 0xff
			if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
				return len(flipped), err
			}
		}
	}
	n := len(flipped)
	d.o.Say("a byte was flipped in each of %d objects", n)
	return n, nil
}

// fullDisk has a run on a small file system that is filled behind its back.
// Only root can make one.
func (d *demo) fullDisk(ctx context.Context) error {
	dir := filepath.Join(d.o.Dir, "small")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := mountSmall(dir); err != nil {
		d.o.Say("a full disk is not shown: making a small file system needs root (%v)", err)
		return nil
	}
	defer unmount(dir)
	e, run, err := d.create(ctx, "small", nil)
	if err != nil {
		return err
	}
	defer e.Close()
	junk := filepath.Join(dir, "junk")
	filled := false
	row := Row{Fault: "full disk", Injected: 1, As: "stopped safely", Recovery: []float64{}}
	s, err := e.Drive(ctx, run, engine.DriveOptions{OnInterrupt: engine.Stop, Observe: func(s *research.State, events []research.Payload) {
		d.observe(e)(s, events)
		if !filled && s.Tally.Trials >= 1 {
			filled = true
			fill(junk)
			d.o.Say("the disk was filled")
			// Room is made again while attempts wait for it.
			time.AfterFunc(2*time.Second, func() { _ = os.Remove(junk) })
		}
	}})
	began := time.Now()
	if err != nil {
		row.Detected = 1
		d.o.Say("it stopped: %v", err)
		_ = os.Remove(junk) // gone already, or now
		if s, err = d.drive(ctx, e, run, watching.Options{}); err != nil {
			return fmt.Errorf("with room on the disk again: %w", err)
		}
	} else {
		row.Detected, row.As = 1, "waited for room"
		began = began.Add(-2 * time.Second)
	}
	if s.Status == research.Completed && s.Tally.Failed == 0 {
		row.Recovered = 1
		row.Recovery = append(row.Recovery, time.Since(began).Seconds())
	} else {
		row.Lost = s.Tally.Failed
	}
	d.result.Rows = append(d.result.Rows, row)
	return nil
}

func fill(path string) {
	f, err := os.Create(path)
	if err != nil {
		return
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
}

// How often the engine is killed: while trials fail, and while a program asks
// a model.
const (
	kills      = 5
	modelKills = 3
)

// everything has all faults at once, and kills the engine meanwhile.
func (d *demo) everything(ctx context.Context) error {
	faults := append(append([]string{}, errorFaults...), resourceFaults...)
	d.o.Say("every fault of the others, and the engine is killed %d times while they happen", kills)
	calm, run, err := d.create(ctx, "undisturbed", faults)
	if err != nil {
		return err
	}
	d.o.Say("first the same run undisturbed, to compare with")
	_, err = d.drive(ctx, calm, run, watching.Options{})
	if err != nil {
		return errors.Join(err, calm.Close())
	}
	want, err := calm.Results(ctx, run)
	if err = errors.Join(err, calm.Close()); err != nil {
		return err
	}
	e, run, err := d.create(ctx, "killed", faults)
	if err != nil {
		return err
	}
	defer e.Close()
	row, s, err := d.killing(ctx, e, run, kills, func() time.Duration { return time.Duration(400+rand.IntN(800)) * time.Millisecond })
	if err != nil {
		return err
	}
	d.judge(s, faults)
	d.result.Rows = append(d.result.Rows, row)
	got, err := e.Results(ctx, run)
	if err != nil {
		return err
	}
	d.check("the results are those of the undisturbed run", got.Digest == want.Digest, "digest %.12s, undisturbed %.12s", got.Digest, want.Digest)
	return d.models(ctx, modelKills)
}

// killing drives a run by engines in processes of their own, and kills the
// first of them, each after a time, before it lets one come to the end.
func (d *demo) killing(ctx context.Context, e *engine.Engine, run string, times int, after func() time.Duration) (Row, *research.State, error) {
	row := Row{Fault: "engine killed", As: "resumed", Recovery: []float64{}}
	acknowledged := map[string]research.Class{}
	for ctx.Err() == nil {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, d.o.Self, "resume", run, "--home", e.Folder, "--quiet")
		cmd.Stdout, cmd.Stderr = &out, &out
		started := time.Now()
		if err := cmd.Start(); err != nil {
			return row, nil, err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if row.Injected > 0 {
			if took, ok := d.driven(ctx, e, run, started, cmd.Process.Pid); ok {
				row.Detected++
				row.Recovered++
				row.Recovery = append(row.Recovery, took)
			}
		}
		var err error
		if row.Injected < times {
			select {
			case err = <-ended:
			case <-time.After(after()):
				_ = cmd.Process.Signal(syscall.SIGKILL) // or it has ended, which the next turn sees
				err = <-ended
			}
		} else {
			err = <-ended
		}
		s, _, loadErr := e.Load(ctx, run)
		if loadErr != nil {
			return row, nil, loadErr
		}
		row.Lost += missing(s, acknowledged)
		if s.Ended() {
			return row, s, nil
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() >= 0 {
			return row, nil, fmt.Errorf("the engine ended by itself: %w\n%s", err, strings.TrimSpace(out.String()))
		}
		row.Injected++
		d.o.Say("the engine was killed: %d trials are acknowledged", len(acknowledged))
	}
	return row, nil, ctx.Err()
}

// driven waits until the engine of a process drives the run, and gives how
// long that took, in seconds.
func (d *demo) driven(ctx context.Context, e *engine.Engine, run string, started time.Time, pid int) (float64, bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Since(started) < time.Minute {
		if s, _, err := e.Load(ctx, run); err == nil && (s.Engine.PID == pid || s.Ended()) {
			return time.Since(started).Seconds(), true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, false
		}
	}
	return 0, false
}

// missing counts the trials whose outcome was acknowledged and is not there
// any more, or is another, and notes those that are there.
func missing(s *research.State, acknowledged map[string]research.Class) int {
	n := 0
	for id, outcome := range acknowledged {
		if t := s.Trial(id); t == nil || t.Outcome != outcome {
			n++
		}
	}
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			if t.Outcome != "" {
				acknowledged[t.ID] = t.Outcome
			}
		}
	}
	return n
}
