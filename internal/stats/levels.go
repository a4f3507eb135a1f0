package stats

import (
	"slices"
	"sort"
)

// levels are the levels at which each of several decisions is made, so that all
// together err with a chance of at most alpha: by Holm's step-down method
// (Scandinavian Journal of Statistics 6, 1979), Bonferroni's, or not at all. p
// are the p values of what would be decided; a decision falls where its p is at
// most its level.
func levels(p []float64, correction string, alpha float64) []float64 {
	levels := make([]float64, len(p))
	m := float64(len(p))
	switch correction {
	case "bonferroni":
		for i := range levels {
			levels[i] = alpha / m
		}
	case "holm":
		order := make([]int, len(p))
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(i, j int) bool { return p[order[i]] < p[order[j]] })
		left := m
		for _, i := range order {
			levels[i] = alpha / left
			if p[i] <= levels[i] {
				left--
			} // else it and all behind it stay undecided
		}
	default:
		return slices.Repeat([]float64{alpha}, len(p))
	}
	return levels
}
