package engine

import (
	"slices"
	"strings"

	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/internal/watching"
)

// Watched is how a run goes, as the process that drives it saw it last; nil if no process
// ever did.
func (e *Engine) Watched(run string) (*watching.Observation, error) {
	return watching.Read(e.RunFolder(run))
}

// Samples is the folder with what was sampled while a run was driven; see
// package monitor.
func (e *Engine) Samples(run string) string { return watching.Samples(e.RunFolder(run)) }

// newWatcher makes the watcher of the run; there is none where jobs do not run on
// this machine.
func (d *driver) newWatcher() (*watching.Watcher, error) {
	run := watching.Run{
		Name: d.run, Folder: d.engine.RunFolder(d.run), Output: d.engine.Output(d.state), State: d.state, Node: d.engine.node, Deps: d.engine.deps,
		Warn: d.warn, Using: d.using, Raise: func(events []research.Payload) { d.answer(result{events: events}) },
	}
	if d.options.Backups != nil {
		run.LastBackup = d.options.Backups.Last
	}
	return watching.New(run, d.options.Watch)
}

// using is what the attempts that run use.
func (d *driver) using() []monitor.Attempt {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]monitor.Attempt, 0, len(d.handles))
	for id, h := range d.handles {
		a := monitor.Attempt{ID: id, MemoryLimit: int64(d.study.Limits.Attempt.Memory)}
		if j, ok := d.running[id]; ok {
			a.MemoryLimit, a.GPUs = int64(j.Limits.Memory), j.GPUs
		}
		u, ok := h.Using()
		if !ok {
			continue // it has just begun
		}
		a.Reading = u
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b monitor.Attempt) int { return strings.Compare(a.ID, b.ID) })
	return out
}
