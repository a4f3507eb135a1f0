package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/failpoint"
	"ratchet/internal/guard"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/search"
	"ratchet/study"
)

// effect gives what carries an action out. What it needs of the state it
// takes now, in the driver's goroutine; the function it returns runs in
// another.
func (d *driver) effect(a research.Action) func(context.Context) result {
	if a.Kind == research.Build {
		job := d.sandboxed(a.ID, d.study.Program.Build, d.state.Created.Snapshot)
		job.Parameters = study.Params{}
		return func(ctx context.Context) result { return d.build(ctx, job) }
	}
	if a.Kind == research.CheckEvaluation {
		return d.nullTests(a)
	}
	job, err := d.job(a)
	rungs, stored := d.state.Experiment(a.Experiment).Rungs, d.state.Trial(a.Trial).Checkpoint
	job.Restore = d.restore(stored)
	want := d.reserve(job)
	return func(ctx context.Context) result { return d.try(ctx, a, job, want, rungs, stored, err) }
}

// computed gives the outcome of a pending action that is a function of what is in
// the journal; none if there is no such action.
func (d *driver) computed(ctx context.Context) ([]research.Payload, error) {
	for _, a := range d.state.Pending {
		switch a.Kind {
		case research.Propose:
			return []research.Payload{d.propose(a)}, nil
		case research.Judge:
			return d.judge(ctx, a)
		}
	}
	return nil, nil
}

func (d *driver) propose(a research.Action) research.Payload {
	p, ok := search.Propose(d.state, a.Index)
	if !ok {
		return research.SearchExhausted{Action: a.ID}
	}
	return research.ExperimentProposed{
		Action: a.ID, Experiment: fmt.Sprintf("e%04d", a.Index+1), Arm: p.Arm, Parameters: p.Parameters, Rungs: p.Rungs,
	}
}

// job describes the attempt of a Try action, from the run's record alone.
func (d *driver) job(a research.Action) (executor.Job, error) {
	c, x := d.state.Created, d.state.Experiment(a.Experiment)
	parameters := effective(a, x)
	command, err := c.Study.Arguments(parameters, a.Seed)
	if err != nil {
		return executor.Job{}, err
	}
	job := d.sandboxed(a.ID, command, d.state.Snapshot)
	job.Experiment, job.Trial, job.Attempt = a.Experiment, a.Trial, a.Attempt
	job.Parameters, job.Seed = parameters, a.Seed
	d.models.lead(&job)
	if a.Limits != nil {
		job.Limits = *a.Limits
	}
	if a.Purpose == research.ForSearch && len(x.Rungs) > 0 {
		job.Halt = &sandbox.Halt{Metric: c.Study.Objective.Metric, Goal: c.Study.Objective.Goal}
		for _, r := range x.Rungs {
			job.Halt.Rungs = append(job.Halt.Rungs, sandbox.HaltRung(r))
		}
	}
	return job, nil
}

// sandboxed is a job with all that does not depend on the trial.
func (d *driver) sandboxed(id string, command []string, snapshot string) executor.Job {
	c := d.state.Created
	job := executor.Job{
		ID: id, Run: d.run, Trial: id, Command: command, Limits: c.Study.Limits.Attempt,
		CheckpointAt: c.Study.Program.Checkpoint,
		Isolation:    sandbox.Isolation(c.Isolation), ReadOnly: d.env.ReadOnly, Path: d.env.Path,
		Fill: d.filled(snapshot, "the program's files"),
	}
	job.Inputs = d.binds(c.Study.Program.Inputs, 0)
	return job
}

// filled puts files of the study into a job's working folder.
func (d *driver) filled(snapshot, what string) func(dir string) error {
	return func(dir string) error {
		tree, err := d.engine.Objects.Tree(objects.Digest(snapshot))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return d.engine.Objects.CopyOut(tree, dir)
	}
}

// binds are inputs as a sandbox shows them. first is the number of the first of
// them among all inputs.
func (d *driver) binds(inputs []study.Input, first int) (out []sandbox.Bind) {
	for i, in := range inputs {
		at := in.Locate(d.created.Folder)
		source, err := filepath.EvalSymlinks(at) //nolint:forbidigo // an input is named by its path
		if err != nil {
			source = at // starting says that it is gone
		}
		out = append(out, sandbox.Bind{Source: source, Target: in.Path, Hide: d.inputs.hidden(first + i)})
	}
	return out
}

// try executes an attempt to its end and collects what it left.
func (d *driver) try(ctx context.Context, a research.Action, job executor.Job, want claim, rungs []research.Rung, stored string, err error) result {
	if err != nil {
		return result{err: err}
	}
	if !d.waitUntil(ctx, a.NotBefore) {
		return d.notBegun(ctx, a)
	}
	leave, err := d.admit(ctx, &job, want)
	if errors.Is(err, errStopping) {
		return d.notBegun(ctx, a)
	}
	if err != nil {
		return result{err: err}
	}
	defer leave()
	out, err := d.execute(ctx, job, func(ctx context.Context, h executor.Handle) { stored = d.keepSnapshots(ctx, a, h, stored) })
	if errors.Is(err, errStopping) {
		return d.notBegun(ctx, a)
	}
	if what := d.inputs.changed(); what != "" && !d.wasStopped(out) {
		return result{void: what}
	}
	if err != nil {
		return result{err: err}
	}
	d.setUp(ctx, out)
	failpoint.Hit("collect.before")
	attempt, err := d.collect(ctx, a, job, rungs, out)
	if errors.Is(err, errStopping) {
		return d.notBegun(ctx, a)
	}
	if d.study.Evaluation != nil {
		if what := d.inputs.changed(); what != "" {
			return result{void: what}
		}
	}
	attempt.GPUs, attempt.Usage.GPUMemory = job.GPUs, d.watch.gpuMemory(a.ID)
	attempt.Lost, attempt.Models = out.Lost, d.models.use(a.ID)
	if err != nil {
		return result{err: fmt.Errorf("collecting attempt %s: %w", a.ID, err)}
	}
	var kept []research.Payload
	if attempt.Class != research.Succeeded { // a next one may follow
		if kept, err = d.snapshot(a, out.Checkpoint, stored); err != nil && !errors.Is(err, errChanging) {
			return result{err: fmt.Errorf("storing the checkpoint of attempt %s: %w", a.ID, err)}
		}
	}
	failpoint.Hit("collect.after")
	r := d.ended(a, attempt)
	r.events = append(kept, r.events...)
	r.stopped = d.wasStopped(out)
	return r
}

// notBegun is the outcome of an attempt that the run stops before.
func (d *driver) notBegun(ctx context.Context, a research.Action) result {
	if ctx.Err() != nil {
		return result{err: ctx.Err()}
	}
	r := d.ended(a, research.Attempt{Class: research.Transient, Message: d.why(), Exit: -1})
	r.stopped = true
	return r
}

// waitUntil waits for the end of a back-off; false if the attempt is not to
// begin any more.
func (d *driver) waitUntil(ctx context.Context, t time.Time) bool {
	for {
		select {
		case <-d.halted:
			return false
		case <-ctx.Done():
			return false
		default:
		}
		wait := t.Sub(d.clock.Now())
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.halted:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (d *driver) why() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// wasStopped reports whether a job ended because this engine stops all.
func (d *driver) wasStopped(out executor.Outcome) bool {
	return d.why() != "" && (out.EndedBy == sandbox.ByRequest || out.Lost)
}

// ended is the outcome of an attempt; its files go once that is durable.
func (d *driver) ended(a research.Action, attempt research.Attempt) result {
	attempt.ID, attempt.Trial, attempt.Number = a.ID, a.Trial, a.Attempt
	return result{
		events: []research.Payload{research.AttemptEnded{Action: a.ID, Attempt: attempt}},
		done:   func() error { return d.cleanAll(context.Background(), a.ID) },
	}
}

// execute runs a job to its end, or attaches to it and waits. beside, if there
// is one, runs until the job has ended, and ends with its context.
func (d *driver) execute(ctx context.Context, job executor.Job, beside func(context.Context, executor.Handle)) (executor.Outcome, error) {
	h, err := d.start(ctx, job)
	if err != nil {
		return executor.Outcome{}, err
	}
	d.mu.Lock()
	d.handles[job.ID], d.running[job.ID] = h, job
	stopping := d.stopping != ""
	d.mu.Unlock()
	if stopping {
		_ = h.Stop(false) // one that cannot be signalled has ended
	}
	during, over := context.WithCancel(ctx)
	var both sync.WaitGroup
	if beside != nil && d.study.Checkpoints.Attempt > 0 {
		both.Go(func() { beside(during, h) })
	}
	out, err := h.Wait(ctx)
	over()
	both.Wait()
	d.mu.Lock()
	delete(d.handles, job.ID)
	delete(d.running, job.ID)
	d.mu.Unlock()
	return out, err
}

// build runs the build command and keeps the folder it leaves as the files
// that attempts get.
func (d *driver) build(ctx context.Context, job executor.Job) result {
	out, err := d.execute(ctx, job, nil)
	if err != nil {
		return result{err: err}
	}
	built := research.ProgramBuilt{Action: job.ID}
	if v := guard.Classify(evidence(out)); v.Class != research.Succeeded {
		built.Failure = d.engine.secrets.Text(v.Message)
	} else if built.Snapshot, err = d.keepBuilt(out); err != nil {
		return result{err: fmt.Errorf("keeping the built program: %w", err)}
	}
	if log, err := d.engine.putText(own(out.Stderr)); err == nil {
		built.Log = string(log.Digest)
	}
	return result{events: []research.Payload{built}, stopped: d.wasStopped(out), done: func() error { return d.executor.Clean(context.Background(), job.ID) }}
}

// keepBuilt stores the regular files of the working folder of a build, without
// what inputs were mounted on.
func (d *driver) keepBuilt(out executor.Outcome) (string, error) {
	box, err := openBox(out.Box)
	if err != nil {
		return "", err
	}
	defer box.Close()
	k := keeper{put: d.engine.put}
	if err := k.keep(box, sandbox.WorkFolder, "."); err != nil {
		return "", err
	}
	files := slices.DeleteFunc(k.files, func(f objects.File) bool { return d.study.Program.HasInput(f.Path) })
	digest, err := d.engine.Objects.PutTree(files)
	return string(digest), err
}
