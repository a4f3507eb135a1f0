package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// Load folds a run's journal. The head is that of its last record.
func (e *Engine) Load(ctx context.Context, run string) (*research.State, journal.Head, error) {
	return e.LoadAt(ctx, run, 0)
}

// LoadAt folds a run as it was at a position: behind the record with that
// number; 0: behind the last. The head is that of this record.
func (e *Engine) LoadAt(ctx context.Context, run string, at int64) (*research.State, journal.Head, error) {
	s, head, err := e.fold(ctx, run, at)
	switch {
	case err != nil:
		return nil, journal.Head{}, fmt.Errorf("run %s: %w", run, err)
	case s.Seq == 0:
		return nil, head, &UnknownRunError{Name: run, Known: []string{""}}
	case at > 0 && s.Seq != at:
		return nil, head, &PositionError{fmt.Sprintf("run %s has %d records; there is no record %d", run, s.Seq, at)}
	}
	return s, head, nil
}

// fold reads a journal once, straight on from the newest state that is kept,
// until it meets a rollback.
func (e *Engine) fold(ctx context.Context, run string, at int64) (*research.State, journal.Head, error) {
	s, head := e.cached(ctx, run, func(seq int64) bool { return at == 0 || seq <= at })
	began := s.Seq
	for r, err := range e.journal.Read(ctx, run, s.Seq+1) {
		switch {
		case err != nil:
			return s, head, err
		case at > 0 && r.Seq > at:
			return s, head, nil
		case isRollback(r):
			spans, err := e.timeline(ctx, run, at)
			if err != nil {
				return s, head, err
			}
			s, head = e.cached(ctx, run, func(seq int64) bool { return counts(spans, seq) })
			return e.foldOn(ctx, run, s, head, spans, nil)
		}
		if err := apply(s, r); err != nil {
			return s, head, err
		}
		head = journal.Head{Seq: r.Seq, Hash: r.Hash}
	}
	if at == 0 && s.Seq-began > foldsLong {
		e.keepState(run, s, head)
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

// foldSpans folds the records of a timeline from its beginning. each is told
// of every state on the way.
func (e *Engine) foldSpans(ctx context.Context, run string, spans []research.Span, each func(*research.State)) (*research.State, journal.Head, error) {
	return e.foldOn(ctx, run, research.New(), journal.Head{}, spans, each)
}

// foldOn goes on with a state at one of the timeline's records.
func (e *Engine) foldOn(ctx context.Context, run string, s *research.State, head journal.Head, spans []research.Span, each func(*research.State)) (*research.State, journal.Head, error) {
	for _, span := range spans {
		if span.Last <= s.Seq {
			continue
		}
		for r, err := range e.journal.Read(ctx, run, max(span.First, s.Seq+1)) {
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

// timeline is which records count at a position; 0: at the last.
func (e *Engine) timeline(ctx context.Context, run string, at int64) ([]research.Span, error) {
	rollbacks, last, err := e.rollbacks(ctx, run, at)
	if err != nil {
		return nil, err
	}
	return research.Timeline(rollbacks, cmp.Or(at, last)), nil
}

// rollbacks reads a journal up to a position, 0: to its end, for its rollbacks
// and its last number.
func (e *Engine) rollbacks(ctx context.Context, run string, at int64) (out []research.Rollback, last int64, err error) {
	for r, err := range e.journal.Read(ctx, run, 1) {
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
func (e *Engine) Superseded(ctx context.Context, run string, at int64) (func(seq int64) bool, error) {
	spans, err := e.timeline(ctx, run, at)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	return func(seq int64) bool { return !counts(spans, seq) }, nil
}

// Checkpoint is a named position of a run.
type Checkpoint struct {
	research.Checkpoint
	// Digest is that of the state there; see research.State.Digest.
	Digest string `json:"digest,omitempty"`
	// Superseded says that the run was rolled back behind it. It can be rolled
	// forward to it again.
	Superseded bool `json:"superseded,omitempty"`
}

// Checkpoints lists the named positions of a run, in their order, those that
// were superseded included.
func (e *Engine) Checkpoints(ctx context.Context, run string) ([]Checkpoint, error) {
	return e.checkpoints(ctx, run, true)
}

func (e *Engine) checkpoints(ctx context.Context, run string, digests bool) ([]Checkpoint, error) {
	rollbacks, last, err := e.rollbacks(ctx, run, 0)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	spans := research.Timeline(rollbacks, last)
	tips := []int64{last}
	for _, b := range rollbacks {
		tips = append(tips, b.Seq-1)
	}
	found := map[int64]bool{}
	out := []Checkpoint{}
	for _, tip := range tips {
		_, _, err := e.foldSpans(ctx, run, research.Timeline(rollbacks, tip), func(s *research.State) {
			if found[s.Seq] {
				return
			}
			for _, c := range s.Checkpoints[len(s.Checkpoints)-min(len(s.Checkpoints), 3):] { // one event makes three at most
				if c.Seq != s.Seq {
					continue
				}
				found[c.Seq] = true
				point := Checkpoint{Checkpoint: c, Superseded: !counts(spans, c.Seq)}
				if digests {
					point.Digest = s.Digest()
				}
				out = append(out, point)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", run, err)
		}
	}
	slices.SortStableFunc(out, func(a, b Checkpoint) int { return cmp.Compare(a.Seq, b.Seq) })
	return out, nil
}

// PositionError says that a run has no such position.
type PositionError struct{ Why string }

func (p *PositionError) Error() string { return p.Why }

// Locate finds the position that a person means: a record's number, a
// checkpoint's name, or a time, at which it is the last record by then.
func (e *Engine) Locate(ctx context.Context, run, at string) (int64, error) {
	if n, err := strconv.ParseInt(at, 10, 64); err == nil {
		if n < 1 {
			return 0, &PositionError{fmt.Sprintf("there is no record %d; the first is 1", n)}
		}
		return n, nil
	}
	points, err := e.checkpoints(ctx, run, false)
	if err != nil {
		return 0, err
	}
	var found int64
	counts := false
	for _, p := range points {
		if p.Name == at && (!counts || !p.Superseded) {
			found, counts = p.Seq, !p.Superseded
		}
	}
	if found > 0 {
		return found, nil
	}
	t, ok := moment(at, e.now())
	if !ok {
		return 0, &PositionError{fmt.Sprintf("run %s has no checkpoint %q, and it is neither a record's number nor a time like 2026-01-31 18:00 or \"2h ago\"; `ratchet checkpoints %s` lists them", run, at, run)}
	}
	return e.lastBy(ctx, run, t)
}

func (e *Engine) lastBy(ctx context.Context, run string, t time.Time) (int64, error) {
	var last int64
	for r, err := range e.journal.Read(ctx, run, 1) {
		switch {
		case err != nil:
			return 0, err
		case !r.Time.After(t):
			last = r.Seq
		case last == 0:
			return 0, &PositionError{fmt.Sprintf("run %s began at %s, after that", run, r.Time.Local().Format(time.DateTime))}
		default:
			return last, nil
		}
	}
	return last, nil
}

// moment reads a time as people write it: with a zone, or in the machine's,
// or by how long ago it was.
func moment(s string, now time.Time) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, true
	}
	if d, err := time.ParseDuration(strings.TrimSuffix(s, " ago")); err == nil && strings.HasSuffix(s, " ago") {
		return now.Add(-d), true
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// MakeCheckpoint names the run's position as of now; without a name, the next
// number is one. It returns the checkpoint's name.
func (e *Engine) MakeCheckpoint(ctx context.Context, run, name, by string) (string, error) {
	for {
		s, head, err := e.Load(ctx, run)
		if err != nil {
			return "", err
		}
		named := cmp.Or(name, fmt.Sprintf("manual-%d", s.Marked.Manual+1))
		if slices.ContainsFunc(s.Checkpoints, func(c research.Checkpoint) bool { return c.Name == named }) {
			return "", &PositionError{fmt.Sprintf("run %s has a checkpoint %s already; choose another name", run, named)}
		}
		if _, isTime := moment(named, e.now()); isTime || !checkpointName(named) {
			return "", &PositionError{fmt.Sprintf("%q cannot name a checkpoint; use up to 64 letters, digits, dots, hyphens and underscores, a letter first", named)}
		}
		err = e.appendTo(ctx, run, head, s.Time, research.CheckpointMade{Name: named, By: by})
		if !errors.As(err, new(*journal.ConflictError)) {
			return named, err
		}
	}
}

func checkpointName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		other := r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// appendTo appends one event that a person asked for, not before a time.
func (e *Engine) appendTo(ctx context.Context, run string, head journal.Head, last time.Time, p research.Payload) error {
	c := clock{wall: e.now, last: last}
	entry, err := encode(p, c.now())
	if err != nil {
		return err
	}
	_, err = e.journal.Append(ctx, run, head, entry)
	return err
}
