package search

import (
	"math"
	"slices"

	"ratchet/internal/search/gp"
)

// A warp is a scale on which outcomes are more alike a normal process than on their own:
// log(y - least + shift), or y itself where shift is +Inf (Snelson, Rasmussen and Ghahramani,
// "Warped Gaussian Processes", NeurIPS 2003). What is lowest is best.
type warp struct {
	least, shift float64
	center, unit float64 // so that what was observed has mean 0 and variance 1
}

// shifts are those tried, as parts of the distance from the least outcome to the median.
var shifts = []float64{math.Inf(1), 3, 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001}

func newWarp(y []float64, part float64) warp {
	sorted := slices.Sorted(slices.Values(y))
	spread := sorted[len(sorted)/2] - sorted[0]
	if spread <= 0 {
		spread = sorted[len(sorted)-1] - sorted[0]
	}
	w := warp{least: sorted[0], shift: part * spread, unit: 1}
	if w.shift <= 0 {
		w.shift = math.Inf(1)
	}
	sum, squares := 0.0, 0.0
	for _, v := range y {
		sum += w.raw(v)
	}
	w.center = sum / float64(len(y))
	for _, v := range y {
		squares += (w.raw(v) - w.center) * (w.raw(v) - w.center)
	}
	if sd := math.Sqrt(squares / float64(len(y))); sd > 0 {
		w.unit = sd
	}
	return w
}

func (w warp) raw(y float64) float64 {
	if math.IsInf(w.shift, 1) {
		return y
	}
	return math.Log(max(y-w.least, 0) + w.shift)
}

func (w warp) of(y float64) float64 { return (w.raw(y) - w.center) / w.unit }

// back is the outcome that is z on the scale.
func (w warp) back(z float64) float64 {
	raw := z*w.unit + w.center
	if math.IsInf(w.shift, 1) {
		return raw
	}
	return w.least + math.Exp(raw) - w.shift
}

// gain is the improvement that is expected below best, all but it on the scale, where a value
// is normal there.
func (w warp) gain(mean, sd, best float64) float64 {
	const parts = 200
	at, sum := w.back(best), 0.0
	for i := range parts {
		z := mean + sd*math.Sqrt2*math.Erfinv(2*(float64(i)+0.5)/parts-1)
		sum += max(at-w.back(z), 0)
	}
	return sum / parts
}

func (w warp) all(y []float64) []float64 {
	z := make([]float64, len(y))
	for i, v := range y {
		z[i] = w.of(v)
	}
	return z
}

// density is the sum of the logarithms of the warp's slope at outcomes: what makes the
// likelihoods of different warps comparable.
func (w warp) density(y []float64) float64 {
	sum := -float64(len(y)) * math.Log(w.unit)
	if !math.IsInf(w.shift, 1) {
		for _, v := range y {
			sum -= math.Log(v - w.least + w.shift)
		}
	}
	return sum
}

// bestWarp is the one under which the outcomes are most likely.
func bestWarp(l *gp.Likelihood, y []float64, h gp.Hyper) warp { return likeliest(shifts, l, y, h) }

// mildWarp is bestWarp of those that do not stretch what is best by much: where several
// objectives are weighed, a step there is to count about as much as one elsewhere.
func mildWarp(l *gp.Likelihood, y []float64, h gp.Hyper) warp { return likeliest(shifts[:3], l, y, h) }

func likeliest(shifts []float64, l *gp.Likelihood, y []float64, h gp.Hyper) warp {
	warps := make([]warp, len(shifts))
	sets := make([][]float64, len(shifts))
	for i, s := range shifts {
		warps[i] = newWarp(y, s)
		sets[i] = warps[i].all(y)
	}
	best, most := warps[0], math.Inf(-1)
	for i, v := range l.Of(h, sets...) {
		if v += warps[i].density(y); v > most {
			best, most = warps[i], v
		}
	}
	return best
}

// plain is the scale of the outcomes themselves.
func plain(_ *gp.Likelihood, y []float64, _ gp.Hyper) warp { return newWarp(y, math.Inf(1)) }
