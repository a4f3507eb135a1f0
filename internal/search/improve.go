package search

import (
	"math"

	"ratchet/internal/search/gp"
)

// improvement is the criterion of one objective: by how much a point is expected to improve it.
type improvement struct {
	m     *gp.Model
	best  float64 // the lowest quantile of what was tried
	noise float64 // its variance; 0: nothing is tried again

	dMean, dVariance []float64
}

// caution is the quantile by which points are compared, in standard deviations: 0.6. A more
// cautious one repeats more and finds less.
const caution = 0.2533471031357997

// quantile is what the function is below at a point, most likely.
func (q *improvement) quantile(mean, sd float64) float64 {
	if q.noise == 0 {
		return mean
	}
	return mean + caution*sd
}

// at is the logarithm of by how much the quantile at a point, when it has been
// measured there, is expected to be below the lowest; and its derivatives. Without noise it
// is expected improvement, with noise expected quantile improvement (Picheny, Ginsbourger,
// Richet and Caplin, "Quantile-Based Optimization of Noisy Computer Experiments with Tunable
// Precision", Technometrics 55, 2013): a point that was lucky is worth another measurement.
func (q *improvement) at(mean, sd float64) (value, byMean, bySD float64) {
	if q.noise == 0 {
		return gp.LogImprovement(mean, sd, q.best)
	}
	all := math.Sqrt(sd*sd + q.noise)
	after := sd * math.Sqrt(q.noise) / all // the deviation that is left after
	moves := sd * sd / all                 // by which the mean will move
	value, byMean, byMoves := gp.LogImprovement(mean+caution*after, moves, q.best)
	cube := all * all * all
	return value, byMean, byMean*caution*q.noise*math.Sqrt(q.noise)/cube + byMoves*(2*sd/all-sd*sd*sd/cube)
}

func (q *improvement) each(xs [][]float64) []float64 {
	means, variances := q.m.Each(xs)
	for i, variance := range variances {
		means[i], _, _ = q.at(means[i], math.Sqrt(variance))
	}
	return means
}

func (q *improvement) slope(x, gradient []float64) float64 {
	if q.dMean == nil {
		q.dMean, q.dVariance = make([]float64, len(x)), make([]float64, len(x))
	}
	mean, variance := q.m.Gradient(x, q.dMean, q.dVariance)
	sd := math.Sqrt(variance)
	v, byMean, bySD := q.at(mean, sd)
	for j := range gradient {
		gradient[j] = byMean*q.dMean[j] + bySD*q.dVariance[j]/(2*sd)
	}
	return v
}
