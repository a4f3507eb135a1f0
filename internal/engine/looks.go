package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ratchet/internal/research"
	"ratchet/internal/stats"
)

// Verdicts are no secret to whoever goes on after them: a run, its rollbacks, its
// forks and theirs share their claims, and each verdict on one is a look at it.

// looks are the verdicts that were given before on the claims of a run: earlier
// ones by itself and by runs that share a past with it; and by hypothesis,
// replications, which are verdicts of other runs on the same claim.
func (e *Engine) looks(ctx context.Context, s *research.State) (earlier, replications stats.Looks, err error) {
	earlier, replications = stats.Looks{}, stats.Looks{}
	runs, err := e.journal.Runs(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A run's name begins with its study's, which a fork cannot change.
	runs = slices.DeleteFunc(runs, func(run string) bool { return !strings.HasPrefix(run, s.Created.Study.Name+"-") })
	states := map[string]*research.State{s.Created.Run: s}
	for _, run := range runs {
		if run == s.Created.Run {
			continue
		}
		if other, _, err := e.Load(ctx, run); err == nil { // of one that is damaged nothing is known
			states[run] = other
		}
	}
	root := func(run string) string {
		for range len(states) {
			state := states[run]
			if state == nil || state.Origin == nil {
				break
			}
			run = state.Origin.Run
		}
		return run
	}
	seen := map[string]bool{}
	for _, run := range runs {
		other := states[run]
		if other == nil {
			continue
		}
		kin := root(run) == root(s.Created.Run)
		if !kin && !slices.ContainsFunc(other.Hypotheses, func(h *research.Hypothesis) bool { return h.Judgment != nil }) {
			continue
		}
		err := e.verdicts(ctx, run, func(seq int64, at time.Time, text []byte, j research.Judgment) {
			h := hypothesis(s, j.Hypothesis)
			if h == nil {
				return
			}
			look := research.Look{Run: run, Seq: seq, Verdict: j.Verdict, N: j.N, Effect: j.Effect, P: j.P, Adjusted: j.Adjusted}
			// A fork has copies of its origin's records.
			if key := fmt.Sprint(at.UnixNano(), " ", string(text)); kin && !seen[key] {
				seen[key] = true
				earlier[h.ID] = append(earlier[h.ID], look)
			}
			if mine := hypothesis(other, j.Hypothesis); !kin && mine != nil && mine.Judgment != nil && sameClaim(s, h, other, mine) && !sharesSeeds(s, other) {
				replications[h.ID] = append(replications[h.ID], look)
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return earlier, replications, nil
}

// verdicts reads a run's verdicts, superseded ones included.
func (e *Engine) verdicts(ctx context.Context, run string, each func(seq int64, at time.Time, text []byte, j research.Judgment)) error {
	for r, err := range e.journal.Read(ctx, run, 1) {
		if err != nil {
			return err
		}
		if r.Type != (research.HypothesisJudged{}).Type() {
			continue
		}
		p, err := research.Decode(r.Type, r.Version, r.Payload)
		if err != nil {
			return err
		}
		if judged, ok := p.(research.HypothesisJudged); ok {
			each(r.Seq, r.Time, r.Payload, judged.Judgment)
		}
	}
	return nil
}

func hypothesis(s *research.State, id string) *research.Hypothesis {
	if i := slices.IndexFunc(s.Hypotheses, func(h *research.Hypothesis) bool { return h.ID == id }); i >= 0 {
		return s.Hypotheses[i]
	}
	return nil
}

// sameClaim reports whether two runs ask the same of the same sides.
func sameClaim(s *research.State, h *research.Hypothesis, other *research.State, o *research.Hypothesis) bool {
	say := func(s *research.State, h *research.Hypothesis) []byte {
		text, err := json.Marshal([]any{h.A, h.B, h.Expect, h.By, h.Exact, s.Created.Study.MetricOf(h.Hypothesis)})
		if err != nil {
			return nil // not the same as anything
		}
		return text
	}
	mine := say(s, h)
	return mine != nil && bytes.Equal(mine, say(other, o))
}

func sharesSeeds(s, other *research.State) bool {
	return s.Plan != nil && other.Plan != nil && slices.ContainsFunc(s.Plan.Fresh, func(seed int64) bool { return slices.Contains(other.Plan.Fresh, seed) })
}

// judge has the statistics judge a run.
func (d *driver) judge(ctx context.Context, a research.Action) ([]research.Payload, error) {
	earlier, replications, err := d.engine.looks(ctx, d.state)
	if err != nil {
		return nil, fmt.Errorf("looking for earlier verdicts: %w", err)
	}
	var out []research.Payload
	for _, j := range stats.Judge(d.state, earlier) {
		j.Replications = replications[j.Hypothesis]
		slices.SortStableFunc(j.Replications, func(x, y research.Look) int { return cmp.Compare(x.Run, y.Run) })
		out = append(out, research.HypothesisJudged{Action: a.ID, Judgment: j})
	}
	return out, nil
}
