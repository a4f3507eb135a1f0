// Package executortest has the tests that every executor passes, and one in memory
// that fails in the ways that executors do.
package executortest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/shim"
)

// Place is where jobs run, for the tests.
type Place struct {
	Executor executor.Executor
	// Other is the executor as another engine has it, which comes later.
	Other executor.Executor
	Store *objects.Store
	// Job makes a job of a kind, below, with an id of its own.
	Job func(kind string) executor.Job
	// Executions is how often a job was executed.
	Executions func(id string) int
	// Lose has the machine lose a job that runs; nil: it cannot be done.
	Lose func(id string)
}

// Kinds of jobs.
const (
	Succeeds = "succeeds" // prints something, reports a score of 1, leaves an artifact and a checkpoint, exit 0
	Fails    = "fails"    // exit 3
	Waits    = "waits"    // runs until it is stopped, or for a while
)

// Tests are the tests by name, each for a place of its own.
var Tests = map[string]func(*testing.T, *Place){
	"an outcome has what the job left":            leaves,
	"a failure is an outcome":                     fails,
	"starting again attaches":                     attaches,
	"engines that start at once execute once":     atOnce,
	"another engine finds and ends jobs":          found,
	"giving up leaves a job running":              givesUp,
	"what is stopped ends, and says so":           stopped,
	"what is lost is an outcome":                  lost,
	"what was never started is nothing to anyone": never,
}

// Run tests executors that open makes.
func Run(t *testing.T, open func(t *testing.T) *Place) {
	for name, test := range Tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func start(t *testing.T, x executor.Executor, job executor.Job) executor.Handle {
	t.Helper()
	h, err := x.Start(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func wait(t *testing.T, h executor.Handle) executor.Outcome {
	t.Helper()
	out, err := h.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func leaves(t *testing.T, p *Place) {
	job := p.Job(Succeeds)
	leave, err := p.Executor.Admit(context.Background(), &job, executor.Reservation{Stopping: func() bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	h := start(t, p.Executor, job)
	out := wait(t, h)
	if out.Exit != 0 || out.Signal != "" || out.EndedBy != "" || out.Lost || out.SetUp != "" || out.Host == "" || out.Ended.Before(out.Started) {
		t.Errorf("it ended as %+v", out)
	}
	if v, ok := out.Series.At("score", -1); !ok || v != 1 {
		t.Errorf("it reported %v (%v)", v, ok)
	}
	tree, err := p.Store.Tree(objects.Digest(out.Evidence))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stdout", "metrics.jsonl"} {
		if !slices.ContainsFunc(tree, func(f objects.File) bool { return f.Path == name && p.Store.Verify(f.Digest) == nil }) {
			t.Errorf("%s is not kept: %+v", name, tree)
		}
	}
	if again := wait(t, h); again.Evidence != out.Evidence || !again.Ended.Equal(out.Ended) {
		t.Errorf("waited for twice it is %+v, and was %+v", again, out)
	}
	if later := wait(t, start(t, p.Other, job)); later.Evidence != out.Evidence {
		t.Errorf("to another engine it is %+v, and was %+v", later, out)
	}
	if digest, size, err := h.Snapshot(context.Background()); err != nil || digest != "" && size <= 0 {
		t.Errorf("the snapshot is %q of %d bytes (%v)", digest, size, err)
	} else if digest != "" {
		if _, err := p.Store.Tree(objects.Digest(digest)); err != nil {
			t.Error(err)
		}
	}
	clean(t, p, job.ID)
}

// clean cleans a job, twice, and nothing is left of it.
func clean(t *testing.T, p *Place, id string) {
	t.Helper()
	for range 2 {
		if err := p.Executor.Clean(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
	if there, err := p.Other.Started(context.Background(), id); there || err != nil {
		t.Errorf("it was cleaned, and is there (%v)", err)
	}
	if ids, err := p.Other.Jobs(); err != nil || slices.Contains(ids, id) {
		t.Errorf("it was cleaned, and there are %v (%v)", ids, err)
	}
}

func fails(t *testing.T, p *Place) {
	job := p.Job(Fails)
	out := wait(t, start(t, p.Executor, job))
	if out.Exit != 3 || out.Lost || out.Evidence == "" {
		t.Errorf("it ended as %+v", out)
	}
	clean(t, p, job.ID)
}

func attaches(t *testing.T, p *Place) {
	job := p.Job(Succeeds)
	if there, err := p.Executor.Started(context.Background(), job.ID); there || err != nil {
		t.Errorf("it was started before it was (%v)", err)
	}
	first, second := start(t, p.Executor, job), start(t, p.Executor, job)
	if there, err := p.Other.Started(context.Background(), job.ID); !there || err != nil {
		t.Errorf("it was not started (%v)", err)
	}
	a, b := wait(t, first), wait(t, second)
	if a.Evidence != b.Evidence || p.Executions(job.ID) != 1 {
		t.Errorf("started twice it was executed %d times: %+v, %+v", p.Executions(job.ID), a, b)
	}
	clean(t, p, job.ID)
}

func atOnce(t *testing.T, p *Place) {
	job := p.Job(Succeeds)
	var all sync.WaitGroup
	for _, x := range []executor.Executor{p.Executor, p.Other, p.Executor, p.Other} {
		all.Go(func() {
			h, err := x.Start(context.Background(), job)
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := h.Wait(context.Background()); err != nil || out.Exit != 0 || out.Lost {
				t.Errorf("%+v (%v)", out, err)
			}
		})
	}
	all.Wait()
	if n := p.Executions(job.ID); n != 1 {
		t.Errorf("it was executed %d times", n)
	}
	clean(t, p, job.ID)
}

func found(t *testing.T, p *Place) {
	job := p.Job(Waits)
	start(t, p.Executor, job)
	if ids, err := p.Other.Jobs(); err != nil || !slices.Contains(ids, job.ID) {
		t.Errorf("there are %v (%v)", ids, err)
	}
	if out, err := p.Other.Output(job.ID, "stdout"); err != nil {
		t.Error(err)
	} else {
		_, err := io.ReadAll(out)
		if err = errors.Join(err, out.Close()); err != nil {
			t.Error(err)
		}
	}
	clean(t, p, job.ID)
}

func givesUp(t *testing.T, p *Place) {
	job := p.Job(Waits)
	h := start(t, p.Executor, job)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: %v", err)
	}
	if there, err := p.Executor.Started(context.Background(), job.ID); !there || err != nil {
		t.Errorf("it is gone (%v)", err)
	}
	clean(t, p, job.ID)
}

func stopped(t *testing.T, p *Place) {
	job := p.Job(Waits)
	h := start(t, p.Executor, job)
	if err := h.Stop(false); err != nil {
		t.Error(err)
	}
	if out := wait(t, h); out.EndedBy != shim.ByRequest || out.Exit == 0 {
		t.Errorf("it ended as %+v", out)
	}
	clean(t, p, job.ID)
}

func lost(t *testing.T, p *Place) {
	if p.Lose == nil {
		return
	}
	job := p.Job(Waits)
	h := start(t, p.Executor, job)
	p.Lose(job.ID)
	if out := wait(t, h); !out.Lost || out.Series == nil {
		t.Errorf("it ended as %+v", out)
	}
	if out := wait(t, start(t, p.Other, job)); !out.Lost {
		t.Errorf("started again it ended as %+v", out)
	}
	clean(t, p, job.ID)
}

func never(t *testing.T, p *Place) {
	clean(t, p, "never")
	if err := p.Executor.Forget(func(string) bool { return true }); err != nil {
		t.Error(err)
	}
}
