// Package history is a run at a position: its state folded from its records,
// states that are kept, checkpoints, rollback and fork, and what a person's
// wish appends.
package history

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// History folds the runs of a home and appends to them.
type History struct{ home *home.Home }

// Of is the history of a home.
func Of(h *home.Home) *History { return &History{h} }

// Load folds a run's journal. The head is that of its last record.
func (h *History) Load(ctx context.Context, run string) (*research.State, journal.Head, error) {
	return h.LoadAt(ctx, run, 0)
}

// LoadAt folds a run as it was at a position: behind the record with that
// number; 0: behind the last. The head is that of this record.
func (h *History) LoadAt(ctx context.Context, run string, at int64) (*research.State, journal.Head, error) {
	s, head, err := h.fold(ctx, run, at)
	switch {
	case err != nil:
		return nil, journal.Head{}, fmt.Errorf("run %s: %w", run, err)
	case s.Seq == 0:
		return nil, head, &home.UnknownRunError{Name: run, Known: []string{""}}
	case at > 0 && s.Seq != at:
		return nil, head, &PositionError{fmt.Sprintf("run %s has %d records; there is no record %d", run, s.Seq, at)}
	}
	return s, head, nil
}

// fold reads a journal once, straight on from the newest state that is kept,
// until it meets a rollback.
func (h *History) fold(ctx context.Context, run string, at int64) (*research.State, journal.Head, error) {
	s, head := h.cached(ctx, run, func(seq int64) bool { return at == 0 || seq <= at })
	began := s.Seq
	for r, err := range h.home.Journal.Read(ctx, journal.Of(run), s.Seq+1) {
		switch {
		case err != nil:
			return s, head, err
		case at > 0 && r.Seq > at:
			return s, head, nil
		case isRollback(r):
			spans, err := h.Timeline(ctx, run, at)
			if err != nil {
				return s, head, err
			}
			s, head = h.cached(ctx, run, func(seq int64) bool { return counts(spans, seq) })
			return h.foldOn(ctx, run, s, head, spans, nil)
		}
		if err := apply(s, r); err != nil {
			return s, head, err
		}
		head = journal.Head{Seq: r.Seq, Hash: r.Hash}
	}
	if at == 0 && s.Seq-began > foldsLong {
		h.KeepState(run, s, head)
	}
	return s, head, nil
}

// foldsLong is how many records are folded before the next one to do so is
// better spared it.
const foldsLong = 5000

// counts reports whether a record is one of a timeline's.
func counts(spans []research.Span, seq int64) bool {
	return slices.ContainsFunc(spans, func(s research.Span) bool { return s.First <= seq && seq <= s.Last })
}

// FoldSpans folds the records of a timeline from its beginning. each is told
// of every state on the way.
func (h *History) FoldSpans(ctx context.Context, run string, spans []research.Span, each func(*research.State)) (*research.State, journal.Head, error) {
	return h.foldOn(ctx, run, research.New(), journal.Head{}, spans, each)
}

// foldOn goes on with a state at one of the timeline's records.
func (h *History) foldOn(ctx context.Context, run string, s *research.State, head journal.Head, spans []research.Span, each func(*research.State)) (*research.State, journal.Head, error) {
	for _, span := range spans {
		if span.Last <= s.Seq {
			continue
		}
		for r, err := range h.home.Journal.Read(ctx, journal.Of(run), max(span.First, s.Seq+1)) {
			if err != nil {
				return s, head, err
			}
			if r.Seq > span.Last {
				break
			}
			if err := apply(s, r); err != nil {
				return s, head, err
			}
			head = journal.Head{Seq: r.Seq, Hash: r.Hash}
			if each != nil {
				each(s)
			}
		}
	}
	return s, head, nil
}

// Timeline is which records count at a position; 0: at the last.
func (h *History) Timeline(ctx context.Context, run string, at int64) ([]research.Span, error) {
	rollbacks, last, err := h.rollbacks(ctx, run, at)
	if err != nil {
		return nil, err
	}
	return research.Timeline(rollbacks, cmp.Or(at, last)), nil
}

// rollbacks reads a journal up to a position, 0: to its end, for its rollbacks
// and its last number.
func (h *History) rollbacks(ctx context.Context, run string, at int64) (out []research.Rollback, last int64, err error) {
	for r, err := range h.home.Journal.Read(ctx, journal.Of(run), 1) {
		if err != nil {
			return nil, 0, err
		}
		if at > 0 && r.Seq > at {
			break
		}
		last = r.Seq
		if !isRollback(r) {
			continue
		}
		p, err := research.Decode(r.Type, r.Version, r.Payload)
		if err != nil {
			return nil, 0, fmt.Errorf("record %d: %w", r.Seq, err)
		}
		if back, ok := p.(research.RolledBack); ok {
			out = append(out, research.Rollback{Seq: r.Seq, To: back.To})
		}
	}
	return out, last, nil
}

func isRollback(r journal.Record) bool { return r.Type == research.RolledBack{}.Type() }

func apply(s *research.State, r journal.Record) error {
	p, err := research.Decode(r.Type, r.Version, r.Payload)
	if err != nil {
		return fmt.Errorf("record %d: %w", r.Seq, err)
	}
	return s.Apply(research.Event{Seq: r.Seq, Time: r.Time, Data: p})
}

// Superseded reports which records of a run do not count, by their number, at
// a position; 0: at the last.
func (h *History) Superseded(ctx context.Context, run string, at int64) (func(seq int64) bool, error) {
	spans, err := h.Timeline(ctx, run, at)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	return func(seq int64) bool { return !counts(spans, seq) }, nil
}
