package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/metrics"
	"ratchet/internal/objects"
	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
)

// access is the cluster as an engine has it, with its store.
type access struct {
	*cluster
	store *objects.Store
}

// Start implements executor.Executor.
func (a access) Start(ctx context.Context, j executor.Job) (executor.Handle, error) {
	there, err := a.start(ctx, j)
	if err != nil {
		return nil, err
	}
	return &handle{a.cluster, there, a.store}, nil
}

// Admit implements executor.Executor.
func (c *cluster) Admit(context.Context, *executor.Job, executor.Reservation) (func(), error) {
	return func() {}, nil
}

// Probe implements executor.Executor.
func (c *cluster) Probe(sandbox.Isolation) error { return nil }

// Started implements executor.Executor.
func (c *cluster) Started(_ context.Context, id string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return false, errOff
	}
	return c.jobs[id] != nil, nil
}

// Output implements executor.Executor.
func (c *cluster) Output(string, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

// cluster executes jobs in simulated time. It outlives engines, as shims do;
// a power cut ends what runs on it.
type cluster struct {
	w *world

	mu   sync.Mutex
	jobs map[string]*job
	runs map[string]int // by job: how often it was executed to its end
	off  bool
}

// errGone is the error of waiting for a job that another engine has taken the
// outcome of, and cleaned.
var errGone = errors.New("the job is gone")

// job is one execution of an attempt.
type job struct {
	id    string
	score float64 // what it measures if it comes to its own end
	nth   int     // execution of this id
	ends  time.Time
	lost  bool
	ended shim.Ending
	stop  chan struct{} // closed when it is asked to stop
}

// start starts a job. One whose decision is not in the journal must not be started.
func (c *cluster) start(ctx context.Context, j executor.Job) (*job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.w.step()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return nil, errOff
	}
	c.w.mustBeDecided(j.ID)
	if there := c.jobs[j.ID]; there != nil {
		return there, nil
	}
	n := c.runs[j.ID]
	if c.w.chance("start fails", j.ID, c.w.boots) < 0.01 {
		return nil, fmt.Errorf("starting %s: the node does not answer", j.ID)
	}
	c.runs[j.ID]++
	// Odd nanoseconds: no two jobs end at the same time, nor with a tick of the
	// engine, so that the order of things is the seed's alone.
	took := time.Duration(1+c.w.below(20_000, "takes", j.ID, n))*time.Millisecond + time.Duration(2*c.w.below(400_000, "odd", j.ID, n)+1)
	fresh := &job{id: j.ID, score: c.w.score(j.Experiment, j.Seed), nth: n, ends: time.Now().Add(took), stop: make(chan struct{})}
	fresh.ended = c.plan(j, took)
	fresh.lost = c.w.chance("node lost", j.ID, n) < 0.02
	c.jobs[j.ID] = fresh
	return fresh, nil
}

// plan is how a job will end: by its trial alone where it comes to its own
// end, so that every history has the same results.
func (c *cluster) plan(j executor.Job, took time.Duration) shim.Ending {
	e := shim.Ending{Started: time.Now().UTC(), Wall: took.Seconds(), CPU: 0.5, Memory: 1 << 20, Disk: 4096}
	switch {
	case c.w.below(12, "program fails", j.Trial) == 0:
		e.Exit = 3
	case j.Attempt == 1 && c.w.chance("hangs", j.Trial) < 0.05:
		e.Exit, e.Signal, e.EndedBy = -1, "killed", shim.ByTime
	}
	return e
}

// Clean implements executor.Executor. What has ended and was not journaled
// must not be thrown away.
func (c *cluster) Clean(ctx context.Context, id string) error {
	c.w.step()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return errOff
	}
	j := c.jobs[id]
	if j == nil {
		return nil
	}
	c.w.mustNotBeNeeded(id)
	delete(c.jobs, id)
	return nil
}

// Jobs implements executor.Executor.
func (c *cluster) Jobs() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return nil, errOff
	}
	var ids []string
	for id := range c.jobs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Forget implements executor.Executor.
func (c *cluster) Forget(func(string) bool) error { return nil }

// Close implements executor.Executor.
func (c *cluster) Close() {}

// cut ends what runs: the power is off.
func (c *cluster) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if time.Now().Before(j.ends) {
			j.lost, j.ends = true, time.Now()
		}
	}
}

func (c *cluster) turn(off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = off
}

type handle struct {
	c     *cluster
	j     *job
	store *objects.Store
}

// Wait implements executor.Handle.
func (h *handle) Wait(ctx context.Context) (executor.Outcome, error) {
	h.c.mu.Lock()
	wait := time.Until(h.j.ends)
	h.c.mu.Unlock()
	if wait <= 0 {
		// It has ended before it was asked: those answer one after the other.
		wait = time.Duration(2*h.c.w.below(400_000, "answers", h.j.id, h.j.nth) + 1)
	}
	stopped := false
	if wait > 0 {
		end := time.NewTimer(wait)
		defer end.Stop()
		select {
		case <-ctx.Done():
			return executor.Outcome{}, ctx.Err()
		case <-h.j.stop:
			stopped = true
		case <-end.C:
		}
	}
	h.c.mu.Lock()
	off, there := h.c.off, h.c.jobs[h.j.id] == h.j
	h.c.mu.Unlock()
	switch {
	case off:
		return executor.Outcome{}, errOff
	case !there:
		return executor.Outcome{}, errGone
	}
	out := executor.Outcome{Ending: h.j.ended, Lost: h.j.lost, Host: "simulated", Series: metrics.NewSeries()}
	if out.Ended = h.j.ends.UTC(); stopped {
		out.Ended = time.Now().UTC()
		out.Exit, out.Signal, out.EndedBy = -1, "terminated", shim.ByRequest
	}
	texts := map[string]string{"stdout": "output of " + h.j.id + "\n"}
	switch {
	case out.Lost:
		return out, nil
	case out.Exit == 0:
		texts[sandbox.MetricsFile] = fmt.Sprintf("{\"score\": %v}\n", h.j.score)
		out.Series.Write([]byte(texts[sandbox.MetricsFile]))
	case out.Exit == 3:
		texts["stderr"] = "it always fails\n"
	}
	out.LastOut, out.LastErr = texts["stdout"], texts["stderr"]
	var tree objects.Tree
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		d, err := h.store.PutBytes([]byte(texts[name]))
		if err != nil {
			return executor.Outcome{}, err
		}
		tree = append(tree, objects.File{Path: name, Digest: d, Size: int64(len(texts[name]))})
	}
	evidence, err := h.store.PutTree(tree)
	if err != nil {
		return executor.Outcome{}, err
	}
	out.Evidence = string(evidence)
	return out, nil
}

// Stop implements executor.Handle.
func (h *handle) Stop(bool) error {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	select {
	case <-h.j.stop:
		return errors.New("it was asked before")
	default:
		close(h.j.stop)
	}
	return nil
}

// Snapshot implements executor.Handle.
func (h *handle) Snapshot(context.Context) (string, int64, error) { return "", 0, nil }

// Using implements executor.Handle.
func (h *handle) Using() (processes.Reading, bool) { return processes.Reading{}, false }
