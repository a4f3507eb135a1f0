package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"gonum.org/v1/gonum/optimize"

	"ratchet/internal/search/gp"
	"ratchet/study"
)

// acquisition says how much is expected of a point.
type acquisition struct {
	axes  axes
	m     *gp.Model
	fixed study.Params
	best  float64
}

// Work of a maximisation.
const (
	candidates = 300 // looked at in all
	climbs     = 4   // begun from the best of them
	climbSteps = 25
)

type scored struct {
	x     []float64
	value float64
}

// maximize looks at points all over the space and near the seeds, and climbs from the best.
func (q acquisition) maximize(r *rand.Rand, seeds [][]float64) study.Params {
	fill := func(d axis) float64 { return q.axes.draw(d, r) }
	var xs [][]float64
	add := func(x []float64) {
		q.axes.settle(x, q.fixed, fill)
		xs = append(xs, x)
	}
	for range candidates / 2 {
		x := make([]float64, len(q.axes.of))
		for j, d := range q.axes.of {
			x[j] = fill(d)
		}
		add(x)
	}
	for i := range candidates / 2 {
		add(q.near(seeds[i%len(seeds)], r))
	}
	pool := q.score(xs)
	sort.SliceStable(pool, func(i, j int) bool { return pool[i].value > pool[j].value })
	best := pool[0]
	for i := range min(climbs, len(pool)) {
		if c := q.climb(pool[i], r); c.value > best.value {
			best = c
		}
	}
	return q.axes.settle(best.x, q.fixed, fill)
}

// draw is a coordinate at random.
func (a axes) draw(d axis, r *rand.Rand) float64 {
	if d.unordered {
		return float64(r.IntN(len(d.Values)))
	}
	return r.Float64()
}

// near is a point that differs from another in some coordinates, by a distance of any order
// of magnitude.
func (q acquisition) near(seed []float64, r *rand.Rand) []float64 {
	x := slices.Clone(seed)
	scale := 0.3 * math.Exp(-6*r.Float64())
	share := 1.0
	if n := len(x); n > 2 && r.Float64() < 0.5 {
		share = 2 / float64(n)
	}
	for j, d := range q.axes.of {
		if x[j] == absent || r.Float64() > share {
			continue
		}
		switch {
		case d.unordered:
			if r.Float64() < 0.2 {
				x[j] = q.axes.draw(d, r)
			}
		default:
			s := scale
			if !d.smooth() {
				s = max(s, 1/float64(d.Size()))
			}
			x[j] = min(max(x[j]+s*r.NormFloat64(), 0), 1)
		}
	}
	return x
}

func (q acquisition) score(xs [][]float64) []scored {
	means, variances := q.m.Each(xs)
	out := make([]scored, len(xs))
	for i, x := range xs {
		v, _, _ := gp.LogImprovement(means[i], math.Sqrt(variances[i]), q.best)
		out[i] = scored{x, v}
	}
	return out
}

// climb follows the gradient of the coordinates that are numbers, then makes the point a
// possible one and tries its neighbours along the others.
func (q acquisition) climb(from scored, r *rand.Rand) scored {
	var moving []int
	for j, d := range q.axes.of {
		if _, fixed := q.fixed[d.Name]; !fixed && !d.unordered && from.x[j] != absent {
			moving = append(moving, j)
		}
	}
	fill := func(d axis) float64 { return q.axes.draw(d, r) }
	best := from
	if len(moving) > 0 {
		x := slices.Clone(from.x)
		dm, dv, g := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(moving))
		// x = (1 - cos θ)/2 keeps coordinates in their range.
		var memo []float64
		memoLoss := 0.0
		eval := func(theta []float64) float64 {
			if memo != nil && slices.Equal(memo, theta) {
				return memoLoss
			}
			for i, j := range moving {
				x[j] = (1 - math.Cos(theta[i])) / 2
			}
			mean, variance := q.m.Gradient(x, dm, dv)
			sd := math.Sqrt(variance)
			v, byMean, bySD := gp.LogImprovement(mean, sd, q.best)
			for i, j := range moving {
				g[i] = -(byMean*dm[j] + bySD*dv[j]/(2*sd)) * math.Sin(theta[i]) / 2
			}
			memo, memoLoss = append(memo[:0], theta...), -v
			return -v
		}
		start := make([]float64, len(moving))
		for i, j := range moving {
			start[i] = math.Acos(1 - 2*min(max(from.x[j], 0.002), 0.998))
		}
		result, _ := optimize.Minimize(optimize.Problem{
			Func: eval, Grad: func(grad, theta []float64) { eval(theta); copy(grad, g) },
		}, start, &optimize.Settings{FuncEvaluations: climbSteps, GradEvaluations: climbSteps, GradientThreshold: 1e-5,
			Converger: &optimize.FunctionConverge{Absolute: 1e-6, Iterations: 4}}, &optimize.BFGS{})
		if result != nil {
			eval(result.X)
			at := slices.Clone(x)
			q.axes.settle(at, q.fixed, fill)
			if s := q.score([][]float64{at})[0]; s.value > best.value {
				best = s
			}
		}
	}
	for range 4 { // neighbours
		var xs [][]float64
		for j, d := range q.axes.of {
			if _, fixed := q.fixed[d.Name]; fixed || best.x[j] == absent || d.smooth() {
				continue
			}
			for _, v := range d.neighbours(best.x[j]) {
				x := slices.Clone(best.x)
				x[j] = v
				q.axes.settle(x, q.fixed, fill)
				xs = append(xs, x)
			}
		}
		improved := false
		for _, s := range q.score(xs) {
			if s.value > best.value+1e-9 {
				best, improved = s, true
			}
		}
		if !improved {
			break
		}
	}
	return best
}
