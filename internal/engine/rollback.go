package engine

import (
	"context"
	"fmt"
	"slices"

	"ratchet/internal/history"
	"ratchet/internal/journal"
	"ratchet/internal/research"
	"ratchet/study"
)

// Rollback makes a run go on from an earlier position, or from one that was
// rolled back before. What lies behind it stays in the journal. Attempts that
// run and are not part of that position are ended. A run that a process drives
// is left alone: the error is a DrivenError.
func (e *Engine) Rollback(ctx context.Context, run string, to int64, by string) (*research.State, error) {
	unlock, err := e.LockRun(run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, head, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	if to == head.Seq {
		return nil, &history.PositionError{Why: fmt.Sprintf("run %s stands at record %d already", run, to)}
	}
	s, _, err := e.rollBack(ctx, now, head, to, by)
	if err == nil && s.Ended() {
		err = e.Publish(ctx, run)
	}
	return s, err
}

// rollBack rolls back a run that no other process drives.
func (e *Engine) rollBack(ctx context.Context, now *research.State, head journal.Head, to int64, by string) (*research.State, journal.Head, error) {
	run := now.Created.Run
	then, _, err := e.LoadAt(ctx, run, to)
	if err != nil {
		return nil, head, err
	}
	jobs := e.executor(run)
	defer jobs.Close()
	if err := clean(ctx, jobs, then); err != nil {
		return nil, head, err
	}
	// What trials keep for their next attempt is of later than the position:
	// the next attempt begins with what was stored by then.
	var flying []string
	for _, a := range then.Pending {
		flying = append(flying, a.Trial)
	}
	if err := jobs.Forget(func(trial string) bool { return !slices.Contains(flying, trial) }); err != nil {
		return nil, head, err
	}
	back := research.RolledBack{To: to, By: by, Driven: study.Duration(now.Driven + now.RolledBack)}
	if err := e.AppendTo(ctx, run, head, now.Time, back); err != nil {
		return nil, head, fmt.Errorf("rolling back: %w", err)
	}
	return e.Load(ctx, run)
}
