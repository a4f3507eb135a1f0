package search

import (
	"math"
	"slices"

	"ratchet/internal/research"
	"ratchet/internal/search/gp"
	"ratchet/internal/search/pareto"
	"ratchet/study"
)

// weighed is what is known where several metrics say how good a configuration is.
type weighed struct {
	experiments []*research.Experiment // that have all values
	points      [][]float64
	values      [][]float64 // of each experiment: the objectives, lower is better
	goals       []observed  // of each objective; what failed got the worst
	limits      []observed  // of each constraint, as it is
}

// weigh gathers the outcomes of experiments, by each metric.
func (q query) weigh() (w weighed) {
	var failed [][]float64
	for _, x := range q.known {
		switch at := q.axes.point(x.Parameters); {
		case x.Outside:
		case x.Value == nil:
			failed = append(failed, at)
		default:
			w.experiments, w.points = append(w.experiments, x), append(w.points, at)
		}
	}
	of := func(metric string, turn func(float64) float64) observed {
		obs := observed{axes: q.axes}
		for i, x := range w.experiments {
			var parts []float64
			for _, t := range x.Trials {
				if v, ok := t.Metrics()[metric]; ok && t.Purpose == research.ForSearch {
					parts = append(parts, turn(v))
				}
			}
			obs.add(w.points[i], turn(x.Means[metric]), parts)
		}
		return obs
	}
	w.values = make([][]float64, len(w.experiments))
	for _, o := range q.st.Goals() {
		obs := of(o.Metric, func(v float64) float64 { return lower(o, v) })
		for i, v := range obs.y {
			w.values[i] = append(w.values[i], v)
		}
		if len(obs.y) > 0 {
			worst := slices.Max(obs.y)
			for _, x := range failed {
				obs.add(x, worst, nil)
			}
			obs.worst = len(failed)
		}
		w.goals = append(w.goals, obs)
	}
	for _, c := range q.st.Constraints {
		w.limits = append(w.limits, of(c.Metric, bounded))
	}
	return w
}

// kept are the Pareto front of the experiments that keep to the constraints, and its values.
func (w weighed) kept(s *research.State) (front []*research.Experiment, values [][]float64) {
	var xs []*research.Experiment
	var all [][]float64
	for i, x := range w.experiments {
		if s.Excess(x) == 0 {
			xs, all = append(xs, x), append(all, w.values[i])
		}
	}
	for _, i := range pareto.Front(all) {
		front, values = append(front, xs[i]), append(values, all[i])
	}
	return front, values
}

// model fits a Gaussian process to each metric, the objectives' first; nil: one cannot be had.
// The parameters of each begin where those of the last proposal ended.
func (q query) model(w weighed) (out []conditioned) {
	last := q.last()
	size := len(q.axes.of) + 2
	for k, obs := range slices.Concat(w.goals, w.limits) {
		var start gp.Hyper
		if len(last) >= (k+1)*size {
			start = last[k*size : (k+1)*size]
		}
		scale := mildWarp
		if k >= len(w.goals) {
			scale = plain
		}
		c := condition(obs, start, scale)
		if c.m == nil {
			return nil
		}
		out = append(out, c)
	}
	return out
}

// Bounds on the work where there are several objectives.
const (
	mostOfFront = 100 // points of a front of two objectives, from which a model expects more
	mostOfDeep  = 40  // of more than two
	nearFront   = 10  // points of it, near which a proposal is looked for
	nearBehind  = 4   // points behind it
	gainSamples = 128
)

// extend proposes what is expected to add the most to the hypervolume of what keeps to the
// constraints. Where nothing does yet, it is what most likely will.
func (q query) extend(by *research.Proposer) (study.Params, bool) {
	w := q.weigh()
	models := q.model(w)
	if models == nil {
		return nil, false
	}
	by.Model = nil
	for k := range models {
		by.Model = append(by.Model, rounded(models[k].h)...)
		models[k].believe(q.pending)
	}
	var goals []*gp.Model
	for _, c := range models[:len(w.goals)] {
		goals = append(goals, c.m)
	}
	limits := q.limits(models[len(w.goals):])

	all, front, at := q.standing(w, goals, limits)
	acq := acquisition{axes: q.axes, fixed: q.fixed, tried: q.s.Tried, r: q.r}
	var near [][]float64
	var reference []float64
	if len(front) > 0 {
		near = nextBest(front, at)
		front, at = picked(front, at, pareto.Front(front))
		reference = pareto.NewScale(all, all).Reference
		most := mostOfFront
		if len(goals) > 2 {
			most = mostOfDeep
		}
		if len(front) > most {
			front, at = picked(front, at, pareto.Spread(front, reference, most))
		}
		_, members := picked(front, at, pareto.Spread(front, reference, nearFront))
		near = append(members, near...)
	} else {
		near = q.nearest(w)
	}
	acq.of = newVolumes(goals, limits, front, reference)
	p, x, ok := acq.maximize(near)
	if ok {
		by.Gain = q.gain(w, models, limits, x)
	}
	return p, ok
}

// standing is what the models have of the experiments of the arm, those under way included:
// what noise made of them does not count. all are their objectives, kept those of what keeps
// to the constraints, which lies at the points at. An arm of which nothing is known has all
// experiments, made to fit it.
func (q query) standing(w weighed, goals []*gp.Model, limits []limit) (all, kept, at [][]float64) {
	add := func(x []float64, keeps bool) {
		p := make([]float64, len(goals))
		for k, g := range goals {
			p[k] = g.Mean(x)
		}
		if all = append(all, p); keeps {
			kept, at = append(kept, p), append(at, x)
		}
	}
	likely := func(x []float64) bool {
		return !slices.ContainsFunc(limits, func(l limit) bool { return l.sign*l.m.Mean(x) > l.sign*l.bound })
	}
	for i, x := range w.experiments {
		if x.Parameters.Matches(q.fixed) {
			add(w.points[i], q.s.Excess(x) == 0)
		}
	}
	for _, x := range q.pending { // of which it must not look at the outcome
		if at := q.axes.point(x.Parameters); x.Parameters.Matches(q.fixed) {
			add(at, likely(at))
		}
	}
	if len(all) == 0 {
		for _, x := range w.points {
			own := slices.Clone(x)
			acquisition{axes: q.axes, fixed: q.fixed, r: q.r}.settle(own)
			add(own, likely(own))
		}
	}
	return all, kept, at
}

// nextBest are some points behind the front, the best of them: between them a model often errs.
func nextBest(values, at [][]float64) (near [][]float64) {
	ranks := pareto.Ranks(values, make([]float64, len(values)))
	for rank := 1; len(near) < nearBehind && rank <= slices.Max(ranks); rank++ {
		for i, r := range ranks {
			if r == rank && len(near) < nearBehind {
				near = append(near, at[i])
			}
		}
	}
	return near
}

func picked(a, b [][]float64, at []int) (pa, pb [][]float64) {
	for _, i := range at {
		pa, pb = append(pa, a[i]), append(pb, b[i])
	}
	return pa, pb
}

// limits are the bounds of the constraints on the scales of their models, each side for
// itself: that a value is between two bounds is taken to be as likely as that it keeps to the
// one and, apart from it, to the other.
func (q query) limits(models []conditioned) (out []limit) {
	for i, c := range q.st.Constraints {
		m := models[i]
		if c.AtMost != nil {
			out = append(out, limit{m.m, 1, m.warp.of(bounded(*c.AtMost))})
		}
		if c.AtLeast != nil {
			out = append(out, limit{m.m, -1, m.warp.of(bounded(*c.AtLeast))})
		}
	}
	return out
}

// nearest are the points of the experiments that break the constraints the least, made to fit
// the arm.
func (q query) nearest(w weighed) (near [][]float64) {
	pool := make([]scored, len(w.points))
	for i, x := range w.experiments {
		pool[i] = scored{slices.Clone(w.points[i]), -q.s.Excess(x)}
	}
	best(pool)
	for _, c := range pool[:min(len(pool), 5)] {
		acquisition{axes: q.axes, fixed: q.fixed, r: q.r}.settle(c.x)
		near = append(near, c.x)
	}
	return near
}

// gain is what is expected of a point: of one objective the improvement in its units, of
// several what it adds to the hypervolume, as a share of the space from the front's best values
// to its reference point. nil: nothing keeps to the constraints yet.
func (q query) gain(w weighed, models []conditioned, limits []limit, x []float64) *float64 {
	_, kept := w.kept(q.s)
	if len(kept) == 0 {
		return nil
	}
	chance := 1.0
	for _, l := range limits {
		mean, variance := l.m.At(x)
		log, _, _ := gp.LogBelow(l.sign*mean, math.Sqrt(variance), l.sign*l.bound)
		chance *= math.Exp(log)
	}
	goals := len(w.goals)
	mean, sd := make([]float64, goals), make([]float64, goals)
	for k := range goals {
		var variance float64
		mean[k], variance = models[k].m.At(x)
		sd[k] = math.Sqrt(variance)
	}
	gain := 0.0
	if goals == 1 {
		least := slices.MinFunc(kept, slices.Compare)[0]
		warp := models[0].warp
		gain = warp.gain(mean[0], sd[0], warp.of(least))
	} else {
		scale := pareto.NewScale(kept, w.values)
		before := scale.Volume(kept)
		for range gainSamples {
			p := make([]float64, goals)
			for k := range p {
				p[k] = models[k].warp.back(mean[k] + sd[k]*q.r.NormFloat64())
			}
			gain += (scale.Volume(append(kept[:len(kept):len(kept)], p)) - before) / gainSamples
		}
	}
	if gain *= chance; math.IsInf(gain, 0) || math.IsNaN(gain) {
		return nil
	}
	return &gain
}
