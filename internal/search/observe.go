package search

import (
	"slices"
	"sort"

	"ratchet/internal/research"
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

// add adds an outcome y of the point x, the mean of parts.
func (o *observed) add(x []float64, y float64, parts []float64) {
	o.x, o.y, o.noise, o.parts = append(o.x, x), append(o.y, y), append(o.noise, 1), append(o.parts, parts)
}

// observe gathers the outcomes of experiments. One that has no value failed: it counts as
// the worst that had one. Of a trial that was stopped early it is the value at the last step
// at which it was compared; that of one that was not has the value at the first as well, so
// that the model knows how the two go together (Kandasamy et al., "Multi-Fidelity Bayesian
// Optimisation with Continuous Approximations", ICML 2017).
func (q query) observe() observed {
	obs := observed{axes: q.axes}
	step := slices.IndexFunc(q.axes.of, func(d axis) bool { return d.given && !d.unordered })
	var failed [][]float64
	for _, x := range q.known {
		if x.Outside {
			continue
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
				obs.add(early, q.lower(v), nil)
			}
		}
		obs.add(at, q.lower(v), parts)
	}
	if len(obs.y) == 0 {
		return obs
	}
	if len(q.s.Prior) > 0 && q.axes.of[len(q.axes.of)-1].given {
		obs.without = q.learn(&obs)
	}
	worst := slices.Max(obs.y)
	for _, x := range failed {
		obs.add(x, worst, nil)
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
