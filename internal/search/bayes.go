package search

import (
	"math"
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
	y     []float64   // lower is better
	noise []float64   // by which the noise of each differs
	parts [][]float64 // of each: the values that y is the mean of
	// without are sources of earlier outcomes that disagree with this run's.
	without []string
	worst   int // this many at the end have no value: they failed, and got the worst
}

// observe gathers the outcomes of experiments. One that has no value failed: it counts as
// the worst that had one. Of a trial that was stopped early it is the value at the last step
// at which it was compared; that of one that was not has the value at the first as well, so
// that the model knows how the two go together (Kandasamy et al., "Multi-Fidelity Bayesian
// Optimisation with Continuous Approximations", ICML 2017).
func (q query) observe() observed {
	obs := observed{axes: q.axes}
	step := slices.IndexFunc(q.axes.of, func(d axis) bool { return d.given && !d.unordered })
	add := func(x []float64, y float64, parts []float64) {
		obs.x, obs.y, obs.noise, obs.parts = append(obs.x, x), append(obs.y, y), append(obs.noise, 1), append(obs.parts, parts)
	}
	var failed [][]float64
	for _, x := range q.known {
		if _, why := q.st.Fit(x.Parameters); why != "" {
			continue // of before a fork that changed the space
		}
		at := q.axes.point(x.Parameters)
		v, way, ok := q.deepest(x)
		if !ok {
			failed = append(failed, at)
			continue
		}
		var parts []float64
		for _, t := range x.Trials {
			if v, ok := t.Metrics()[q.st.Objective.Metric]; ok && t.Purpose == research.ForSearch && x.Value != nil {
				parts = append(parts, q.lower(v))
			}
		}
		if step >= 0 && len(q.steps) > 0 {
			at[step] = way
			if v, ok := atRung(x, q.steps[0]); ok && way == 1 {
				early := slices.Clone(at)
				early[step] = 1 / float64(len(q.steps)+1)
				add(early, q.lower(v), nil)
			}
		}
		add(at, q.lower(v), parts)
	}
	if len(obs.y) == 0 {
		return obs
	}
	if len(q.s.Prior) > 0 && q.axes.of[len(q.axes.of)-1].given {
		obs.without = q.learn(&obs)
	}
	worst := slices.Max(obs.y)
	for _, x := range failed {
		add(x, worst, nil)
	}
	obs.worst = len(failed)
	return obs
}

// deepest is the value of an experiment as far as it got, and how far that is: 1 is the end.
func (q query) deepest(x *research.Experiment) (value, way float64, ok bool) {
	if x.Value != nil {
		return *x.Value, 1, true
	}
	for k := len(q.steps) - 1; k >= 0; k-- {
		if v, ok := atRung(x, q.steps[k]); ok {
			return v, float64(k+1) / float64(len(q.steps)+1), true
		}
	}
	return 0, 0, false
}

// reached are the values at a step of the known experiments that got there.
func (q query) reached(step int) (values []float64) {
	for _, x := range q.known {
		if v, ok := atRung(x, step); ok {
			values = append(values, v)
		}
	}
	return values
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
	kept := order[: most/2 : most/2]
	rest := order[most/2:]
	slices.Sort(rest)
	for i := range most - most/2 {
		kept = append(kept, rest[i*len(rest)/(most-most/2)])
	}
	slices.Sort(kept)
	t := observed{axes: o.axes}
	for _, i := range kept {
		t.x, t.y, t.noise, t.parts = append(t.x, o.x[i]), append(t.y, o.y[i]), append(t.noise, o.noise[i]), append(t.parts, o.parts[i])
		if i >= n-o.worst {
			t.worst++
		}
	}
	return t
}

// vary gives the variance of the mean of an experiment's trials on a scale, and sets by what
// that of each differs: the variance within each, drawn towards that within all as if four
// more trials of each were known. false: no experiment has several trials.
func (o observed) vary(w warp) (float64, bool) {
	const drawn = 4
	within := make([]float64, len(o.parts))
	sum, freedom, trials := 0.0, 0, 0
	for i, parts := range o.parts {
		if len(parts) < 2 {
			continue
		}
		z := w.all(parts)
		mean := 0.0
		for _, v := range z {
			mean += v / float64(len(z))
		}
		for _, v := range z {
			within[i] += (v - mean) * (v - mean)
		}
		sum += within[i]
		freedom += len(parts) - 1
		trials = len(parts)
	}
	if freedom == 0 {
		return 0, false
	}
	all := sum / float64(freedom)
	for i, parts := range o.parts {
		o.noise[i] = 1
		if len(parts) > 1 && all > 0 {
			o.noise[i] = (within[i]/all + drawn) / float64(len(parts)-1+drawn)
		}
	}
	return all / float64(trials), true
}

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

// bayes proposes what has the highest expected improvement under a Gaussian process.
// pending are configurations under way: the model takes its own expectation for their
// outcome (the kriging believer of Ginsbourger, Le Riche and Carraro, "Kriging Is
// Well-Suited to Parallelize Optimization", 2010). What was learned in other arms counts.
// by gets the parameters of the model, from which the next fit begins, and what is expected.
func (q query) bayes(by *research.Proposer) (study.Params, bool) {
	f := fit(q.obs, q.last(), bestWarp)
	obs := q.obs.thin(mostExact)
	z := f.warp.all(obs.y)
	metric := q.axes.metric()
	m := gp.Condition(metric, obs.x, z, obs.noise, f.h)
	if m == nil {
		return nil, false
	}
	if len(q.pending) > 0 {
		x, noise := slices.Clone(obs.x), slices.Clone(obs.noise)
		for _, p := range q.pending {
			at := q.axes.point(p.Parameters)
			mean, _ := m.At(at)
			x, z, noise = append(x, at), append(z, mean), append(noise, 1)
		}
		if believing := gp.Condition(metric, x, z, noise, f.h); believing != nil {
			m, obs.x = believing, x
		}
	}
	acq := acquisition{axes: q.axes, m: m, fixed: q.fixed, tried: q.s.Tried, r: q.r, noise: f.h.Noise()}
	if acq.noise < leastRepeated {
		acq.noise = 0
	}
	// The best of the arm as the model has them: what noise made of them does not count.
	means, variances := m.Each(obs.x)
	var seeds []scored
	for i, x := range obs.x {
		at := slices.Clone(x)
		if acq.settle(at); slices.Equal(at, x) {
			seeds = append(seeds, scored{at, -acq.quantile(means[i], math.Sqrt(variances[i]))})
		}
	}
	if len(seeds) == 0 { // nothing of this arm is known: the best of all, made to fit
		at := slices.Clone(obs.x[slices.Index(means, slices.Min(means))])
		acq.settle(at)
		mean, variance := m.At(at)
		seeds = append(seeds, scored{at, -acq.quantile(mean, math.Sqrt(variance))})
	}
	best(seeds)
	acq.best = -seeds[0].value
	var near [][]float64
	for _, s := range seeds[:min(len(seeds), 5)] {
		near = append(near, s.x)
	}
	p, x, ok := acq.maximize(near)
	by.Model, by.Without = rounded(f.h), q.obs.without
	if ok {
		mean, variance := m.At(x)
		gain := f.warp.gain(mean, math.Sqrt(variance), acq.best)
		by.Gain = &gain
	}
	return p, ok
}

// Choose is the experiment that is best by a model of all outcomes: the one of which the model
// holds a quantile of the function to be lowest. What luck did to one experiment, the others
// around it tell. "" : none has a value. Where there is no noise, or no model, it is the best
// by its mean.
func Choose(s *research.State) string {
	id := ""
	if x := s.Best(); x != nil {
		id = x.Experiment
	}
	q := query{s: s, st: s.Created.Study, axes: newAxes(s.Created.Study.Parameters), known: s.Experiments, index: len(s.Experiments)}
	if id == "" || q.valued() < q.startup() {
		return id
	}
	q.obs = q.observe()
	f := fit(q.obs, q.last(), bestWarp)
	obs := q.obs.thin(mostExact)
	m := gp.Condition(q.axes.metric(), obs.x, f.warp.all(obs.y), obs.noise, f.h)
	if m == nil || f.h.Noise() < leastRepeated {
		return id
	}
	acq := acquisition{noise: f.h.Noise()}
	least := math.Inf(1)
	for _, x := range s.Experiments {
		if _, why := q.st.Fit(x.Parameters); x.Value == nil || x.Repeats != "" || why != "" {
			continue
		}
		mean, variance := m.At(q.axes.point(x.Parameters))
		if v := acq.quantile(mean, math.Sqrt(variance)); v < least {
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
