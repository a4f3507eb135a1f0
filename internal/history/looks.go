package history

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ratchet/internal/journal"
	"ratchet/internal/research"
	"ratchet/internal/stats"
)

// Verdicts are known to those who go on after them: a run, its rollbacks, its
// forks and theirs share their claims, and each verdict on one is a look at it.

// Looks are the verdicts that were given before on the claims of a run: earlier
// ones by itself and by runs that share a past with it; and by hypothesis,
// replications, which are verdicts of other runs on the same claim.
func (h *History) Looks(ctx context.Context, s *research.State) (earlier, replications stats.Looks, err error) {
	earlier, replications = stats.Looks{}, stats.Looks{}
	runs, err := h.home.Runs(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A run's name begins with its study's, which a fork cannot change.
	runs = slices.DeleteFunc(runs, func(run string) bool { return !strings.HasPrefix(run, s.Created.Study.Name+"-") })
	pasts := map[string]*past{}
	for _, run := range runs {
		p, err := h.pastOf(ctx, run)
		if err != nil && run == s.Created.Run {
			return nil, nil, err
		}
		if err == nil { // of one that is damaged nothing is known
			pasts[run] = p
		}
	}
	root := func(run string) string {
		for range len(pasts) {
			p := pasts[run]
			if p == nil || p.origin == "" {
				break
			}
			run = p.origin
		}
		return run
	}
	seen := map[string]bool{}
	for _, run := range runs {
		p := pasts[run]
		if p == nil || len(p.verdicts) == 0 {
			continue
		}
		kin := root(run) == root(s.Created.Run)
		var other *research.State
		if !kin {
			if other, _, err = h.Load(ctx, run); err != nil {
				continue
			}
		}
		for _, v := range p.verdicts {
			h := hypothesis(s, v.Hypothesis)
			if h == nil {
				continue
			}
			look := research.Look{Run: run, Seq: v.seq, Verdict: v.Verdict, N: v.N, Effect: v.Effect, P: v.P, Adjusted: v.Adjusted}
			if kin { // a fork has copies of its origin's records
				if !seen[v.key] {
					seen[v.key] = true
					earlier[h.ID] = append(earlier[h.ID], look)
				}
				continue
			}
			if theirs := hypothesis(other, v.Hypothesis); theirs != nil && theirs.Judgment != nil && sameClaim(s, h, other, theirs) && !sharesSeeds(s, other) {
				replications[h.ID] = append(replications[h.ID], look)
			}
		}
	}
	return earlier, replications, nil
}

// past is what a run's journal says of where it comes from and of its verdicts,
// what was rolled back included.
type past struct {
	origin   string // the run that it was forked from; empty: it was not
	verdicts []verdict
}

type verdict struct {
	research.Judgment
	seq int64
	key string // the same for a record and its copy in a fork
}

func (h *History) pastOf(ctx context.Context, run string) (*past, error) {
	p := &past{}
	for r, err := range h.home.Journal.Read(ctx, journal.Of(run), 1) {
		if err != nil {
			return nil, err
		}
		if r.Type != (research.HypothesisJudged{}).Type() && r.Type != (research.RunForked{}).Type() {
			continue
		}
		payload, err := research.Decode(r.Type, r.Version, r.Payload)
		if err != nil {
			return nil, err
		}
		switch d := payload.(type) {
		case research.RunForked:
			p.origin = d.Origin.Run // the last is its own, those before its origin's
		case research.HypothesisJudged:
			p.verdicts = append(p.verdicts, verdict{d.Judgment, r.Seq, fmt.Sprint(r.Time.UnixNano(), " ", string(r.Payload))})
		}
	}
	return p, nil
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
