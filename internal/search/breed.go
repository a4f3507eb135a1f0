package search

import (
	"cmp"
	"math"
	"slices"

	"ratchet/internal/search/pareto"
	"ratchet/study"
)

// Constants of NSGA-II. Its authors have an index of 20 and populations of 100, for tens of
// thousands of evaluations; these found more with 60 and 200.
const (
	mostParents = 50  // the population
	crossed     = 0.9 // how often a child is of two parents
	alike       = 5.0 // the index of both distributions: how near a child is to its parents
)

// breed draws a configuration by NSGA-II (Deb et al. 2002, as at pareto.Ranks). Its population
// are the best of all outcomes of the arm: each child takes part as soon as it is measured, as
// Durillo, Nebro, Luna and Alba have it ("On the Effect of the Steady-State Selection Scheme in
// Multi-Objective Genetic Algorithms", EMO 2009), so that none waits for a generation.
func (q query) breed() study.Params {
	var points, values [][]float64
	var excess []float64
	w := q.weigh()
	for i, x := range w.experiments {
		if x.Parameters.Matches(q.fixed) {
			points, values, excess = append(points, w.points[i]), append(values, w.values[i]), append(excess, q.s.Excess(x))
		}
	}
	if len(points) < 2 {
		return q.axes.random(q.r, q.fixed)
	}
	ranks := pareto.Ranks(values, excess)
	crowding := make([]float64, len(points))
	for rank := range slices.Max(ranks) + 1 {
		var of []int
		var front [][]float64
		for i, r := range ranks {
			if r == rank {
				of, front = append(of, i), append(front, values[i])
			}
		}
		for k, c := range pareto.Crowding(front) {
			crowding[of[k]] = c
		}
	}
	better := func(a, b int) int {
		return cmp.Or(cmp.Compare(ranks[a], ranks[b]), cmp.Compare(crowding[b], crowding[a]), cmp.Compare(a, b))
	}
	population := make([]int, len(points))
	for i := range population {
		population[i] = i
	}
	slices.SortFunc(population, better)
	population = population[:min(len(population), mostParents)]
	parent := func() []float64 {
		a, b := population[q.r.IntN(len(population))], population[q.r.IntN(len(population))]
		if better(b, a) < 0 {
			a = b
		}
		return points[a]
	}
	child := q.cross(parent(), parent())
	q.mutate(child)
	return q.axes.settle(child, q.fixed, func(d axis) float64 { return d.draw(q.r) })
}

// cross gives a child of two points: simulated binary crossover of numbers (Deb and Agrawal,
// "Simulated Binary Crossover for Continuous Search Space", Complex Systems 9, 1995), one of
// the two of choices and of parameters that one of them does not have.
func (q query) cross(a, b []float64) []float64 {
	child := slices.Clone(a)
	if q.r.Float64() > crossed {
		return child
	}
	for j, d := range q.axes.of {
		switch {
		case d.unordered || a[j] == absent || b[j] == absent:
			if q.r.IntN(2) == 0 {
				child[j] = b[j]
			}
		case q.r.IntN(2) == 0:
			u := q.r.Float64()
			spread := math.Pow(2*u, 1/(alike+1))
			if u > 0.5 {
				spread = math.Pow(1/(2-2*u), 1/(alike+1))
			}
			if q.r.IntN(2) == 0 {
				spread = -spread
			}
			child[j] = min(max((a[j]+b[j]+spread*(b[j]-a[j]))/2, 0), 1)
		}
	}
	return child
}

// mutate changes one coordinate on average: a number by the polynomial distribution of Deb and
// Agrawal, a choice to any.
func (q query) mutate(x []float64) {
	for j, d := range q.axes.of {
		if x[j] == absent || q.r.Float64() >= 1/float64(len(x)) {
			continue
		}
		if d.unordered {
			x[j] = d.draw(q.r)
			continue
		}
		u := q.r.Float64()
		step := math.Pow(2*u, 1/(alike+1)) - 1
		if u > 0.5 {
			step = 1 - math.Pow(2-2*u, 1/(alike+1))
		}
		if n := d.Size(); n > 0 && step != 0 { // at least to the next value
			step = math.Copysign(max(math.Abs(step), 1/float64(n)), step)
		}
		x[j] = min(max(x[j]+step, 0), 1)
	}
}
