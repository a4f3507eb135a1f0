package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/failpoint"
	"ratchet/internal/failure"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/search"
	"ratchet/internal/shim"
	"ratchet/internal/stats"
	"ratchet/study"
)

// effect gives what carries an action out. What it needs of the state it
// takes now, in the driver's goroutine; the function it returns runs in
// another.
func (d *driver) effect(a research.Action) func(context.Context) result {
	switch a.Kind {
	case research.Build:
		job := d.sandboxed(a.ID, d.study.Program.Build, d.state.Created.Snapshot)
		job.Parameters, job.Keep, job.Outputs, job.Metrics = study.Params{}, executor.KeepWork, nil, nil
		return func(ctx context.Context) result { return d.build(ctx, job) }
	case research.CheckEvaluation:
		return d.nullTests(a)
	case research.Try:
		job, err := d.job(a)
		if err != nil {
			return func(context.Context) result { return result{err: err} }
		}
		t := trying{action: a, job: job, room: d.reserve(job), rungs: d.state.Experiment(a.Experiment).Rungs}
		return func(ctx context.Context) result { return d.try(ctx, t) }
	}
	return func(context.Context) result {
		return result{err: fmt.Errorf("run %s: this release cannot carry out an action of kind %q (%s)", d.run, a.Kind, a.ID)}
	}
}

// computed gives the outcome of a pending action that is a function of what is in
// the journal; none if there is no such action.
func (d *driver) computed(ctx context.Context) ([]research.Payload, error) {
	for _, a := range d.state.Pending {
		switch a.Kind {
		case research.Propose:
			return []research.Payload{d.propose(a)}, nil
		case research.Choose:
			best, front := search.Choose(d.state)
			return []research.Payload{research.BestChosen{Action: a.ID, Experiment: best, Front: front}}, nil
		case research.Weigh:
			return []research.Payload{research.ExperimentWeighed{Action: a.ID, Weighing: stats.Weigh(d.state, a.Experiment)}}, nil
		case research.Ablate:
			return d.ablate(a)
		case research.Judge:
			return d.judge(ctx, a)
		}
	}
	return nil, nil
}

func (d *driver) propose(a research.Action) research.Payload {
	if why := search.Enough(d.state, a.Index); why != "" {
		return research.SearchExhausted{Action: a.ID, Why: why}
	}
	p, ok := search.Propose(d.state, a.Index)
	if !ok {
		return research.SearchExhausted{Action: a.ID}
	}
	return research.ExperimentProposed{
		Action: a.ID, Experiment: fmt.Sprintf("e%04d", a.Index+1), Arm: p.Arm, Parameters: p.Parameters, Repeats: p.Repeats, Seeds: p.Seeds, Rungs: p.Rungs, By: &p.By,
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
	job := d.sandboxed(a.ID, command, cmp.Or(x.Code, d.state.Snapshot))
	job.Experiment, job.Trial, job.Attempt = a.Experiment, a.Trial, a.Attempt
	job.Parameters, job.Seed = parameters, a.Seed
	job.Wanted = c.Study.Program.Wanted()
	job.Render, job.Config = c.Study.Program.Render, c.Study.Program.Config
	job.Checkpoint = d.state.Trial(a.Trial).Checkpoint
	job.SnapshotEvery = d.study.Checkpoints.Attempt
	d.models.attach(&job)
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
		Files: snapshot, Keep: executor.KeepOutput, Outputs: c.Study.Program.Outputs, Metrics: c.Study.Metrics,
	}
	job.Env = slices.Clone(d.env.Variables)
	for _, v := range c.Study.Program.Env {
		if v.Value != nil {
			job.Env = append(job.Env, v.Name+"="+*v.Value)
		}
	}
	job.Inputs = d.binds(c.Study.Program.Inputs, 0)
	return job
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

// trying is a Try action on its way.
type trying struct {
	action research.Action
	job    executor.Job
	room   executor.Reservation
	rungs  []research.Rung
}

// try executes an attempt to its end and makes an outcome of what it left.
func (d *driver) try(ctx context.Context, t trying) result {
	a := t.action
	if !d.waitUntil(ctx, a.NotBefore) {
		return d.notBegun(ctx, a)
	}
	leave, err := d.executor.Admit(ctx, &t.job, t.room)
	defer leave()
	if errors.Is(err, executor.ErrStopping) {
		return d.notBegun(ctx, a)
	}
	if err != nil {
		return result{err: err}
	}
	stored := t.job.Checkpoint
	h, out, err := d.execute(ctx, t.job, func(ctx context.Context, h executor.Handle) { stored = d.keepSnapshots(ctx, a, h, stored) })
	if errors.Is(err, executor.ErrStopping) {
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
	attempt, err := d.outcome(ctx, t, out)
	if errors.Is(err, executor.ErrStopping) {
		return d.notBegun(ctx, a)
	}
	if d.study.Evaluation != nil {
		if what := d.inputs.changed(); what != "" {
			return result{void: what}
		}
	}
	if err != nil {
		return result{err: fmt.Errorf("the outcome of attempt %s: %w", a.ID, err)}
	}
	attempt.GPUs, attempt.Usage.GPUMemory = t.job.GPUs, d.watch.GPUMemory(a.ID)
	attempt.Lost, attempt.Models = out.Lost, d.models.usage(a.ID)
	var kept []research.Payload
	if attempt.Class != research.Succeeded { // a next one may follow
		d.missed(t.job, out)
		if kept, err = d.snapshot(ctx, a, h, stored); err != nil && !errors.Is(err, executor.ErrChanging) {
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
	return d.why() != "" && (out.EndedBy == shim.ByRequest || out.Lost)
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
func (d *driver) execute(ctx context.Context, job executor.Job, beside func(context.Context, executor.Handle)) (executor.Handle, executor.Outcome, error) {
	h, err := d.start(ctx, job)
	if err != nil {
		return nil, executor.Outcome{}, err
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
	return h, out, err
}

// build runs the build command and keeps the folder it leaves as the files
// that attempts get.
func (d *driver) build(ctx context.Context, job executor.Job) result {
	_, out, err := d.execute(ctx, job, nil)
	if err != nil {
		return result{err: err}
	}
	built := research.ProgramBuilt{Action: job.ID}
	if v := failure.Classify(evidence(out)); v.Class != research.Succeeded {
		built.Failure = d.engine.secrets.Text(v.Message)
	} else {
		built.Snapshot = out.Work
	}
	if built.Log, err = d.logOf(out); err != nil {
		return result{err: err}
	}
	return result{events: []research.Payload{built}, stopped: d.wasStopped(out), done: func() error { return d.executor.Clean(context.Background(), job.ID) }}
}

// logOf is the digest of what a job wrote to stderr; "": nothing.
func (d *driver) logOf(out executor.Outcome) (string, error) {
	if out.Evidence == "" {
		return "", nil
	}
	files, err := d.engine.Objects.Tree(objects.Digest(out.Evidence))
	for _, f := range files {
		if f.Path == "stderr" {
			return string(f.Digest), err
		}
	}
	return "", err
}

// snapshot stores what a trial keeps for its next attempt. No event: there is
// nothing, or nothing new. before is the digest of the last time.
func (d *driver) snapshot(ctx context.Context, a research.Action, h executor.Handle, before string) ([]research.Payload, error) {
	digest, size, err := h.Snapshot(ctx)
	if err != nil || digest == "" || digest == before {
		return nil, err
	}
	return []research.Payload{research.AttemptCheckpointed{Trial: a.Trial, Attempt: a.ID, Snapshot: digest, Size: size}}, nil
}

// keepSnapshots journals what a running attempt keeps for the next one, every so often,
// until ctx ends. It returns the digest of the last snapshot.
func (d *driver) keepSnapshots(ctx context.Context, a research.Action, h executor.Handle, before string) string {
	take := func() (string, int64, error) { return h.Snapshot(ctx) }
	last, err := executor.Snapshots(ctx, time.Duration(d.study.Checkpoints.Attempt), before, take, func(digest string, size int64) error {
		d.answer(result{events: []research.Payload{research.AttemptCheckpointed{Trial: a.Trial, Attempt: a.ID, Snapshot: digest, Size: size}}})
		return nil
	})
	if err != nil {
		d.answer(result{err: fmt.Errorf("attempt %s: %w", a.ID, err)})
	}
	return last
}
