package forecast

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Trend is a straight line through a series, with an interval of its slope.
type Trend struct {
	Slope     float64 // of y per unit of x
	Low, High float64 // of the slope
	N         int
}

// mostTrend bounds how many points a trend is made of; of more, every k-th is
// taken. There are n (n−1) / 2 slopes.
const mostTrend = 120

// TheilSen is the median of the slopes between all pairs of points: up to 29 %
// of them can be anything. Its interval at a level is that of Sen, "Estimates
// of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968), by
// the normal approximation. It reports false for fewer than five points or
// where x does not change.
func TheilSen(x, y []float64, level float64) (Trend, bool) {
	if step := (len(x) + mostTrend - 1) / mostTrend; step > 1 {
		var fewX, fewY []float64
		for i := len(x) - 1; i >= 0; i -= step { // the newest is among them
			fewX, fewY = append(fewX, x[i]), append(fewY, y[i])
		}
		x, y = fewX, fewY
	}
	n := len(x)
	if n < 5 || len(y) != n {
		return Trend{}, false
	}
	var slopes []float64
	for i := range n {
		for j := range i {
			if d := x[i] - x[j]; d != 0 {
				slopes = append(slopes, (y[i]-y[j])/d)
			}
		}
	}
	if len(slopes) == 0 {
		return Trend{}, false
	}
	slices.Sort(slopes)
	m := len(slopes)
	t := Trend{Slope: (slopes[(m-1)/2] + slopes[m/2]) / 2, N: n}
	sigma := math.Sqrt(float64(n) * float64(n-1) * float64(2*n+5) / 18) // of Kendall's statistic
	c := distuv.UnitNormal.Quantile(1-(1-level)/2) * sigma
	low, high := int(math.Floor((float64(m)-c)/2)), int(math.Ceil((float64(m)+c)/2))
	t.Low, t.High = slopes[max(0, low-1)], slopes[min(m-1, high)]
	return t, true
}

// Reaches is after how many units of x a value that stands at now comes to a
// limit, by the trend, with the ends of the interval; infinity is never. false:
// it does not come nearer.
func (t Trend) Reaches(now, limit float64) (after, soonest, latest float64, ok bool) {
	gap := limit - now
	when := func(slope float64) float64 {
		if slope*gap <= 0 {
			return math.Inf(1)
		}
		return gap / slope
	}
	after = when(t.Slope)
	a, b := when(t.Low), when(t.High)
	return after, min(a, b), max(a, b), !math.IsInf(after, 1)
}
