package search

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"ratchet/internal/research"
	"ratchet/study"
)

// mostRungs bounds the rungs of a trial.
const mostRungs = 20

// RungSteps are the steps at which trials are compared: MinStep·Eta^k.
func RungSteps(s study.Search) []int {
	var steps []int
	if s.Stops() == "" {
		return nil
	}
	for step := s.MinStep; len(steps) < mostRungs && step < 1<<40; step *= s.Eta {
		steps = append(steps, step)
	}
	return steps
}

// reachedSteps are those that any known experiment has reached.
func (q query) reachedSteps() []int {
	steps := RungSteps(q.st.Search)
	for len(steps) > 0 && len(q.reached(steps[len(steps)-1])) == 0 {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// rungs are the bars that a new experiment must reach, fixed when it is proposed, from
// outcomes that do not depend on timing. A step that too few experiments have reached has no
// bar. Each rule gives the bar from the values of those that got there.
func (q query) rungs() []research.Rung {
	var out []research.Rung
	for k, step := range q.steps {
		values := q.reached(step)
		if q.atEnd(step) {
			break
		}
		var bar float64
		ok := false
		switch q.st.Search.Stops() {
		case study.StopHalving:
			if k >= q.index%max(q.st.Search.Brackets, 1) {
				bar, ok = q.halving(values)
			}
		case study.StopMedian:
			bar, ok = median(values)
		case study.StopCurve:
			bar, ok = q.curve(step)
		}
		if ok {
			out = append(out, research.Rung{Step: step, Bar: bar})
		}
	}
	return out
}

// atEnd reports whether trials end at a step: then nothing is saved by stopping there.
func (q query) atEnd(step int) bool {
	n := 0
	for _, x := range q.known {
		if v, ok := atRung(x, step); ok && x.Value != nil {
			if n++; v != *x.Value {
				return false
			}
		}
	}
	return n > 0
}

// halving is the bar that the best 1/Eta have reached: the stopping variant of asynchronous
// successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning",
// MLSys 2020). The brackets are those of Li et al., "Hyperband", JMLR 18, 2018.
func (q query) halving(values []float64) (float64, bool) {
	eta := q.st.Search.Eta
	if len(values) < eta {
		return 0, false
	}
	sort.Slice(values, func(i, j int) bool { return q.st.Objective.Better(values[i], values[j]) })
	return values[len(values)/eta-1], true
}

// leastCompared is how many values a median, and how many curves an extrapolation, needs.
const leastCompared = 5

// median is the bar of the median stopping rule (Golovin et al., "Google Vizier", KDD 2017,
// section 3.2.2).
func median(values []float64) (float64, bool) {
	if len(values) < leastCompared {
		return 0, false
	}
	sort.Float64s(values)
	n := len(values)
	return values[n/2]/2 + values[(n-1)/2]/2, true
}

// curve is the value at a step beyond which a trial would become the best with a chance of
// less than search.error. The final value is taken to be linear in the value at the step,
// with normal errors of one size (of both the logarithms, where they are positive and are to
// be small, as losses are); what is said of a new trial is the prediction interval of
// ordinary least squares (Draper and Smith, "Applied Regression Analysis", 3rd edition,
// section 3.1), over the experiments that ran to their end. That the others were stopped for
// their value at the step does not bias it. Where the value at the step says too little of
// the end, there is no bar.
func (q query) curve(step int) (float64, bool) {
	var x, y []float64
	for _, e := range q.known {
		if e.Value == nil {
			continue
		}
		if v, ok := atRung(e, step); ok {
			x, y = append(x, q.lower(v)), append(y, q.lower(*e.Value))
		}
	}
	n := float64(len(x))
	if len(x) < leastCompared {
		return 0, false
	}
	back := q.lower
	if min(slices.Min(x), slices.Min(y)) > 0 && q.st.Objective.Goal == study.Minimize {
		for i := range x {
			x[i], y[i] = math.Log(x[i]), math.Log(y[i])
		}
		back = math.Exp
	}
	best := slices.Min(y)
	mx, my, sxx, sxy := stat.Mean(x, nil), stat.Mean(y, nil), 0.0, 0.0
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	if sxx <= 0 {
		return 0, false
	}
	slope, squares := sxy/sxx, 0.0
	for i := range x {
		r := y[i] - my - slope*(x[i]-mx)
		squares += r * r
	}
	t := distuv.StudentsT{Sigma: 1, Nu: n - 2}.Quantile(1 - q.st.Search.Error)
	width := t * math.Sqrt(squares/(n-2))
	if slope <= width/math.Sqrt(sxx) { // the line may as well be flat
		return 0, false
	}
	// The lowest final value that is still likely grows with v from some point on.
	lowest := func(v float64) float64 { return my + slope*(v-mx) - width*math.Sqrt(1+1/n+(v-mx)*(v-mx)/sxx) }
	low, high := slices.Min(x), slices.Max(x)
	for far := high - low; lowest(high) <= best; high += far {
		if far *= 2; math.IsInf(high, 0) {
			return 0, false
		}
	}
	for range 100 {
		if middle := low + (high-low)/2; lowest(middle) <= best {
			low = middle
		} else {
			high = middle
		}
	}
	bar := back(high)
	return bar, !math.IsInf(bar, 0) && !math.IsNaN(bar)
}

// atRung is an experiment's mean over its search trials at a step.
func atRung(x *research.Experiment, step int) (float64, bool) {
	sum, n := 0.0, 0
	for _, t := range x.Trials {
		if t.Purpose != research.ForSearch || t.Outcome != research.Succeeded {
			continue
		}
		for _, r := range t.Last().Rungs {
			if r.Step == step {
				sum += r.Value
				n++
			}
		}
	}
	if n == 0 {
		return 0, false
	}
	return sum / float64(n), !math.IsInf(sum, 0)
}
