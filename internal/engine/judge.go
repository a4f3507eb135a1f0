package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"ratchet/internal/research"
	"ratchet/internal/stats"
)

// judge has the statistics judge a run.
func (d *driver) judge(ctx context.Context, a research.Action) ([]research.Payload, error) {
	earlier, replications, err := d.engine.Looks(ctx, d.state)
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
