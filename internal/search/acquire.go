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

// acquisition looks for the point of which the most is expected.
type acquisition struct {
	axes  axes
	of    criterion
	fixed study.Params
	tried func(study.Params) bool
	again bool // what was tried may be tried again
	r     *rand.Rand
}

// criterion says how much is expected of points, as a logarithm.
type criterion interface {
	each(xs [][]float64) []float64
	// slope is that of one point, and sets its derivatives by the coordinates that are numbers.
	slope(x, gradient []float64) float64
}

// Work of a maximisation.
const (
	candidates = 300 // looked at in all
	climbs     = 4   // begun from the best of them
	climbSteps = 25
)

// advantage is by how much more, as a logarithm, a new configuration must be worth than one
// that is measured again.
const advantage = 0.1

type scored struct {
	x     []float64
	value float64
}

// maximize looks at points all over the space and near the seeds, and climbs from the best.
// It gives the best of all that it met that was not tried, or is worth it to be tried again;
// false: all were.
func (q acquisition) maximize(seeds [][]float64) (p study.Params, x []float64, ok bool) {
	var xs [][]float64
	for range candidates / 2 {
		x := make([]float64, len(q.axes.of))
		for j, d := range q.axes.of {
			x[j] = d.draw(q.r)
		}
		xs = append(xs, x)
	}
	for i := range candidates / 2 {
		xs = append(xs, q.near(seeds[i%len(seeds)]))
	}
	for _, x := range xs {
		q.settle(x)
	}
	pool := q.score(xs)
	best(pool)
	for _, from := range pool[:min(climbs, len(pool))] {
		pool = append(pool, q.climb(from)...)
	}
	if q.again {
		// What was tried has the advantage where it is worth about as much.
		again := q.score(seeds)
		for i := range again {
			again[i].value += advantage
		}
		pool = append(pool, again...)
	}
	best(pool)
	for _, c := range pool {
		if p := q.settle(c.x); q.again || !q.tried(p) {
			return p, c.x, true
		}
	}
	return nil, nil, false
}

// best sorts points, the best first.
func best(pool []scored) {
	sort.SliceStable(pool, func(i, j int) bool { return pool[i].value > pool[j].value })
}

func (q acquisition) settle(x []float64) study.Params {
	return q.axes.settle(x, q.fixed, func(d axis) float64 { return d.draw(q.r) })
}

// draw is a coordinate at random.
func (d axis) draw(r *rand.Rand) float64 {
	if d.unordered {
		return float64(r.IntN(len(d.Values)))
	}
	return r.Float64()
}

// near is a point that differs from another in some coordinates, by a distance of any order
// of magnitude.
func (q acquisition) near(seed []float64) []float64 {
	r := q.r
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
				x[j] = d.draw(r)
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
	out := make([]scored, len(xs))
	for i, v := range q.of.each(xs) {
		out[i] = scored{xs[i], v}
	}
	return out
}

// climb follows the gradient of the coordinates that are numbers, then makes the point a
// possible one and tries its neighbours along the others. It gives all that it met.
func (q acquisition) climb(from scored) (met []scored) {
	at := from
	if x := q.ascend(from.x); x != nil {
		q.settle(x)
		s := q.score([][]float64{x})[0]
		if met = append(met, s); s.value > at.value {
			at = s
		}
	}
	for range 4 {
		var xs [][]float64
		for j, d := range q.axes.of {
			if _, fixed := q.fixed[d.Name]; fixed || at.x[j] == absent || d.smooth() {
				continue
			}
			for _, v := range d.neighbours(at.x[j]) {
				x := slices.Clone(at.x)
				x[j] = v
				q.settle(x)
				xs = append(xs, x)
			}
		}
		around := q.score(xs)
		met = append(met, around...)
		best(around)
		if len(around) == 0 || around[0].value <= at.value+1e-9 {
			break
		}
		at = around[0]
	}
	return met
}

// ascend follows the gradient from a point; nil: no coordinate moves.
func (q acquisition) ascend(from []float64) []float64 {
	var moving []int
	for j, d := range q.axes.of {
		if _, fixed := q.fixed[d.Name]; !fixed && !d.unordered && from[j] != absent {
			moving = append(moving, j)
		}
	}
	if len(moving) == 0 {
		return nil
	}
	x := slices.Clone(from)
	slopes := make([]float64, len(x))
	// x = (1 - cos θ)/2 keeps a coordinate in its range, and reaches its ends.
	move := func(theta []float64) {
		for i, j := range moving {
			x[j] = (1 - math.Cos(theta[i])) / 2
		}
	}
	start := make([]float64, len(moving))
	for i, j := range moving {
		start[i] = math.Acos(1 - 2*min(max(from[j], 0.002), 0.998)) // at an end the gradient is 0
	}
	end := gp.Minimize(func(theta, gradient []float64) float64 {
		move(theta)
		v := q.of.slope(x, slopes)
		for i, j := range moving {
			gradient[i] = -slopes[j] * math.Sin(theta[i]) / 2
		}
		return -v
	}, start, optimize.Settings{
		FuncEvaluations: climbSteps, GradientThreshold: 1e-5,
		Converger: &optimize.FunctionConverge{Absolute: 1e-6, Iterations: 4},
	})
	if end == nil {
		return nil
	}
	move(end)
	return x
}
