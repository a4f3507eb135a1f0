package stats

import (
	"math"
	"slices"

	"ratchet/internal/research"
	"ratchet/study"
)

// Front is what the fresh seeds say of configurations that are weighed by several objectives.
type Front struct {
	Members []Member `json:"members"`
	// Pairs is how many ordered pairs were asked whether the one dominates the other.
	Pairs int `json:"pairs"`
}

// Member is a configuration that was measured on the fresh seeds.
type Member struct {
	Experiment string       `json:"experiment"`
	Parameters study.Params `json:"parameters"`
	// Found says that the search chose it for the front; else it is a side of a hypothesis.
	Found bool `json:"found"`
	N     int  `json:"n"` // fresh seeds for which it has all values
	// Values are the objectives', in the study's order.
	Values []Estimate `json:"values"`
	// Kept are the constraints'.
	Kept []Kept `json:"constraints,omitempty"`
	// Place is Supported where for each other member some objective is better here.
	Place string   `json:"place"`
	P     *float64 `json:"p"` // of its place, not adjusted; nil: nothing to test
	// Dominates are the members that are shown to be nowhere better and somewhere worse.
	Dominates   []string `json:"dominates,omitempty"`
	DominatedBy []string `json:"dominated_by,omitempty"`
}

// Estimate is a mean over the fresh seeds.
type Estimate struct {
	Metric   string      `json:"metric"`
	Mean     *float64    `json:"mean"`
	Interval *[2]float64 `json:"interval"` // at 1 − alpha; nil: it does not vary
}

// Kept says whether a constraint is kept to on the fresh seeds: Supported where the whole
// interval keeps to it, Refuted where all of it breaks it.
type Kept struct {
	Constraint study.Constraint `json:"constraint"`
	Estimate
	Verdict string `json:"verdict"`
}

// FrontOf judges the configurations that a run with several objectives has measured on fresh
// seeds, those that keep to the constraints in the search; nil: there are none.
//
// One dominates another where it is better in every objective, each by a one-sided paired
// test: all tests together need no correction, since all must agree (Berger, "Multiparameter
// Hypothesis Testing and Acceptance Sampling", Technometrics 24, 1982). An objective that no
// seed changes is compared as it is, and may be equal. A member has its place on the front
// where none dominates it: where against each other one some objective is better, by the
// smallest of the p values times their number. Both kinds of claims are corrected for how many
// there are of the kind, as the study says.
func FrontOf(s *research.State) *Front {
	st := s.Created.Study
	if !st.Several() || s.Designed == nil {
		return nil
	}
	v := st.Validation
	f := &Front{}
	var ids []string
	for _, id := range s.Validated() {
		if s.Excess(s.Experiment(id)) == 0 {
			ids, f.Members = append(ids, id), append(f.Members, member(s, id))
		}
	}
	if len(f.Members) == 0 {
		return nil
	}
	type claim struct{ a, b int }
	var claims []claim
	var dominance []float64
	places := make([]float64, len(ids))
	for i, a := range ids {
		for j, b := range ids {
			if i == j {
				continue
			}
			dominates, better := compare(s, a, b)
			claims, dominance = append(claims, claim{i, j}), append(dominance, dominates)
			places[i] = max(places[i], better)
		}
	}
	f.Pairs = len(claims)
	for k, level := range levels(dominance, v.Correction, v.Alpha) {
		if dominance[k] <= level {
			a, b := &f.Members[claims[k].a], &f.Members[claims[k].b]
			a.Dominates, b.DominatedBy = append(a.Dominates, b.Experiment), append(b.DominatedBy, a.Experiment)
		}
	}
	if len(ids) > 1 {
		for i, level := range levels(places, v.Correction, v.Alpha) {
			f.Members[i].P = &places[i]
			switch {
			case len(f.Members[i].DominatedBy) > 0:
				f.Members[i].Place = research.Refuted
			case places[i] <= level:
				f.Members[i].Place = research.Supported
			}
		}
	}
	return f
}

// member is a configuration with its means.
func member(s *research.State, id string) Member {
	st := s.Created.Study
	x := s.Experiment(id)
	m := Member{Experiment: id, Parameters: x.Parameters, Found: slices.Contains(s.Designed.Front, id), Place: research.Undecided}
	m.N = len(s.Designed.Seeds)
	for _, o := range st.Goals() {
		values := fresh(s, id, o.Metric)
		m.N = min(m.N, len(values))
		m.Values = append(m.Values, estimate(o.Metric, values, st.Validation.Alpha))
	}
	m.Kept = KeptBy(s, id)
	return m
}

// KeptBy says of each constraint of the study whether an experiment keeps to it on the fresh
// seeds.
func KeptBy(s *research.State, id string) (out []Kept) {
	st := s.Created.Study
	for _, c := range st.Constraints {
		k := Kept{Constraint: c, Estimate: estimate(c.Metric, fresh(s, id, c.Metric), st.Validation.Alpha), Verdict: research.Undecided}
		if k.Mean != nil {
			low, high := *k.Mean, *k.Mean
			if k.Interval != nil {
				low, high = k.Interval[0], k.Interval[1]
			}
			inside := func(v float64) bool { return c.Excess(v) == 0 }
			switch {
			case inside(low) && inside(high):
				k.Verdict = research.Supported
			case c.AtMost != nil && low > *c.AtMost, c.AtLeast != nil && high < *c.AtLeast:
				k.Verdict = research.Refuted
			}
		}
		out = append(out, k)
	}
	return out
}

// fresh are a metric's values over the fresh seeds.
func fresh(s *research.State, id, metric string) (out []float64) {
	for _, seed := range s.Designed.Seeds {
		if v, ok := valueOf(s, id, seed, metric); ok {
			out = append(out, v)
		}
	}
	return out
}

func estimate(metric string, values []float64, alpha float64) Estimate {
	e := Estimate{Metric: metric}
	if len(values) == 0 {
		return e
	}
	sample := NewSample(values)
	if !Finite(sample.Mean) {
		return e
	}
	e.Mean = &sample.Mean
	if low, high := sample.Interval(1 - alpha); sample.Varies() && Finite(low, high) {
		e.Interval = &[2]float64{low, high}
	}
	return e
}

// compare gives the p values of two claims: that a dominates b, and that a is better than b in
// some objective. 1 where nothing can be inferred.
func compare(s *research.State, a, b string) (dominates, better float64) {
	better = 1
	strict, tests := false, 0
	for _, o := range s.Created.Study.Goals() {
		var pairs [][2]float64
		for _, seed := range s.Designed.Seeds {
			x, okA := valueOf(s, a, seed, o.Metric)
			y, okB := valueOf(s, b, seed, o.Metric)
			if okA && okB {
				pairs = append(pairs, [2]float64{x, y})
			}
		}
		p, same := ahead(o, pairs)
		dominates = max(dominates, p)
		if same {
			continue
		}
		strict = true
		if p > 0 && p < 1 {
			tests++
		}
		better = min(better, p)
	}
	if !strict {
		dominates = 1
	}
	return dominates, min(1, better*float64(max(tests, 1)))
}

// ahead is the p value of the claim that the first of each pair is better. same: no seed
// changes either, and they are equal, which speaks neither for nor against.
func ahead(o study.Objective, pairs [][2]float64) (p float64, same bool) {
	if len(pairs) < 2 {
		return 1, false
	}
	constant := true
	d := make([]float64, len(pairs))
	for i, v := range pairs {
		constant = constant && v == pairs[0]
		if d[i] = v[0] - v[1]; o.Goal == study.Minimize {
			d[i] = -d[i]
		}
	}
	if constant {
		switch {
		case d[0] > 0:
			return 0, false
		case d[0] == 0:
			return 0, true
		}
		return 1, false
	}
	sample := NewSample(d)
	if !sample.Varies() || !Finite(sample.Mean, sample.SD) {
		return 1, false
	}
	if p = sample.Above(0); math.IsNaN(p) {
		return 1, false
	}
	return p, false
}
