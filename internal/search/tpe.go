package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"ratchet/study"
)

// The tree-structured Parzen estimator of Bergstra, Bardenet, Bengio and Kégl, "Algorithms
// for Hyper-Parameter Optimization", NeurIPS 2011, section 4, over all parameters at once,
// with the choices that Watanabe found to matter ("Tree-Structured Parzen Estimator:
// Understanding Its Algorithm Components and Their Roles for Better Empirical Performance",
// 2023): one kernel for all parameters of an experiment, how many are good, how wide kernels
// are at least.
const (
	tpeCandidates = 24 // drawn from the good ones' density
	tpeMostGood   = 25
	// tpeMostBad bounds the work of a proposal: of more bad experiments, a
	// part that is spread evenly over their order is used.
	tpeMostBad = 400
)

// tpe draws candidates where good experiments are dense and takes the one for
// which the ratio of the good ones' density to the bad ones' is highest.
func (o observed) tpe(r *rand.Rand, fixed study.Params) study.Params {
	good, bad := o.split()
	a := o.axes
	g, b := newParzen(a, good), newParzen(a, bad)
	var best study.Params
	bestScore := math.Inf(-1)
	for range tpeCandidates {
		x := g.draw(r)
		p := a.settle(x, fixed, func(d axis) float64 { return d.draw(r) })
		if score := g.logDensity(x) - b.logDensity(x); score > bestScore {
			best, bestScore = p, score
		}
	}
	return best
}

// split sorts what is known into good and bad, the best first. Those without a value are
// bad.
func (o observed) split() (good, bad [][]float64) {
	order := make([]int, len(o.y))
	for i := range order {
		order[i] = i
	}
	valued := len(order) - o.worst
	sort.SliceStable(order[:valued], func(i, j int) bool { return o.y[order[i]] < o.y[order[j]] })
	n := min(int(math.Ceil(max(0.1*float64(valued), math.Sqrt(float64(valued))))), tpeMostGood, valued)
	for i, k := range order {
		if i < n {
			good = append(good, o.x[k])
		} else {
			bad = append(bad, o.x[k])
		}
	}
	if len(bad) > tpeMostBad {
		thin := make([][]float64, tpeMostBad)
		for i := range thin {
			thin[i] = bad[i*len(bad)/tpeMostBad]
		}
		bad = thin
	}
	return good, bad
}

// parzen is a mixture of densities over points: one around each observation, and one over
// the whole space, the prior. A coordinate that an observation does not have is as in the
// prior.
type parzen struct {
	axes  axes
	x     [][]float64
	width []float64 // of each axis: of a number's kernel; the chance of another value of a choice
	mass  [][]float64
}

func newParzen(a axes, x [][]float64) parzen {
	k := parzen{axes: a, x: x}
	n := float64(len(x))
	for j, d := range a.of {
		if d.unordered {
			c := float64(len(d.Values))
			k.width = append(k.width, (c-1)/(n+c))
			continue
		}
		var at []float64
		for _, p := range x {
			if p[j] != absent {
				at = append(at, p[j])
			}
		}
		// Scott's rule, with the spread of all observations and the prior.
		w := spread(at) * math.Pow(n+1, -1/float64(len(a.of)+4))
		least := 1 / min(100, n+1)
		if size := d.Size(); size > 0 {
			least = max(least, 0.5/float64(size))
		}
		k.width = append(k.width, min(max(w, least), 1))
	}
	for _, p := range x {
		mass := make([]float64, len(p))
		for j, v := range p {
			mass[j] = normal((1-v)/k.width[j]) - normal(-v/k.width[j])
		}
		k.mass = append(k.mass, mass)
	}
	return k
}

// spread is the standard deviation of coordinates, of which one more is the middle.
func spread(x []float64) float64 {
	sum, squares, n := 0.5, 0.25, 1.0
	for _, v := range x {
		sum, squares, n = sum+v, squares+v*v, n+1
	}
	return math.Sqrt(max(squares/n-sum/n*sum/n, 0))
}

// draw is a point of the mixture.
func (k parzen) draw(r *rand.Rand) []float64 {
	x := make([]float64, len(k.axes.of))
	i := r.IntN(len(k.x) + 1)
	for j, d := range k.axes.of {
		switch {
		case i == len(k.x) || k.x[i][j] == absent:
			x[j] = d.draw(r)
		case d.unordered:
			x[j] = k.x[i][j]
			if r.Float64() < k.width[j] {
				if x[j] = float64(r.IntN(len(d.Values) - 1)); x[j] >= k.x[i][j] {
					x[j]++
				}
			}
		default:
			x[j] = -1
			for try := 0; (x[j] < 0 || x[j] > 1) && try < 100; try++ {
				x[j] = k.x[i][j] + k.width[j]*r.NormFloat64()
			}
			x[j] = min(max(x[j], 0), 1)
		}
	}
	return x
}

func (k parzen) logDensity(x []float64) float64 {
	logs := make([]float64, 0, len(k.x)+1)
	prior := 0.0
	for j, d := range k.axes.of {
		if d.unordered && x[j] != absent {
			prior -= math.Log(float64(len(d.Values)))
		}
	}
	logs = append(logs, prior)
	for i, p := range k.x {
		sum := 0.0
		for j, d := range k.axes.of {
			switch w := k.width[j]; {
			case x[j] == absent:
			case d.unordered && p[j] == absent:
				sum -= math.Log(float64(len(d.Values)))
			case p[j] == absent:
			case d.unordered && p[j] == x[j]:
				sum += math.Log(1 - w)
			case d.unordered:
				sum += math.Log(w / float64(len(d.Values)-1))
			default:
				z := (x[j] - p[j]) / w
				sum -= z*z/2 + math.Log(w*math.Sqrt(2*math.Pi)*k.mass[i][j])
			}
		}
		logs = append(logs, sum)
	}
	most := slices.Max(logs)
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum/float64(len(logs)))
}

// normal is the standard normal distribution function.
func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }
