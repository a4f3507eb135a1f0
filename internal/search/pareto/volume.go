package pareto

import (
	"cmp"
	"math"
	"slices"
)

// Volume is the hypervolume of points: how much of the space below the reference point, with
// lower values on the other side, one of them at least dominates (Zitzler and Thiele,
// "Multiobjective Optimization Using Evolutionary Algorithms", PPSN V, 1998). It is computed
// by slicing (Knowles, "Local-Search and Hybrid Evolutionary Algorithms for Pareto
// Optimization", 2002).
func Volume(points [][]float64, reference []float64) float64 {
	var within [][]float64
	for _, p := range points {
		if below(p, reference) {
			within = append(within, p)
		}
	}
	return sliced(within, reference)
}

func below(p, reference []float64) bool {
	for j, r := range reference {
		if !(p[j] < r) {
			return false
		}
	}
	return true
}

func sliced(points [][]float64, reference []float64) float64 {
	last := len(reference) - 1
	if len(points) == 0 {
		return 0
	}
	if last == 0 {
		low, _ := bounds(points)
		return reference[0] - low[0]
	}
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b []float64) int { return cmp.Compare(a[last], b[last]) })
	if last == 1 { // a staircase
		sum, low := 0.0, reference[0]
		for i, p := range sorted {
			low = min(low, p[0])
			sum += (reference[0] - low) * (next(sorted, i, reference) - p[1])
		}
		return sum
	}
	sum := 0.0
	var flat [][]float64
	for i, p := range sorted {
		flat = Keep(flat, p[:last])
		if depth := next(sorted, i, reference) - p[last]; depth > 0 {
			sum += depth * sliced(flat, reference[:last])
		}
	}
	return sum
}

// next is the last value of the point behind the i-th.
func next(sorted [][]float64, i int, reference []float64) float64 {
	last := len(reference) - 1
	if i+1 < len(sorted) {
		return sorted[i+1][last]
	}
	return reference[last]
}

// Keep adds a point to a front, without those that it dominates; a point that the front
// dominates or has is left out.
func Keep(front [][]float64, p []float64) [][]float64 {
	for _, q := range front {
		if Dominates(q, p) || slices.Equal(p, q) {
			return front
		}
	}
	front = slices.DeleteFunc(slices.Clone(front), func(q []float64) bool { return Dominates(p, q) })
	return append(front, p)
}

// Box is a part of a space: of each value, from Low to High.
type Box struct{ Low, High []float64 }

// Free are boxes that make up all that is below the reference point and that no point of a
// front dominates. They do not overlap; those at the bottom begin at -Inf.
func Free(front [][]float64, reference []float64) []Box {
	var within [][]float64
	for _, p := range front {
		if below(p, reference) {
			within = append(within, p)
		}
	}
	return free(within, reference)
}

func free(points [][]float64, reference []float64) (out []Box) {
	last := len(reference) - 1
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b []float64) int { return cmp.Compare(a[last], b[last]) })
	if last == 0 {
		high := reference[0]
		if len(sorted) > 0 {
			high = sorted[0][0]
		}
		return []Box{{[]float64{math.Inf(-1)}, []float64{high}}}
	}
	// Below the first point nothing is dominated; from each to the next it is what the points
	// up to there leave of the values before.
	var flat [][]float64
	from := math.Inf(-1)
	for i := range len(sorted) + 1 {
		to := reference[last]
		if i < len(sorted) {
			to = sorted[i][last]
		}
		if to > from {
			for _, b := range free(flat, reference[:last]) {
				out = append(out, Box{append(b.Low, from), append(b.High, to)})
			}
		}
		if from = to; i < len(sorted) {
			flat = Keep(flat, sorted[i][:last])
		}
	}
	return out
}
