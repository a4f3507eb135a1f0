package history

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"reflect"

	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/study"
)

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
func (h *History) Fork(ctx context.Context, origin string, at int64, o ForkOptions) (string, error) {
	done, err := h.home.LockShared()
	if err != nil {
		return "", err
	}
	defer done()
	s, head, err := h.LoadAt(ctx, origin, at)
	if err != nil {
		return "", err
	}
	forked := research.RunForked{Origin: research.Origin{Run: origin, Seq: head.Seq, Hash: head.Hash.String()}, By: o.By, Changes: o.Set}
	if len(o.Set) > 0 {
		if err := h.amend(s, &forked); err != nil {
			return "", err
		}
	}
	run, err := h.home.NewName(ctx, s.Created.Study.Name)
	if err != nil {
		return "", err
	}
	output, err := filepath.Abs(cmp.Or(o.Output, filepath.Join("results", run)))
	if err != nil {
		return "", err
	}
	if err := home.MakeReportFolder(output, run); err != nil {
		return "", err
	}
	entries, err := h.past(ctx, origin, head.Seq, run, output)
	if err != nil {
		return "", fmt.Errorf("forking run %s: %w", origin, err)
	}
	c := NewClock(h.home.Now, s.Time)
	last, err := Encode(forked, c.Now())
	if err != nil {
		return "", err
	}
	if len(last.Payload) > journal.MaxPayload {
		return "", &AmendError{fmt.Errorf("the changed study has %d bytes when written out; at most %d fit", len(last.Payload), journal.MaxPayload)}
	}
	if a, err := h.home.Arrived(origin); err != nil {
		return "", err
	} else if a != nil { // so did what the fork has of it
		if err := h.home.NoteArrival(run, &home.Arrival{Backup: a.Backup, Output: output}); err != nil {
			return "", err
		}
	}
	// First the calls: without the run nothing asks for them.
	if err := h.forkCalls(ctx, origin, run); err != nil {
		return "", fmt.Errorf("forking run %s: %w", origin, err)
	}
	_, err = h.home.Journal.Append(ctx, journal.Of(run), journal.Head{}, append(entries, last)...)
	return run, err
}

// forkCalls gives a fork the model calls of its origin, those behind its
// position included: what was paid for once is answered out of the record.
func (h *History) forkCalls(ctx context.Context, origin, run string) error {
	var entries []journal.Entry
	for r, err := range h.home.Journal.Read(ctx, journal.CallsOf(origin), 1) {
		if err != nil {
			return err
		}
		entries = append(entries, r.Entry)
	}
	if len(entries) == 0 {
		return nil
	}
	_, err := h.home.Journal.Append(ctx, journal.CallsOf(run), journal.Head{}, entries...)
	return err
}

// amend puts the changed study into a fork, if the past allows it.
func (h *History) amend(s *research.State, f *research.RunForked) error {
	before, err := h.home.Objects.Get(objects.Digest(s.Created.StudyFile))
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
	// What the command line laid over the file, and what its patterns and links stood
	// for, stands where the file was not changed.
	now := s.Created.Study
	if reflect.DeepEqual(next.Program, was.Program) {
		next.Program = now.Program
	}
	if reflect.DeepEqual(next.Evaluation, was.Evaluation) {
		next.Evaluation = now.Evaluation
	}
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
	file, err := h.home.Objects.PutBytes(after)
	f.Study, f.StudyFile = next, string(file)
	return err
}

// past are the records that count at a position, as those of another run.
func (h *History) past(ctx context.Context, origin string, at int64, run, output string) ([]journal.Entry, error) {
	spans, err := h.Timeline(ctx, origin, at)
	if err != nil {
		return nil, err
	}
	var out []journal.Entry
	for _, span := range spans {
		for r, err := range h.home.Journal.Read(ctx, journal.Of(origin), span.First) {
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
	return Encode(p, r.Time)
}
