package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratchet/internal/breaker"
	"ratchet/internal/environment"
	"ratchet/internal/executor"
	"ratchet/internal/failure"
	"ratchet/internal/research"
	"ratchet/study"
)

// reserve is what an attempt keeps for itself: what the study allows it or,
// once some have run, a quarter more than any of them needed.
func (d *driver) reserve(job executor.Job) executor.Reservation {
	r := executor.Reservation{
		Memory: int64(job.Limits.Memory), GPUMemory: int64(job.Limits.GPUMemory), Risk: d.watch.Risk(job.Parameters),
		Stopping: func() bool { return d.why() != "" },
	}
	if t := d.state.Tally; t.Succeeded >= 3 && t.Memory > 0 {
		r.Memory = min(r.Memory, t.Memory+t.Memory/4)
		if r.GPUMemory == 0 {
			r.GPUMemory = t.GPUMemory + t.GPUMemory/4
		}
	}
	return r
}

// How long starting an attempt is tried where the machine does not let it.
const (
	startFor   = 10 * time.Minute
	startFirst = time.Second
	startLast  = 30 * time.Second
)

// start starts a job. What the machine lacks for the moment, room on its disk
// say, is waited for; what it lacks for good ends the run safely.
func (d *driver) start(ctx context.Context, job executor.Job) (h executor.Handle, err error) {
	dep := d.engine.deps.Of("local executor")
	began, wait := time.Now(), startFirst
	for {
		err = dep.Do(ctx, 0, func(ctx context.Context) (err error) {
			there, err := d.executor.Started(ctx, job.ID)
			if err == nil && !there {
				err = d.models.begin(job)
			}
			if err == nil {
				h, err = d.executor.Start(ctx, job)
			}
			return err
		})
		var open *breaker.OpenError
		again := wait
		switch class := failure.ClassOf(err); {
		case err == nil, ctx.Err() != nil, d.inputs.changed() != "":
			return h, err
		case errors.As(err, &open):
			again = open.For + time.Millisecond
		case class != research.Resource && class != research.Transient, time.Since(began) > startFor:
			return h, err
		}
		wait = min(2*wait, startLast)
		if !d.waitUntil(ctx, d.clock.Now().Add(again)) {
			return h, executor.ErrStopping
		}
	}
}

// setUp tells the executor's breaker of an attempt that the machine could not
// give its walls.
func (d *driver) setUp(ctx context.Context, out executor.Outcome) {
	if out.SetUp == "" || out.Missing {
		return
	}
	_ = d.engine.deps.Of("local executor").Do(ctx, 0, func(context.Context) error { return errors.New(out.SetUp) })
}

func (d *driver) warn(err error) {
	d.options.Warn(errors.New(d.engine.secrets.Text(strings.TrimSpace(err.Error()))))
}

// missed says, once for each, which of this process's variables a program that failed
// speaks of and did not have.
func (d *driver) missed(job executor.Job, out executor.Outcome) {
	had := slices.Clone(job.Env)
	for _, name := range job.Wanted {
		had = append(had, name+"=")
	}
	if job.Door != nil {
		had = append(had, job.Door.Env...)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range environment.Missed(out.LastErr+"\n"+out.LastOut, had) {
		if d.missing[name] {
			continue
		}
		d.missing[name] = true
		d.warn(fmt.Errorf("attempt %s failed and speaks of %s, which is set in your environment and not in the program's; --env %s passes it to a new run", job.ID, name, name))
	}
}

// effective are the parameters that an action's attempt runs with.
func effective(a research.Action, x *research.Experiment) study.Params {
	if a.Parameters != nil {
		return a.Parameters
	}
	return x.Parameters
}
