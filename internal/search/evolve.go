package search

import (
	"fmt"
	"slices"

	"ratchet/internal/search/cma"
	"ratchet/study"
)

// mostPopulation bounds how large a population becomes by restarts.
const mostPopulation = 200

// evolve draws a configuration by covariance matrix adaptation. The distribution is made
// again from all outcomes of the arm, a generation after the other; when it has become too
// narrow, one with twice the population begins anew elsewhere (Auger and Hansen, "A Restart
// CMA Evolution Strategy with Increasing Population Size", CEC 2005). Choices without an
// order are drawn as often as they are among the better half of the last generations.
func (q query) evolve() study.Params {
	var numbers []int
	var steps []float64
	for j, d := range q.axes.of {
		if _, fixed := q.fixed[d.Name]; !fixed && !d.unordered {
			numbers = append(numbers, j)
			step := 0.0
			if n := d.Size(); n > 0 {
				step = 1 / float64(n)
			}
			steps = append(steps, step)
		}
	}
	var points [][]float64 // all coordinates
	var values []float64
	for _, x := range q.known {
		if x.Value != nil && !x.Outside && x.Parameters.Matches(q.fixed) {
			points = append(points, q.axes.point(x.Parameters))
			values = append(values, q.lower(*x.Value))
		}
	}
	x := make([]float64, len(q.axes.of))
	all := observed{axes: q.axes, x: points, y: values}
	if len(numbers) > 0 {
		// The first points are spread over the space: it begins at the best of them.
		n := min(len(points), q.startup())
		var start []float64
		if n > 0 {
			start = points[slices.Index(values[:n], slices.Min(values[:n]))]
		}
		points, values = points[n:], values[n:]
		lambda := cma.Population(len(numbers))
		restart := 0
		begin := func() *cma.State {
			r := newRand(q.s.Created.Seed, fmt.Sprintf("cma %d %d", q.arm, restart))
			mean := make([]float64, len(numbers))
			for i := range mean {
				mean[i] = r.Float64()
				if restart == 0 && start != nil && start[numbers[i]] != absent {
					mean[i] = start[numbers[i]]
				}
			}
			return cma.New(mean, 0.2, lambda, steps)
		}
		s := begin()
		for len(points) >= lambda {
			var generation [][]float64
			for _, p := range points[:lambda] {
				g := make([]float64, len(numbers))
				for i, j := range numbers {
					if g[i] = p[j]; p[j] == absent {
						g[i] = s.Mean(i)
					}
				}
				generation = append(generation, g)
			}
			s.Tell(generation, values[:lambda])
			points, values = points[lambda:], values[lambda:]
			if s.Done() {
				restart++
				lambda = min(2*lambda, mostPopulation)
				s = begin()
			}
		}
		for i, v := range s.Sample(q.r) {
			x[numbers[i]] = v
		}
	}
	good, _ := all.split()
	for j, d := range q.axes.of {
		if d.unordered {
			x[j] = d.draw(q.r)
			if i := q.r.IntN(len(good) + len(d.Values)); i < len(good) && good[i][j] != absent {
				x[j] = good[i][j]
			}
		}
	}
	return q.axes.settle(x, q.fixed, func(d axis) float64 { return d.draw(q.r) })
}

// mostOutcome bounds outcomes, so that their squares are finite.
const mostOutcome = 1e100

func bounded(v float64) float64 { return min(max(v, -mostOutcome), mostOutcome) }

// lower is a value of an objective, turned so that lower is better.
func lower(o study.Objective, v float64) float64 {
	if o.Goal == study.Maximize {
		v = -v
	}
	return bounded(v)
}

// lower is an outcome of which lower is better.
func (q query) lower(v float64) float64 { return lower(q.st.Objective, v) }
