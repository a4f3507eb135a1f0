package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Mean is the arithmetic mean; NaN of nothing. It does not overflow where its
// value does not.
func Mean(x []float64) float64 {
	sum, parts := 0.0, 0.0
	for _, v := range x {
		sum += v
		parts += v / float64(len(x))
	}
	if math.IsInf(sum, 0) {
		return parts
	}
	return sum / float64(len(x))
}

// Sample is what a sample of independent values says of the mean that they were
// drawn with. Its interval and its p values are of one statistic, so they never
// contradict each other.
//
// The statistic is Student's t. Where the values are skewed, t is too small on
// the side of the long tail and too large on the other; from six values on, a
// sample that looks skewed gets Hall's correction, and of the two the more
// careful one counts on either side (Hall, "On the Removal of Skewness by
// Transformation", Journal of the Royal Statistical Society B 54, 1992).
type Sample struct {
	N        int
	Mean     float64
	SD       float64 // with n − 1; 0 for fewer than two values
	Skewness float64 // third central moment over the second's power 1.5; 0 where nothing varies
	Skewed   bool    // beyond what normal values show in 95 of 100 samples of this size
}

// leastForSkewness is the smallest sample whose skewness is looked at: of fewer,
// even normal ones are mostly near the largest skewness that they can have.
const leastForSkewness = 6

// NewSample describes values. Any finite ones will do: they are brought to a
// common scale before they are squared.
func NewSample(x []float64) Sample {
	s := Sample{N: len(x), Mean: Mean(x)}
	largest := 0.0
	for _, v := range x {
		largest = max(largest, math.Abs(v/2-s.Mean/2)) // halves: the difference may overflow
	}
	if s.N < 2 || largest == 0 || !slices.ContainsFunc(x, func(v float64) bool { return v != x[0] }) {
		return s
	}
	n := float64(s.N)
	squares, cubes := 0.0, 0.0
	for _, v := range x {
		d := (v/2 - s.Mean/2) / largest
		squares += d * d
		cubes += d * d * d
	}
	s.SD = 2 * largest * math.Sqrt(squares/(n-1))
	s.Skewness = cubes / n / math.Pow(squares/n, 1.5)
	if s.N >= leastForSkewness {
		// The standard deviation of a normal sample's skewness (Fisher 1930).
		dev := math.Sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
		s.Skewed = math.Abs(s.Skewness) > distuv.UnitNormal.Quantile(0.975)*dev
	}
	return s
}

// Varies reports whether there is anything to infer from.
func (s Sample) Varies() bool { return s.SD > 0 }

// DF are the degrees of freedom.
func (s Sample) DF() int { return s.N - 1 }

// T is Student's statistic for a mean of mu.
func (s Sample) T(mu float64) float64 {
	return (s.Mean/2 - mu/2) / (s.SD / 2) * math.Sqrt(float64(s.N))
}

// Interval is the confidence interval of the mean at a level. The sample must
// vary. An end that no number is large enough for is the largest there is.
func (s Sample) Interval(level float64) (low, high float64) {
	root := math.Sqrt(float64(s.N))
	q := s.student().Quantile(1 - (1-level)/2)
	low, high = s.Mean-q*s.SD/root, s.Mean+q*s.SD/root
	if s.Skewed {
		low = min(low, s.Mean-s.uncorrected(q/root)*s.SD)
		high = max(high, s.Mean-s.uncorrected(-q/root)*s.SD)
	}
	return max(low, -math.MaxFloat64), min(high, math.MaxFloat64)
}

// Above is the p value of the one-sided test whose alternative is that the mean
// is above mu; Below that of the other one. The interval at a level excludes mu
// on one side exactly where that side's p is below half of what the level leaves.
func (s Sample) Above(mu float64) float64 {
	p := s.student().Survival(s.T(mu))
	if s.Skewed {
		p = max(p, s.student().Survival(s.corrected(mu)))
	}
	return p
}

// Below is described at Above.
func (s Sample) Below(mu float64) float64 {
	p := s.student().CDF(s.T(mu))
	if s.Skewed {
		p = max(p, s.student().CDF(s.corrected(mu)))
	}
	return p
}

// TwoSided is the p value of the test that the mean is mu.
func (s Sample) TwoSided(mu float64) float64 { return min(1, 2*min(s.Above(mu), s.Below(mu))) }

func (s Sample) student() distuv.StudentsT {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(s.DF())}
}

// corrected is Hall's statistic g(W) = W + aW²/3 + a²W³/27 + a/6n, with W the
// difference in standard deviations and a the skewness, times √n.
func (s Sample) corrected(mu float64) float64 {
	root, a := math.Sqrt(float64(s.N)), s.Skewness
	w := s.T(mu) / root
	return root * (w + a*w*w/3 + a*a*w*w*w/27 + a/(6*float64(s.N)))
}

// uncorrected is the W at which g(W) has a value.
func (s Sample) uncorrected(g float64) float64 {
	a := s.Skewness
	return 3 / a * (math.Cbrt(1+a*(g-a/(6*float64(s.N)))) - 1)
}
