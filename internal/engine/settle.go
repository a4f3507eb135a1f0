package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/executor"
	"ratchet/internal/executor/local"
	"ratchet/internal/guard"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// settleIn tidies up behind whoever was here before and begins to watch the
// machine.
func (d *driver) settleIn() error {
	sandbox.Sweep()
	d.engine.orphans()
	d.engine.room.forget(d.run)
	l := local.New(d.engine.RunFolder(d.run))
	d.present = map[string]claim{}
	jobs, err := l.Jobs()
	if err != nil {
		return err
	}
	for _, id := range jobs {
		if spec, err := sandbox.ReadSpec(l.Folder(id)); err == nil {
			d.present[id] = d.claimed(id, spec)
		}
	}
	d.watch, err = d.newWatcher()
	return err
}

// claimed is the claim of an attempt that was started by an earlier engine.
func (d *driver) claimed(id string, spec *sandbox.Spec) claim {
	c := claim{Run: d.run, Attempt: id, Memory: int64(spec.Limits.Memory), CPUs: spec.Limits.CPUs, GPUs: spec.GPUs, GPUMemory: int64(spec.Limits.GPUMemory)}
	if c.Share = spec.Limits.GPUs; c.Share > 1 {
		c.Share = 1
	}
	return c
}

// orphans ends attempts that nobody will ever ask for: those of runs that have
// ended, or are not in the journal, and that nobody drives.
func (e *Engine) orphans() {
	entries, err := os.ReadDir(filepath.Join(e.Folder, "runs"))
	if err != nil {
		return
	}
	for _, entry := range entries {
		l := local.New(e.RunFolder(entry.Name()))
		jobs, err := l.Jobs()
		if err != nil || len(jobs) == 0 || e.Driven(entry.Name()) != nil {
			continue
		}
		s, _, err := e.Load(context.Background(), entry.Name())
		if err != nil || s.Seq > 0 && !s.Ended() {
			continue // it can be resumed; what it has is its own
		}
		for _, id := range jobs {
			_ = l.Clean(context.Background(), id) // the next engine tries again
		}
	}
}

// admit waits until the machine has room for an attempt, and says which GPUs
// it gets. leave gives the room back.
func (d *driver) admit(ctx context.Context, job *executor.Job, want claim) (leave func(), err error) {
	if d.watch == nil {
		return func() {}, nil
	}
	if c, there := d.present[job.ID]; there {
		job.GPUs = c.GPUs
		return func() { d.engine.room.leave(c) }, d.engine.room.attach(c)
	}
	got, err := d.engine.room.enter(ctx, want, job.Limits.GPUs, d.watch.risk(job.Parameters), d.capacity, func() bool { return d.why() != "" })
	if err != nil {
		return func() {}, err
	}
	job.GPUs = got.GPUs
	return func() { d.engine.room.leave(got) }, nil
}

// reserve is what an attempt keeps for itself: what the study allows it or,
// once some have run, a quarter more than any of them needed.
func (d *driver) reserve(job executor.Job) claim {
	c := claim{Run: d.run, Attempt: job.ID, Memory: int64(job.Limits.Memory), CPUs: job.Limits.CPUs, GPUMemory: int64(job.Limits.GPUMemory)}
	if t := d.state.Tally; t.Succeeded >= 3 && t.Memory > 0 {
		c.Memory = min(c.Memory, t.Memory+t.Memory/4)
		if c.GPUMemory == 0 {
			c.GPUMemory = t.GPUMemory + t.GPUMemory/4
		}
	}
	return c
}

func (d *driver) capacity() capacity {
	c := capacity{limits: d.watch.options.Limits, cpus: runtime.NumCPU(), disk: int64(d.study.Limits.Attempt.Disk)}
	if m, err := mem.VirtualMemory(); err == nil {
		c.memory = monitor.Memory{Total: int64(m.Total), Available: int64(m.Available)}
	}
	c.free, _ = sandbox.FreeSpace(d.engine.Folder)
	d.watch.mu.Lock()
	c.gpus = d.watch.gpus
	d.watch.mu.Unlock()
	return c
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
			h, err = d.executor.Start(ctx, job)
			return err
		})
		var open *guard.OpenError
		again := wait
		switch class := guard.ClassOf(err); {
		case err == nil, ctx.Err() != nil, d.watch == nil, d.inputs.changed() != "":
			return h, err
		case errors.As(err, &open):
			again = open.For + time.Millisecond
		case class != research.Resource && class != research.Transient, time.Since(began) > startFor:
			return h, err
		}
		wait = min(2*wait, startLast)
		if !d.waitUntil(ctx, d.clock.Now().Add(again)) {
			return h, errStopping
		}
	}
}

// setUp tells the executor's breaker of an attempt that the machine could not
// give its walls.
func (d *driver) setUp(ctx context.Context, out executor.Outcome) {
	if d.watch == nil || out.SetUp == "" || out.Missing {
		return
	}
	_ = d.engine.deps.Of("local executor").Do(ctx, 0, func(context.Context) error { return errors.New(out.SetUp) })
}

func (d *driver) warn(err error) {
	d.options.Warn(errors.New(d.engine.secrets.Text(strings.TrimSpace(err.Error()))))
}

// effective are the parameters that an action's attempt runs with.
func effective(a research.Action, x *research.Experiment) study.Params {
	if a.Parameters != nil {
		return a.Parameters
	}
	return x.Parameters
}
