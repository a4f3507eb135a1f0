package engine

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"ratchet/internal/gateway"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/study"
)

// Rollback makes a run go on from an earlier position, or from one that was
// rolled back before. What lies behind it stays in the journal. Attempts that
// run and are not part of that position are ended. A run that somebody drives
// is left alone: the error is a DrivenError.
func (e *Engine) Rollback(ctx context.Context, run string, to int64, by string) (*research.State, error) {
	unlock, err := e.lock(run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, head, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	if to == head.Seq {
		return nil, &PositionError{fmt.Sprintf("run %s stands at record %d already", run, to)}
	}
	s, _, err := e.rollBack(ctx, now, head, to, by)
	if err == nil && s.Ended() {
		err = e.Publish(ctx, run)
	}
	return s, err
}

// rollBack rolls back a run that nobody else drives.
func (e *Engine) rollBack(ctx context.Context, now *research.State, head journal.Head, to int64, by string) (*research.State, journal.Head, error) {
	run := now.Created.Run
	then, _, err := e.LoadAt(ctx, run, to)
	if err != nil {
		return nil, head, err
	}
	jobs := e.jobs(run)
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
	if err := e.appendTo(ctx, run, head, now.Time, back); err != nil {
		return nil, head, fmt.Errorf("rolling back: %w", err)
	}
	return e.Load(ctx, run)
}

// ForkOptions say how a fork differs from its origin.
type ForkOptions struct {
	Set    []string // changes of the study, each key=value; see study.Amend
	Output string   // folder of the report; default results/<run> in the working folder
	By     string
}

// AmendError says that a fork's changes cannot be made, and why.
type AmendError struct{ Err error }

func (a *AmendError) Error() string { return a.Err.Error() }

func (a *AmendError) Unwrap() error { return a.Err }

// Fork makes a new run that has another's past up to a position and goes on
// from there. It shares all objects with it. When Fork returns the new run's
// id, the run is durable and waits to be driven.
func (e *Engine) Fork(ctx context.Context, origin string, at int64, o ForkOptions) (string, error) {
	done, err := e.using()
	if err != nil {
		return "", err
	}
	defer done()
	s, head, err := e.LoadAt(ctx, origin, at)
	if err != nil {
		return "", err
	}
	forked := research.RunForked{Origin: research.Origin{Run: origin, Seq: head.Seq, Hash: head.Hash.String()}, By: o.By, Changes: o.Set}
	if len(o.Set) > 0 {
		if err := e.amend(s, &forked); err != nil {
			return "", err
		}
	}
	run, err := e.newName(ctx, s.Created.Study.Name)
	if err != nil {
		return "", err
	}
	output, err := filepath.Abs(cmp.Or(o.Output, filepath.Join("results", run)))
	if err != nil {
		return "", err
	}
	if err := usableOutput(output, run); err != nil {
		return "", err
	}
	entries, err := e.past(ctx, origin, head.Seq, run, output)
	if err != nil {
		return "", fmt.Errorf("forking run %s: %w", origin, err)
	}
	c := clock{wall: e.now, last: s.Time}
	last, err := encode(forked, c.now())
	if err != nil {
		return "", err
	}
	if len(last.Payload) > journal.MaxPayload {
		return "", &AmendError{fmt.Errorf("the changed study has %d bytes when written out; at most %d fit", len(last.Payload), journal.MaxPayload)}
	}
	if a, err := e.arrived(origin); err != nil {
		return "", err
	} else if a != nil { // so did what the fork has of it
		if err := (&arrival{Backup: a.Backup, Output: output}).note(e, run); err != nil {
			return "", err
		}
	}
	// First the calls: without the run nothing asks for them.
	if err := e.forkCalls(ctx, origin, run); err != nil {
		return "", fmt.Errorf("forking run %s: %w", origin, err)
	}
	_, err = e.journal.Append(ctx, run, journal.Head{}, append(entries, last)...)
	return run, err
}

// forkCalls gives a fork the model calls of its origin, those behind its
// position included: what was paid for once is answered out of the record.
func (e *Engine) forkCalls(ctx context.Context, origin, run string) error {
	var entries []journal.Entry
	for r, err := range e.journal.Read(ctx, gateway.Stream(origin), 1) {
		if err != nil {
			return err
		}
		entries = append(entries, r.Entry)
	}
	if len(entries) == 0 {
		return nil
	}
	_, err := e.journal.Append(ctx, gateway.Stream(run), journal.Head{}, entries...)
	return err
}

// amend puts the changed study into a fork, if the past allows it.
func (e *Engine) amend(s *research.State, f *research.RunForked) error {
	before, err := e.objects.Get(objects.Digest(s.Created.StudyFile))
	if err != nil {
		return err
	}
	after, err := study.Amend(before, f.Changes)
	if err != nil {
		return &AmendError{err}
	}
	was, err := study.Parse("the study of run "+s.Created.Run, before)
	if err != nil {
		return err
	}
	next, err := study.Parse("the changed study", after)
	if err != nil {
		return &AmendError{err}
	}
	// What the command line laid over the file stands where it was not changed.
	now := s.Created.Study
	if next.Parallel == was.Parallel {
		next.Parallel = now.Parallel
	}
	if next.Search.Experiments == was.Search.Experiments {
		next.Search.Experiments = now.Search.Experiments
	}
	next.Executor, next.Model = cmp.Or(now.Executor, next.Executor), now.Model
	if err := s.Amend(next); err != nil {
		return &AmendError{err}
	}
	file, err := e.objects.PutBytes(after)
	f.Study, f.StudyFile = next, string(file)
	return err
}

// past are the records that count at a position, as those of another run.
func (e *Engine) past(ctx context.Context, origin string, at int64, run, output string) ([]journal.Entry, error) {
	spans, err := e.timeline(ctx, origin, at)
	if err != nil {
		return nil, err
	}
	var out []journal.Entry
	for _, span := range spans {
		for r, err := range e.journal.Read(ctx, origin, span.First) {
			if err != nil {
				return nil, err
			}
			if r.Seq > span.Last {
				break
			}
			entry := r.Entry
			if r.Seq == 1 || isRollback(r) {
				if entry, err = moved(r, run, output, int64(len(out))); err != nil {
					return nil, err
				}
			}
			out = append(out, entry)
		}
	}
	return out, nil
}

// moved is a record that speaks of its run or of a position, made to speak of
// another's. Behind before records, a rollback goes back to the last of them.
func moved(r journal.Record, run, output string, before int64) (journal.Entry, error) {
	p, err := research.Decode(r.Type, r.Version, r.Payload)
	if err != nil {
		return journal.Entry{}, fmt.Errorf("record %d: %w", r.Seq, err)
	}
	switch d := p.(type) {
	case research.RunCreated:
		d.Run, d.Output = run, output
		p = d
	case research.RolledBack:
		d.To = before
		p = d
	}
	return encode(p, r.Time)
}
