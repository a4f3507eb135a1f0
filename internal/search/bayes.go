package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"ratchet/internal/research"
	"ratchet/internal/search/gp"
	"ratchet/study"
)

// Bounds on the work of a proposal.
const (
	mostExact  = 500 // observations that the model has; of more, a part
	mostFitted = 140 // observations to which its parameters are fitted
)

// observed is what a model is made of.
type observed struct {
	axes  axes
	x     [][]float64
	y     []float64 // lower is better
	noise []float64 // how much of one trial's noise each has
	worst int       // this many at the end have no value: they failed, and got the worst
}

// observe gathers the outcomes of experiments. One that has no value failed: it counts as
// the worst that had one.
func observe(a axes, known []*research.Experiment, o study.Objective) observed {
	obs := observed{axes: a}
	var failed [][]float64
	for _, x := range known {
		if x.Value == nil {
			failed = append(failed, a.point(x.Parameters))
			continue
		}
		y := *x.Value
		if o.Goal == study.Maximize {
			y = -y
		}
		obs.x = append(obs.x, a.point(x.Parameters))
		obs.y = append(obs.y, y)
		obs.noise = append(obs.noise, 1)
	}
	if len(obs.y) == 0 {
		return obs
	}
	worst := slices.Max(obs.y)
	for _, x := range failed {
		obs.x, obs.y, obs.noise = append(obs.x, x), append(obs.y, worst), append(obs.noise, 1)
	}
	obs.worst = len(failed)
	return obs
}

// thin keeps a number of observations: the better half of them the best there are, the rest
// spread evenly over the others.
func (o observed) thin(most int) observed {
	n := len(o.y)
	if n <= most {
		return o
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return o.y[order[i]] < o.y[order[j]] })
	kept := order[:most/2 : most/2]
	rest := order[most/2:]
	slices.Sort(rest)
	for i := range most - most/2 {
		kept = append(kept, rest[i*len(rest)/(most-most/2)])
	}
	slices.Sort(kept)
	t := observed{axes: o.axes}
	for _, i := range kept {
		t.x, t.y, t.noise = append(t.x, o.x[i]), append(t.y, o.y[i]), append(t.noise, o.noise[i])
		if i >= n-o.worst {
			t.worst++
		}
	}
	return t
}

// fitted are a model's parameters and the scale of its outcomes.
type fitted struct {
	h    gp.Hyper
	warp warp
}

// fit finds the parameters of a process that make the observations likely, from where an
// earlier fit ended.
func fit(o observed, start gp.Hyper) fitted {
	o = o.thin(mostFitted)
	metric := o.axes.metric()
	prior := gp.NewPrior(len(metric))
	l := gp.NewLikelihood(metric, o.x, o.noise, prior)
	evaluations := 12
	if len(start) != len(metric)+2 {
		start, evaluations = prior.Mode(len(metric)), 40
	}
	w := bestWarp(l, o.y, start)
	h, at := l.Fit(w.all(o.y), start, evaluations)
	if len(o.y) < 60 {
		if again, other := l.Fit(w.all(o.y), prior.Mode(len(metric)), 30); other > at {
			h = again
		}
	}
	if again := bestWarp(l, o.y, h); again != w {
		w = again
		h, _ = l.Fit(w.all(o.y), h, evaluations)
	}
	return fitted{h, w}
}

// bayes proposes what has the highest expected improvement under a Gaussian process.
// pending are configurations under way: the model takes its own expectation for their
// outcome (the kriging believer of Ginsbourger, Le Riche and Carraro, "Kriging Is
// Well-Suited to Parallelize Optimization", 2010). It returns the parameters of the model,
// from which the next fit begins.
func bayes(a axes, r *rand.Rand, known, pending []*research.Experiment, o study.Objective, fixed study.Params, start gp.Hyper) (study.Params, gp.Hyper) {
	obs := observe(a, known, o)
	f := fit(obs, start)
	obs = obs.thin(mostExact)
	z := f.warp.all(obs.y)
	metric := a.metric()
	m := gp.Condition(metric, obs.x, z, obs.noise, f.h)
	if m == nil {
		return a.random(r, fixed), nil
	}
	if len(pending) > 0 {
		x, noise := slices.Clone(obs.x), slices.Clone(obs.noise)
		for _, p := range pending {
			at := a.point(p.Parameters)
			mean, _ := m.At(at)
			x, z, noise = append(x, at), append(z, mean), append(noise, 1)
		}
		if believing := gp.Condition(metric, x, z, noise, f.h); believing != nil {
			m = believing
			obs.x = x
		}
	}
	acq := acquisition{axes: a, m: m, fixed: fixed, best: math.Inf(1)}
	means, _ := m.Each(obs.x)
	type incumbent struct {
		x    []float64
		mean float64
	}
	var incumbents []incumbent
	for i, x := range obs.x {
		x = slices.Clone(x)
		p := a.settle(x, fixed, func(axis) float64 { return r.Float64() })
		if !slices.Equal(x, obs.x[i]) {
			continue // another arm's
		}
		_ = p
		incumbents = append(incumbents, incumbent{x, means[i]})
		acq.best = min(acq.best, means[i])
	}
	sort.SliceStable(incumbents, func(i, j int) bool { return incumbents[i].mean < incumbents[j].mean })
	var seeds [][]float64
	for _, i := range incumbents[:min(len(incumbents), 5)] {
		seeds = append(seeds, i.x)
	}
	if len(seeds) == 0 { // nothing of this arm is known: the best of all, made to fit
		at := slices.Clone(obs.x[slices.Index(means, slices.Min(means[:len(obs.y)]))])
		a.settle(at, fixed, func(axis) float64 { return r.Float64() })
		seeds = append(seeds, at)
		acq.best, _ = m.At(at)
	}
	return acq.maximize(r, seeds), f.h
}
