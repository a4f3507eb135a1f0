package stats

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Resamples is how many bootstrap samples an interval rests on.
const resamples = 10_000

// BCa is the bias-corrected and accelerated bootstrap interval of a statistic
// at a confidence level (Efron, "Better Bootstrap Confidence Intervals", JASA
// 82, 1987; Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
// section 14.3). The acceleration is estimated by the jackknife. Where every
// value is the same, the interval is a point. It panics on fewer than two
// values.
//
// Release 0.2 and those before gave each side of a comparison this interval; their
// runs keep it.
func BCa(x []float64, statistic func([]float64) float64, level float64, r *rand.Rand) (low, high float64) {
	if len(x) < 2 {
		panic("stats: an interval needs two values or more")
	}
	theta := statistic(x)
	if !slices.ContainsFunc(x, func(v float64) bool { return v != x[0] }) {
		return theta, theta
	}
	reps := make([]float64, resamples)
	sample := make([]float64, len(x))
	below := 0.0
	for i := range reps {
		for j := range sample {
			sample[j] = x[r.IntN(len(x))]
		}
		reps[i] = statistic(sample)
		switch {
		case reps[i] < theta:
			below++
		case reps[i] == theta:
			below += 0.5 // ties, as a discrete statistic has them
		}
	}
	slices.Sort(reps)
	norm := distuv.UnitNormal
	share := math.Min(math.Max(below/resamples, 0.5/resamples), 1-0.5/resamples)
	z0, a := norm.Quantile(share), acceleration(x, statistic)
	end := func(p float64) float64 {
		z := z0 + norm.Quantile(p)
		return percentile(reps, norm.CDF(z0+z/(1-a*z)))
	}
	alpha := (1 - level) / 2
	return end(alpha), end(1 - alpha)
}

// acceleration is the jackknife's estimate, equation 14.15 of Efron and
// Tibshirani.
func acceleration(x []float64, statistic func([]float64) float64) float64 {
	n := len(x)
	left := make([]float64, n)
	rest := make([]float64, n-1)
	for i := range x {
		copy(rest, x[:i])
		copy(rest[i:], x[i+1:])
		left[i] = statistic(rest)
	}
	mean := Mean(left)
	cubes, squares := 0.0, 0.0
	for _, v := range left {
		d := mean - v
		cubes += d * d * d
		squares += d * d
	}
	if squares == 0 {
		return 0
	}
	return cubes / (6 * math.Pow(squares, 1.5))
}

// percentile is the value at a share p of a sorted sample.
func percentile(sorted []float64, p float64) float64 {
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
