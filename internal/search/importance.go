package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"ratchet/internal/research"
	"ratchet/internal/search/gp"
)

// Importance is how much of the variance of the objective over the whole space, as a model of
// all outcomes has it, a parameter explains.
type Importance struct {
	Parameter string `json:"parameter"`
	// Share is what it explains on its own, from 0 to 1 (a first-order Sobol index); between
	// Low and High it is in 14 of 16 models of outcomes drawn again.
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Total is what it explains on its own and together with others.
	Total float64 `json:"total"`
	// With are the parameters with which it explains more than both do on their own, the
	// most first.
	With []Together `json:"with,omitempty"`
	N    int        `json:"n"` // experiments with a value in which the parameter exists
}

// Together is what two parameters explain beyond what each does.
type Together struct {
	Parameter string  `json:"parameter"`
	Share     float64 `json:"share"`
}

// Work of the importances.
const (
	importancePoints = 1200
	againPoints      = 250 // for models of outcomes drawn again
	importanceModels = 16  // of outcomes drawn again
	importanceMost   = 150 // outcomes that a model has
	importancePairs  = 5   // parameters of which pairs are looked at
	leastTogether    = 0.01
)

// Importances are the shares of the parameters, most important first, by the functional
// analysis of variance of a Gaussian process's mean (Hutter, Hoos and Leyton-Brown, "An
// Efficient Approach for Assessing Hyperparameter Importance", ICML 2014, who took a forest),
// estimated by drawing one parameter again and leaving the others (Saltelli et al., "Variance
// Based Sensitivity Analysis of Model Output", Computer Physics Communications 181, 2010,
// table 2). They are of the objective as it
// is, and of the space, not of the experiments, which a search crowds where it is
// good. Where there are too few outcomes for a model, all shares are 0.
func Importances(s *research.State) []Importance {
	st := s.Created.Study
	var out []Importance
	if len(st.Parameters) == 0 {
		return nil
	}
	q := query{s: s, st: st, axes: newAxes(st.Parameters), known: s.Experiments, index: len(s.Experiments), r: newRand(s.Created.Seed, "importance")}
	if st.Search.Stops() != "" {
		q.axes, q.steps = q.axes.withSteps(), q.reachedSteps()
	}
	obs := q.observe()
	n := len(obs.y) - obs.worst
	obs.x, obs.y, obs.noise, obs.parts, obs.worst = obs.x[:n], obs.y[:n], obs.noise[:n], obs.parts[:n], 0
	for _, d := range st.Parameters {
		i := Importance{Parameter: d.Name}
		for _, x := range q.known {
			_, _, valued := q.deepest(x)
			if _, ok := x.Parameters[d.Name]; ok && valued {
				i.N++
			}
		}
		out = append(out, i)
	}
	if n < max(5, len(st.Parameters)+2) || slices.Min(obs.y) == slices.Max(obs.y) {
		return out
	}
	obs = obs.thin(importanceMost)
	f := fit(obs, nil, plain)
	z := f.warp.all(obs.y)
	sample, smaller := newSample(q.axes, q.r, importancePoints), newSample(q.axes, q.r, againPoints)
	whole := gp.Condition(q.axes.metric(), obs.x, z, obs.noise, f.h)
	share, total := sample.indices(whole)
	draws := make([][]float64, len(out))
	for range importanceModels {
		x, y, noise := drawAgain(obs.x, z, obs.noise, q.r)
		shares, _ := smaller.indices(gp.Condition(q.axes.metric(), x, y, noise, f.h))
		for j, v := range shares[:len(out)] {
			draws[j] = append(draws[j], v)
		}
	}
	for j := range out {
		out[j].Share, out[j].Total = share[j], max(share[j], total[j])
		if d := draws[j]; len(d) > 0 {
			slices.Sort(d)
			out[j].Low, out[j].High = min(share[j], d[1]), max(share[j], d[len(d)-2])
		}
	}
	sample.pairs(whole, out)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Share > out[j].Share })
	return out
}

// drawAgain draws as many observations from those there are; one that is drawn twice counts
// as one with half the noise.
func drawAgain(x [][]float64, y, noise []float64, r *rand.Rand) (ax [][]float64, ay, an []float64) {
	times := make([]int, len(x))
	for range x {
		times[r.IntN(len(x))]++
	}
	for i, n := range times {
		if n > 0 {
			ax, ay, an = append(ax, x[i]), append(ay, y[i]), append(an, noise[i]/float64(n))
		}
	}
	return ax, ay, an
}

// sample are two sets of points of the space, of which coordinates are exchanged.
type sample struct {
	axes axes
	a, b [][]float64
}

func newSample(a axes, r *rand.Rand, n int) sample {
	s := sample{axes: a}
	for range n {
		p, q := make([]float64, len(a.of)), make([]float64, len(a.of))
		for j, d := range a.of {
			p[j], q[j] = d.draw(r), d.draw(r)
		}
		s.a, s.b = append(s.a, p), append(s.b, q)
	}
	return s
}

// means are a model's at points, made possible ones.
func (s sample) means(m *gp.Model, points [][]float64) []float64 {
	out := make([]float64, len(points))
	for i, x := range points {
		x = slices.Clone(x)
		s.axes.settle(x, nil, func(axis) float64 { return 0.5 })
		out[i] = m.Mean(x)
	}
	return out
}

// mixed are the points a with the coordinates from b for which take says so.
func (s sample) mixed(take func(j int) bool) [][]float64 {
	out := make([][]float64, len(s.a))
	for i := range out {
		out[i] = slices.Clone(s.a[i])
		for j := range out[i] {
			if take(j) {
				out[i][j] = s.b[i][j]
			}
		}
	}
	return out
}

// indices are the first-order and the total Sobol indices of a model's mean, by coordinate.
func (s sample) indices(m *gp.Model) (share, total []float64) {
	share, total = make([]float64, len(s.axes.of)), make([]float64, len(s.axes.of))
	if m == nil {
		return share, total
	}
	fa, fb := s.means(m, s.a), s.means(m, s.b)
	variance := varianceOf(slices.Concat(fa, fb))
	if variance <= 0 {
		return share, total
	}
	for j := range share {
		fab := s.means(m, s.mixed(func(k int) bool { return k == j }))
		for i := range fa {
			d := fb[i] - fab[i]
			e := fa[i] - fab[i]
			share[j] -= d * d // Jansen's estimators, those of the smallest variance
			total[j] += e * e
		}
		n := 2 * float64(len(fa)) * variance
		share[j], total[j] = min(max(1+share[j]/n, 0), 1), min(total[j]/n, 1)
	}
	return share, total
}

// pairs adds what pairs of the parameters that matter most explain together.
func (s sample) pairs(m *gp.Model, of []Importance) {
	if m == nil {
		return
	}
	order := make([]int, len(of))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return of[order[i]].Total > of[order[j]].Total })
	order = order[:min(len(order), importancePairs)]
	fa, fb := s.means(m, s.a), s.means(m, s.b)
	variance := varianceOf(slices.Concat(fa, fb))
	if variance <= 0 {
		return
	}
	for at, i := range order {
		for _, j := range order[at+1:] {
			fab := s.means(m, s.mixed(func(k int) bool { return k == i || k == j }))
			sum := 0.0
			for k := range fb {
				sum += (fb[k] - fab[k]) * (fb[k] - fab[k])
			}
			v := 1 - sum/(2*float64(len(fb))*variance) - of[i].Share - of[j].Share
			if v < leastTogether || math.IsNaN(v) {
				continue
			}
			of[i].With = append(of[i].With, Together{of[j].Parameter, v})
			of[j].With = append(of[j].With, Together{of[i].Parameter, v})
		}
	}
	for i := range of {
		sort.SliceStable(of[i].With, func(a, b int) bool { return of[i].With[a].Share > of[i].With[b].Share })
	}
}

func varianceOf(x []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range x {
		sum += v
	}
	mean := sum / float64(len(x))
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return squares / float64(len(x))
}
