// Package pareto weighs points by several values, each of which is to be low.
package pareto

import (
	"cmp"
	"math"
	"slices"
)

// Dominates reports whether a is nowhere worse than b, and somewhere better.
func Dominates(a, b []float64) bool {
	better := false
	for j, v := range a {
		if v > b[j] {
			return false
		}
		better = better || v < b[j]
	}
	return better
}

// Front gives which points no other dominates, in their order; of equal ones the first.
func Front(points [][]float64) (front []int) {
	for i, p := range points {
		if !slices.ContainsFunc(points[:i], func(q []float64) bool { return slices.Equal(p, q) }) &&
			!slices.ContainsFunc(points, func(q []float64) bool { return Dominates(q, p) }) {
			front = append(front, i)
		}
	}
	return front
}

// Ranks gives each point the number of its front: 0 is that of all points, 1 that of those
// which are left without it, and so on. A point that breaks constraints, by excess, comes
// behind all that break them less (Deb, Pratap, Agarwal and Meyarivan, "A Fast and Elitist
// Multiobjective Genetic Algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation
// 6, 2002, sections III A and VI A).
func Ranks(points [][]float64, excess []float64) []int {
	ranks := make([]int, len(points))
	dominated := make([]int, len(points)) // by how many
	over := make([][]int, len(points))    // which ones a point dominates
	for i := range points {
		for j := range points {
			if excess[i] < excess[j] || excess[i] == excess[j] && Dominates(points[i], points[j]) {
				over[i] = append(over[i], j)
				dominated[j]++
			}
		}
	}
	var front []int
	for i, n := range dominated {
		if n == 0 {
			front = append(front, i)
		}
	}
	for rank := 0; len(front) > 0; rank++ {
		var next []int
		for _, i := range front {
			ranks[i] = rank
			for _, j := range over[i] {
				if dominated[j]--; dominated[j] == 0 {
					next = append(next, j)
				}
			}
		}
		front = next
	}
	return ranks
}

// Crowding is how far apart the neighbours of each point of a front lie, by each value on
// either side of it, added up; at an end it is +Inf (Deb et al. 2002, section III B).
func Crowding(front [][]float64) []float64 {
	out := make([]float64, len(front))
	if len(front) == 0 {
		return out
	}
	order := make([]int, len(front))
	for j := range front[0] {
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(front[a][j], front[b][j]) })
		first, last := order[0], order[len(order)-1]
		span := front[last][j] - front[first][j]
		out[first], out[last] = math.Inf(1), math.Inf(1)
		if span <= 0 {
			continue
		}
		for k := 1; k < len(order)-1; k++ {
			out[order[k]] += (front[order[k+1]][j] - front[order[k-1]][j]) / span
		}
	}
	return out
}

// Scale is how hypervolumes of a front are measured: from its best values to a reference
// point.
type Scale struct{ Ideal, Reference []float64 }

// NewScale is that of a front, which may have dominated points with it. The reference point,
// from which on values are taken to be of no use, is a tenth of the front's range beyond its
// worst values (Ishibuchi, Imada, Setoguchi and Nojima, "How to Specify a Reference Point in
// Hypervolume Calculation for Fair Performance Comparison", Evolutionary Computation 26,
// 2018). Where a front has no range in a value, that of all points takes its place.
func NewScale(front, all [][]float64) Scale {
	var s Scale
	var worst []float64
	s.Ideal, worst = bounds(front)
	low, high := bounds(all)
	for j := range s.Ideal {
		span := worst[j] - s.Ideal[j]
		if span <= 0 {
			span = high[j] - low[j]
		}
		if span <= 0 {
			span = 1
		}
		s.Reference = append(s.Reference, worst[j]+span/10)
	}
	return s
}

// Volume is the hypervolume of points as a share of the space from the ideal to the reference
// point. Points beyond the ideal make it more than 1.
func (s Scale) Volume(points [][]float64) float64 {
	scaled := make([][]float64, len(points))
	ones := make([]float64, len(s.Ideal))
	for j := range ones {
		ones[j] = 1
	}
	for i, p := range points {
		scaled[i] = make([]float64, len(p))
		for j, v := range p {
			scaled[i][j] = (v - s.Ideal[j]) / (s.Reference[j] - s.Ideal[j])
		}
	}
	return Volume(scaled, ones)
}

func bounds(points [][]float64) (low, high []float64) {
	low, high = slices.Clone(points[0]), slices.Clone(points[0])
	for _, p := range points {
		for j, v := range p {
			low[j], high[j] = min(low[j], v), max(high[j], v)
		}
	}
	return low, high
}

// Spread gives the numbers of points, at most as many as said, that together dominate much:
// the one that on its own dominates the most, then again and again the one that adds the
// most. A point that adds nothing is left out. By Nemhauser, Wolsey and Fisher ("An Analysis
// of Approximations for Maximizing Submodular Set Functions", Mathematical Programming 14,
// 1978) they dominate at least 63 % of what the best choice of as many does.
func Spread(points [][]float64, reference []float64, most int) (chosen []int) {
	var kept [][]float64
	volume := 0.0
	for len(chosen) < most {
		best, gain := -1, 0.0
		for i, p := range points {
			if slices.Contains(chosen, i) {
				continue
			}
			if g := Volume(append(kept[:len(kept):len(kept)], p), reference) - volume; g > gain {
				best, gain = i, g
			}
		}
		if best < 0 {
			break
		}
		chosen, kept = append(chosen, best), append(kept, points[best])
		volume += gain
	}
	return chosen
}
