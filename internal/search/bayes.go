package search

import (
	"math"
	"slices"

	"ratchet/internal/research"
	"ratchet/internal/search/gp"
	"ratchet/study"
)

// Bounds on the work of a proposal.
const (
	mostExact  = 500 // observations that the model has; of more, a part
	mostFitted = 140 // observations to which its parameters are fitted
)

// fitted are a model's parameters and the scale of its outcomes.
type fitted struct {
	h    gp.Hyper
	warp warp
}

// fit finds the parameters of a process that make the observations likely, from where an
// earlier fit ended, and the scale on which they are, of those that scale gives.
func fit(o observed, start gp.Hyper, scale func(*gp.Likelihood, []float64, gp.Hyper) warp) fitted {
	o = o.thin(mostFitted)
	metric := o.axes.metric()
	prior := gp.NewPrior(len(metric))
	l := gp.NewLikelihood(metric, o.x, o.noise, prior)
	measure := func(w warp) {
		if v, ok := o.vary(w); ok {
			prior.Noise = gp.Normal{Mean: math.Log(max(v, 1e-8)), SD: 0.5}
			l.Prior(prior)
		}
	}
	evaluations := 12
	if len(start) != len(metric)+2 {
		start, evaluations = prior.Mode(len(metric)), 40
	}
	w := scale(l, o.y, start)
	measure(w)
	h, at := l.Fit(w.all(o.y), start, evaluations)
	if len(o.y) < 60 {
		if again, other := l.Fit(w.all(o.y), prior.Mode(len(metric)), 30); other > at {
			h = again
		}
	}
	if again := scale(l, o.y, h); again != w {
		w = again
		measure(w)
		h, _ = l.Fit(w.all(o.y), h, evaluations)
	}
	return fitted{h, w}
}

// conditioned is a process that knows what was observed, with its parameters and the
// observations that it has; nil: there is none.
type conditioned struct {
	fitted
	obs observed
	m   *gp.Model
}

// condition fits a process to observations, from where an earlier fit ended, on one of the
// scales that scale gives.
func condition(obs observed, start gp.Hyper, scale func(*gp.Likelihood, []float64, gp.Hyper) warp) conditioned {
	f := fit(obs, start, scale)
	obs = obs.thin(mostExact)
	obs.vary(f.warp)
	return conditioned{f, obs, gp.Condition(obs.axes.metric(), obs.x, f.warp.all(obs.y), obs.noise, f.h)}
}

// believe has the process take its own expectation for the outcomes of what is under way (the
// kriging believer of Ginsbourger, Le Riche and Carraro, "Kriging Is Well-Suited to
// Parallelize Optimization", 2010).
func (c *conditioned) believe(pending []*research.Experiment) {
	if len(pending) == 0 {
		return
	}
	x, z, noise := slices.Clone(c.obs.x), c.warp.all(c.obs.y), slices.Clone(c.obs.noise)
	for _, p := range pending {
		at := c.obs.axes.point(p.Parameters)
		x, z, noise = append(x, at), append(z, c.m.Mean(at)), append(noise, 1)
	}
	if believing := gp.Condition(c.obs.axes.metric(), x, z, noise, c.h); believing != nil {
		c.m, c.obs.x = believing, x
	}
}

// bayes proposes what has the highest expected improvement under a Gaussian process.
// What was learned in other arms counts. by gets the parameters of the model, from which the
// next fit begins, and what is expected.
func (q query) bayes(by *research.Proposer) (study.Params, bool) {
	f := condition(q.obs, q.last(), bestWarp)
	if f.m == nil {
		return nil, false
	}
	f.believe(q.pending)
	obs, m := f.obs, f.m
	of := &improvement{m: m, noise: f.h.Noise()}
	if of.noise < leastRepeated {
		of.noise = 0
	}
	acq := acquisition{axes: q.axes, of: of, fixed: q.fixed, tried: q.s.Tried, again: of.noise > 0, r: q.r}
	// The best of the arm as the model has them: what noise made of them does not count.
	means, variances := m.Each(obs.x)
	var seeds []scored
	for i, x := range obs.x {
		at := slices.Clone(x)
		if acq.settle(at); slices.Equal(at, x) {
			seeds = append(seeds, scored{at, -of.quantile(means[i], math.Sqrt(variances[i]))})
		}
	}
	if len(seeds) == 0 { // nothing of this arm is known: the best of all, made to fit
		at := slices.Clone(obs.x[slices.Index(means, slices.Min(means))])
		acq.settle(at)
		mean, variance := m.At(at)
		seeds = append(seeds, scored{at, -of.quantile(mean, math.Sqrt(variance))})
	}
	best(seeds)
	of.best = -seeds[0].value
	var near [][]float64
	for _, s := range seeds[:min(len(seeds), 5)] {
		near = append(near, s.x)
	}
	p, x, ok := acq.maximize(near)
	by.Model, by.Without = rounded(f.h), q.obs.without
	if ok {
		mean, variance := m.At(x)
		gain := f.warp.gain(mean, math.Sqrt(variance), of.best)
		if !math.IsInf(gain, 0) && !math.IsNaN(gain) {
			by.Gain = &gain
		}
	}
	return p, ok
}

// Choose is the experiment that is best by a model of all outcomes: the one of which the model
// holds a quantile of the function to be lowest. What luck did to one experiment, the others
// around it tell. "" : none has a value, or none keeps to the constraints. Where there is no
// noise, or no model, it is the best by its mean. Of several objectives it is the best
// compromise, with the front to be validated.
func Choose(s *research.State) (id string, front []string) {
	if s.Created.Study.Several() {
		if front = chooseFront(s); len(front) > 0 {
			id = front[0]
		}
		return id, front
	}
	return chooseOne(s), nil
}

func chooseOne(s *research.State) string {
	id := ""
	if x := s.Best(); x != nil {
		id = x.Experiment
	}
	q := whole(s)
	if id == "" || q.valued() < q.startup() {
		return id
	}
	q.obs = q.observe()
	f := condition(q.obs, q.last(), bestWarp)
	m := f.m
	if m == nil || f.h.Noise() < leastRepeated {
		return id
	}
	of := improvement{noise: f.h.Noise()}
	least := math.Inf(1)
	for _, x := range s.Experiments {
		if x.Value == nil || x.Repeats != "" || x.Outside || s.Excess(x) > 0 {
			continue
		}
		mean, variance := m.At(q.axes.point(x.Parameters))
		if v := of.quantile(mean, math.Sqrt(variance)); v < least {
			id, least = x.Experiment, v
		}
	}
	return id
}

// leastRepeated is the variance of noise, as a part of that of the outcomes, from which on a
// configuration may be tried again.
const leastRepeated = 1e-3

// rounded keeps what a later fit needs of parameters to begin there.
func rounded(h gp.Hyper) gp.Hyper {
	out := make(gp.Hyper, len(h))
	for i, v := range h {
		out[i] = math.Round(v*1e4) / 1e4
	}
	return out
}
