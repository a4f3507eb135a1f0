package stats

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// mostExact is the largest number of differences whose signed-rank
// distribution is computed exactly.
const mostExact = 50

// signedRank is Wilcoxon's test that the differences are symmetric about zero:
// the sum of the ranks of the positive ones and its two-sided p (Wilcoxon,
// Biometrics Bulletin 1, 1945). Zeros are dropped, ties get their mean rank,
// and the distribution under the null is exact, ties included, up to 50
// differences; beyond, the normal approximation with correction for ties and
// continuity (Hollander and Wolfe, Nonparametric Statistical Methods, section
// 3.1). With no difference but zero, p is 1.
func signedRank(d []float64) (v, p float64) {
	var x []float64
	for _, e := range d {
		if e != 0 {
			x = append(x, e)
		}
	}
	if len(x) == 0 {
		return 0, 1
	}
	ranks, ties := ranked(x)
	for i, e := range x {
		if e > 0 {
			v += ranks[i]
		}
	}
	n := float64(len(x))
	if len(x) > mostExact {
		mean := n * (n + 1) / 4
		dev := math.Sqrt(n*(n+1)*(2*n+1)/24 - ties/48)
		z := math.Max(math.Abs(v-mean)-0.5, 0) / dev
		return v, 2 * distuv.UnitNormal.Survival(z)
	}
	return v, exact(ranks, v)
}

// ranked gives the ranks of the absolute values, and Σ(t³−t) over the groups
// of t ties.
func ranked(x []float64) (ranks []float64, ties float64) {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return math.Abs(x[order[i]]) < math.Abs(x[order[j]]) })
	ranks = make([]float64, len(x))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && math.Abs(x[order[j]]) == math.Abs(x[order[i]]) {
			j++
		}
		for _, k := range order[i:j] {
			ranks[k] = float64(i+1+j) / 2
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return ranks, ties
}

// exact counts, over all signs, the sums of ranks as far from the middle as v
// or further. Ranks are halves at the finest, so doubled they are whole.
func exact(ranks []float64, v float64) float64 {
	total := 0
	for _, r := range ranks {
		total += int(2 * r)
	}
	ways := make([]float64, total+1) // as probabilities
	ways[0] = 1
	for _, r := range ranks {
		k := int(2 * r)
		for s := total; s >= 0; s-- {
			ways[s] /= 2
			if s >= k {
				ways[s] += ways[s-k] / 2
			}
		}
	}
	low := min(int(2*v), total-int(2*v))
	p := 0.0
	for s := 0; s <= low; s++ {
		p += ways[s]
	}
	return math.Min(1, 2*p)
}
