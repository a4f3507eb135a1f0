package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/journal"
	"ratchet/internal/research"
	"ratchet/study"
)

// resume measures from the start of a `ratchet resume` process to the time of
// its first record, for a run that has 10,000 events.
func resume(b *bench) ([]row, error) {
	const events = 10_000
	once := func() (float64, error) {
		dir, err := os.MkdirTemp(b.dir, "resume-")
		if err != nil {
			return 0, err
		}
		if err := writeStudy(dir, "random", 1_000_000); err != nil {
			return 0, err
		}
		e, err := engine.Open(filepath.Join(dir, ".ratchet"), engine.Options{})
		if err != nil {
			return 0, err
		}
		run, err := lengthen(e, dir, events, nil)
		if err != nil {
			return 0, errors.Join(err, e.Close())
		}
		c := exec.Command(b.binary, "resume", "-q", run)
		c.Dir = dir
		began := time.Now()
		if err := c.Start(); err != nil {
			return 0, err
		}
		first, err := firstBehind(e, run, events)
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait() // it was interrupted
		return first.Sub(began).Seconds(), errors.Join(err, e.Close())
	}
	got, err := turns(once)
	if err != nil {
		return nil, err
	}
	return []row{{"resume of a run with 10,000 events", ms(got[0]) + " to the next decision", "", "200 ms", got[0] <= 0.200}}, nil
}

// lengthen makes a run and plays the engine until its journal has so many
// records, with outcomes made up: what is measured is the reading of them.
// evidence, if it is not nil, gives what the i-th attempt left.
func lengthen(e *engine.Engine, dir string, events int64, evidence func(i int) (string, error)) (string, error) {
	ctx := context.Background()
	file := filepath.Join(dir, "study.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	run, err := e.Create(ctx, file, data, engine.RunOptions{Output: filepath.Join(dir, "out")})
	if err != nil {
		return "", err
	}
	s, head, err := e.Load(ctx, run)
	if err != nil {
		return "", err
	}
	var entries []journal.Entry
	add := func(payloads ...research.Payload) error {
		for _, p := range payloads {
			b, err := research.Encode(p)
			if err != nil {
				return err
			}
			now := time.Now().UTC().Truncate(time.Microsecond)
			if err := s.Apply(research.Event{Seq: s.Seq + 1, Time: now, Data: p}); err != nil {
				return err
			}
			entries = append(entries, journal.Entry{Time: now, Type: p.Type(), Version: p.Version(), Payload: b})
		}
		return nil
	}
	attempts := 0
	for s.Seq < events {
		if len(entries) > 20_000 {
			if head, err = e.Journal.Append(ctx, journal.Of(run), head, entries...); err != nil {
				return "", err
			}
			entries = nil
		}
		for next := research.Decide(s, time.Now()); len(next) > 0; next = research.Decide(s, time.Now()) {
			if err := add(next...); err != nil {
				return "", err
			}
		}
		a := s.Pending[0]
		var outcome research.Payload
		switch a.Kind {
		case research.Propose:
			outcome = research.ExperimentProposed{Action: a.ID, Experiment: fmt.Sprintf("e%04d", a.Index+1), Parameters: study.Params{"x": float64(a.Index) / 1e6}}
		case research.Try:
			left := strings.Repeat("0", 64)
			if evidence != nil {
				if left, err = evidence(attempts); err != nil {
					return "", err
				}
			}
			attempts++
			outcome = research.AttemptEnded{Action: a.ID, Attempt: research.Attempt{
				ID: a.ID, Trial: a.Trial, Number: a.Attempt, Class: research.Succeeded, Metrics: map[string]float64{"y": 1}, Host: "bench",
				Started: time.Now(), Ended: time.Now(), Evidence: left,
			}}
		default:
			return "", fmt.Errorf("unexpected action %s", a.Kind)
		}
		if err := add(outcome); err != nil {
			return "", err
		}
	}
	_, err = e.Journal.Append(ctx, journal.Of(run), head, entries...)
	return run, err
}

// firstBehind waits for the first decision behind a number of records.
func firstBehind(e *engine.Engine, run string, seq int64) (time.Time, error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		started := false
		for r, err := range e.Journal.Read(context.Background(), journal.Of(run), seq+1) {
			if err != nil {
				return time.Time{}, err
			}
			started = started || r.Type == "engine.started"
			if started && r.Type == "action.decided" {
				return r.Time, nil
			}
		}
	}
	return time.Time{}, errors.New("no decision within a minute")
}

// memory is the engine's resident memory at most over 1,000 experiments.
func memory(b *bench) ([]row, error) {
	dir, err := os.MkdirTemp(b.dir, "memory-")
	if err != nil {
		return nil, err
	}
	if err := writeStudy(dir, "random", 1000); err != nil {
		return nil, err
	}
	c := command(b.binary, "run", "-q", "study.yaml")
	c.Dir = dir
	if err := c.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	most := 0
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case err := <-ended:
			mib := float64(most) / 1024
			return []row{{"engine's resident memory, 1,000 experiments", fmt.Sprintf("%.0f MiB at most", mib), "", "60 MiB", mib <= 60}}, err
		case <-tick.C:
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
			if err != nil {
				continue // it has ended
			}
			for line := range strings.Lines(string(status)) {
				if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
					kib, _ := strconv.Atoi(strings.Fields(rest)[0])
					most = max(most, kib)
				}
			}
		}
	}
}

// growth compares the time between trials at the end of a long run with that
// at the beginning of it, by the run's own journal.
func growth(b *bench) ([]row, error) {
	dir, err := os.MkdirTemp(b.dir, "growth-")
	if err != nil {
		return nil, err
	}
	if err := writeStudy(dir, "tpe", b.growth); err != nil {
		return nil, err
	}
	c := exec.Command(b.binary, "run", "-q", "study.yaml")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	e, err := engine.Open(filepath.Join(dir, ".ratchet"), engine.Options{})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	run, err := e.Find(context.Background(), "latest", nil)
	if err != nil {
		return nil, err
	}
	var ends []time.Time
	for r, err := range e.Journal.Read(context.Background(), journal.Of(run), 1) {
		if err != nil {
			return nil, err
		}
		if r.Type == "attempt.ended" {
			ends = append(ends, r.Time)
		}
	}
	ends = ends[:b.growth]
	cost := func(from, to int) float64 { // the median is not moved by a pause of the machine
		var gaps []float64
		for i := from + 1; i < to; i++ {
			gaps = append(gaps, ends[i].Sub(ends[i-1]).Seconds())
		}
		return median(gaps)
	}
	early, late := cost(50, 150), cost(b.growth-100, b.growth)
	return []row{{
		fmt.Sprintf("cost of a trial at %d experiments, searched by TPE", b.growth), ms(late), fmt.Sprintf("at 100: %s: %.2f times", ms(early), late/early), "1.5 times", late <= 1.5*early,
	}}, nil
}
