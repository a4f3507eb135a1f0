package history

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
	"ratchet/internal/yamlfile"
)

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
func (h *History) Checkpoints(ctx context.Context, run string) ([]Checkpoint, error) {
	return h.checkpoints(ctx, run, true)
}

func (h *History) checkpoints(ctx context.Context, run string, digests bool) ([]Checkpoint, error) {
	rollbacks, last, err := h.rollbacks(ctx, run, 0)
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
		_, _, err := h.FoldSpans(ctx, run, research.Timeline(rollbacks, tip), func(s *research.State) {
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
func (h *History) Locate(ctx context.Context, run, at string) (int64, error) {
	if n, err := strconv.ParseInt(at, 10, 64); err == nil {
		if n < 1 {
			return 0, &PositionError{fmt.Sprintf("there is no record %d; the first is 1", n)}
		}
		return n, nil
	}
	points, err := h.checkpoints(ctx, run, false)
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
	if stage := "stage-" + at; !strings.HasPrefix(at, "stage-") && slices.ContainsFunc(points, func(p Checkpoint) bool { return p.Name == stage }) {
		return h.Locate(ctx, run, stage)
	}
	t, ok := moment(at, h.home.Now())
	if !ok {
		remedy := fmt.Sprintf("`ratchet checkpoints %s` lists them", run)
		var names []string
		for _, p := range points {
			names = append(names, p.Name)
		}
		if near := yamlfile.Nearest(at, names); near != "" {
			remedy = fmt.Sprintf("did you mean %q? %s", near, remedy)
		}
		return 0, &PositionError{fmt.Sprintf("run %s has no checkpoint %q, and it is neither a record's number nor a time like 2026-01-31 18:00 or \"2h ago\"; %s", run, at, remedy)}
	}
	return h.lastBy(ctx, run, t)
}

func (h *History) lastBy(ctx context.Context, run string, t time.Time) (int64, error) {
	var last int64
	for r, err := range h.home.Journal.Read(ctx, journal.Of(run), 1) {
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
func (h *History) MakeCheckpoint(ctx context.Context, run, name, by string) (string, error) {
	for {
		s, head, err := h.Load(ctx, run)
		if err != nil {
			return "", err
		}
		named := cmp.Or(name, fmt.Sprintf("manual-%d", s.Marked.Manual+1))
		if slices.ContainsFunc(s.Checkpoints, func(c research.Checkpoint) bool { return c.Name == named }) {
			return "", &PositionError{fmt.Sprintf("run %s has a checkpoint %s already; choose another name", run, named)}
		}
		if _, isTime := moment(named, h.home.Now()); isTime || !checkpointName(named) {
			return "", &PositionError{fmt.Sprintf("%q cannot name a checkpoint; use up to 64 letters, digits, dots, hyphens and underscores, a letter first", named)}
		}
		err = h.AppendTo(ctx, run, head, s.Time, research.CheckpointMade{Name: named, By: by})
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
