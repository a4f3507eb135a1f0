package search

import (
	"cmp"
	"slices"

	"gonum.org/v1/gonum/stat"

	"ratchet/internal/research"
	"ratchet/internal/search/gp"
)

// When a source of earlier outcomes is left out.
const (
	enoughToDisagree = 5   // outcomes of this run
	agreement        = 0.3 // of ranks, least
	neighbours       = 3   // of the source, by which it says what an outcome should be
)

// learn adds the outcomes of earlier work, each source moved by what it is off: the median
// difference of this run's outcomes from what the source says of them. Whatever else is
// different about it the model finds by the axis of sources. A source that orders this run's
// outcomes otherwise than they came out is left out, and given back by its name.
func (q query) learn(obs *observed) (without []string) {
	own := len(obs.y)
	for i, prior := range q.s.Prior {
		var xs [][]float64
		for _, o := range prior.Outcomes {
			x := q.axes.point(o.Parameters)
			x[len(x)-1] = float64(i + 1)
			xs = append(xs, x)
		}
		said := make([]float64, own)
		off := make([]float64, own)
		for k, x := range obs.x[:own] {
			said[k] = q.says(prior, xs, x)
			off[k] = obs.y[k] - said[k]
		}
		if own >= enoughToDisagree && stat.Correlation(ranks(said), ranks(obs.y[:own]), nil) < agreement {
			without = append(without, prior.From)
			continue
		}
		slices.Sort(off)
		for j, x := range xs {
			obs.x, obs.noise, obs.parts = append(obs.x, x), append(obs.noise, 1), append(obs.parts, nil)
			obs.y = append(obs.y, q.lower(prior.Outcomes[j].Value)+off[own/2])
		}
	}
	return without
}

// says is the mean outcome of the nearest that a source has.
func (q query) says(prior research.Prior, xs [][]float64, x []float64) float64 {
	metric := q.axes.metric()
	metric = metric[:len(metric)-1] // the source itself does not count
	near := make([]int, len(xs))
	distance := make([]float64, len(xs))
	for j, other := range xs {
		near[j], distance[j] = j, gp.Distance(metric, x, other)
	}
	slices.SortStableFunc(near, func(a, b int) int { return cmp.Compare(distance[a], distance[b]) })
	near = near[:min(neighbours, len(near))]
	sum := 0.0
	for _, j := range near {
		sum += q.lower(prior.Outcomes[j].Value)
	}
	return sum / float64(len(near))
}

// ranks are the places of values in their order; equal ones share the middle of theirs.
func ranks(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		for _, w := range x {
			if w < v {
				out[i]++
			} else if w == v {
				out[i] += 0.5
			}
		}
	}
	return out
}
