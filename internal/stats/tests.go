package stats

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// The tests of paired differences.
const (
	PairedT  = "paired t"
	Wilcoxon = "Wilcoxon signed-rank"
)

// TTest is Student's test that the mean of the differences is zero: the
// statistic and its two-sided p. The differences must vary.
func TTest(d []float64) (t, p float64) {
	n := float64(len(d))
	mean, squares := Mean(d), 0.0
	for _, v := range d {
		squares += (v - mean) * (v - mean)
	}
	t = mean / math.Sqrt(squares/(n-1)/n)
	return t, 2 * distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Survival(math.Abs(t))
}

// mostExact is the largest number of differences whose signed-rank
// distribution is computed exactly.
const mostExact = 50

// SignedRank is Wilcoxon's test that the differences are symmetric about zero:
// the sum of the ranks of the positive ones and its two-sided p (Wilcoxon,
// Biometrics Bulletin 1, 1945). Zeros are dropped, ties get their mean rank,
// and the distribution under the null is exact, ties included, up to 50
// differences; beyond, the normal approximation with correction for ties and
// continuity (Hollander and Wolfe, Nonparametric Statistical Methods, section
// 3.1). With no difference but zero, p is 1.
func SignedRank(d []float64) (v, p float64) {
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

// leastForRanks is the smallest number of pairs for which the signed-rank
// test can reach p ≤ 0.05 at all.
const leastForRanks = 6

// Choose is the stated rule for the test: the t test, unless a difference lies
// far out by Tukey's outer fences (more than three interquartile ranges beyond
// the quartiles; Exploratory Data Analysis, 1977), where a mean and its
// standard error say little; then, and where all differences are the same, the
// signed-rank test. With fewer than six pairs that vary it is always the t
// test.
func Choose(d []float64) string {
	if !slices.ContainsFunc(d, func(v float64) bool { return v != d[0] }) {
		return Wilcoxon
	}
	if len(d) < leastForRanks {
		return PairedT
	}
	sorted := slices.Sorted(slices.Values(d))
	q1, q3 := quartile(sorted, 0.25), quartile(sorted, 0.75)
	if reach := 3 * (q3 - q1); sorted[0] < q1-reach || sorted[len(sorted)-1] > q3+reach {
		return Wilcoxon
	}
	return PairedT
}

// quartile interpolates linearly between order statistics (R's type 7).
func quartile(sorted []float64, p float64) float64 {
	h := p * float64(len(sorted)-1)
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (h-float64(i))*(sorted[i+1]-sorted[i])
}

// Adjust corrects p values for their number: by Holm's step-down method
// (Scandinavian Journal of Statistics 6, 1979), Bonferroni's, or not at all.
func Adjust(p []float64, method string) []float64 {
	out := slices.Clone(p)
	m := float64(len(p))
	switch method {
	case "bonferroni":
		for i := range out {
			out[i] = math.Min(1, p[i]*m)
		}
	case "holm":
		order := make([]int, len(p))
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(i, j int) bool { return p[order[i]] < p[order[j]] })
		most := 0.0
		for rank, i := range order {
			most = math.Max(most, math.Min(1, p[i]*(m-float64(rank))))
			out[i] = most
		}
	}
	return out
}
