package research

import (
	"fmt"
	"math"
	"slices"
	"time"

	"ratchet/study"
)

// validate runs the best configuration and both sides of every hypothesis on
// fresh seeds, has them judged, and repeats one trial from its record.
func (s *State) validate(now time.Time) []Payload {
	if out := s.advance(); len(out) > 0 {
		return out
	}
	if s.Designed == nil {
		v := s.designValidation()
		if !s.Created.Study.Open() {
			return []Payload{v}
		}
		stated, comparisons := s.openComparisons()
		v.Comparisons = comparisons
		return append(stated, v)
	}
	cut := s.stageOver(now)
	if cut == "" {
		out, room := s.schedule()
		if len(out) == 0 {
			out = s.openFresh(room)
		}
		if len(out) > 0 {
			return out
		}
	}
	if len(s.Pending) > 0 || cut == "" && len(s.Open) > 0 {
		return nil
	}
	for _, h := range s.Hypotheses {
		if h.Judgment == nil {
			return []Payload{ActionDecided{Action: Action{ID: "judge", Kind: Judge}}}
		}
	}
	if s.Again == nil {
		return s.reproduce(cut)
	}
	return []Payload{StageCompleted{Stage: Validation, Cut: cut}}
}

// openFresh decides the first attempts of validation's trials that have not been
// opened yet, as many as there is room for.
func (s *State) openFresh(room int) []Payload {
	var out []Payload
	for _, id := range s.Validated() {
		for _, seed := range s.Designed.Seeds {
			trial := s.TrialID(id, seed)
			if room <= 0 {
				return out
			}
			if s.trials[trial] != nil {
				continue
			}
			room--
			out = append(out, ActionDecided{Action: Action{
				ID: AttemptID(trial, 1), Kind: Try, Experiment: id, Trial: trial, Seed: seed, Purpose: ForValidation, Attempt: 1,
			}})
		}
	}
	return out
}

// Validated are the experiments that run on fresh seeds: the best one, the Pareto front where
// there are several objectives, and both sides of each hypothesis, each once.
func (s *State) Validated() []string {
	var out []string
	add := func(id string) {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if s.Designed == nil {
		return nil
	}
	add(s.Designed.Best)
	for _, id := range s.Designed.Front {
		add(id)
	}
	for _, c := range s.Designed.Comparisons {
		if c.ExperimentA != "" && c.ExperimentB != "" {
			add(c.ExperimentA)
			add(c.ExperimentB)
		}
	}
	return out
}

func (s *State) designValidation() ValidationDesigned {
	v := ValidationDesigned{Seeds: s.Plan.Fresh}
	if best := s.Best(); best != nil {
		v.Best = best.Experiment
	}
	if s.Chosen != nil {
		v.Front = s.Chosen.Front
	}
	for _, h := range s.Hypotheses {
		c := Comparison{Hypothesis: h.ID, A: h.A, B: h.B}
		if h.Derived != "" {
			c.A, c.B = s.bestValues(h.Derived)
		}
		a, b := s.matching(c.A), s.matching(c.B)
		// Equal effort: neither side is tuned over more configurations than
		// the other, unless a side has no more to try.
		n := min(len(a), len(b))
		if s.enumerated(c.A, len(a)) || s.enumerated(c.B, len(b)) {
			n = max(len(a), len(b))
		}
		a, b = a[:min(n, len(a))], b[:min(n, len(b))]
		c.TunedOver = max(len(a), len(b))
		metric, goal := s.Created.Study.MetricOf(h.Hypothesis), s.goalOf(h.Hypothesis)
		c.ExperimentA, c.ExperimentB = s.bestID(a, metric, goal), s.bestID(b, metric, goal)
		v.Comparisons = append(v.Comparisons, c)
	}
	return v
}

// goalOf is the direction in which a hypothesis's metric is tuned, on both
// sides alike: an objective's own, or for another metric the claimed one.
func (s *State) goalOf(h study.Hypothesis) study.Objective {
	metric := s.Created.Study.MetricOf(h)
	o := s.Created.Study.GoalOf(metric)
	if metric != o.Metric {
		return study.Objective{Metric: metric, Goal: map[string]string{study.Greater: study.Maximize, study.Less: study.Minimize}[h.Expect]}
	}
	return o
}

// matching are the experiments of a side, in the order of their proposals. A
// side whose own parameters were never proposed, as where the study compares
// nothing, has none.
func (s *State) matching(side study.Params) []*Experiment {
	var out []*Experiment
	for _, x := range s.Experiments {
		if side != nil && x.Repeats == "" && !x.Outside && x.Parameters.Matches(side) {
			out = append(out, x)
		}
	}
	return out
}

// enumerated reports whether n configurations are all that a side has.
func (s *State) enumerated(side study.Params, n int) bool {
	size := 1
	for _, d := range s.Created.Study.Parameters {
		if _, fixed := side[d.Name]; fixed {
			continue
		}
		possible := true
		for on, values := range d.When {
			if v, fixed := side[on]; fixed && !slices.Contains(values, v) {
				possible = false
			}
		}
		if possible {
			if size *= d.Size(); size == 0 || size > n {
				return false
			}
		}
	}
	return size <= n
}

// bestValues are the value of a parameter whose best experiment is best, and
// the next best one; nil where fewer than two have an experiment.
func (s *State) bestValues(parameter string) (a, b study.Params) {
	d, _ := s.Created.Study.Parameter(parameter)
	o := s.Created.Study.Objective
	type ranked struct {
		value        any
		best, excess float64
	}
	better := func(a, b ranked) bool {
		return a.excess < b.excess || a.excess == b.excess && o.Better(a.best, b.best)
	}
	var all []ranked
	for _, v := range d.Values {
		r := ranked{v, math.NaN(), 0}
		for _, x := range s.Experiments {
			if x.Value == nil || x.Outside || x.Parameters[parameter] != v {
				continue
			}
			if one := (ranked{v, *x.Value, s.Excess(x)}); math.IsNaN(r.best) || better(one, r) {
				r = one
			}
		}
		if !math.IsNaN(r.best) {
			all = append(all, r)
		}
	}
	if len(all) < 2 {
		return nil, nil
	}
	slices.SortStableFunc(all, func(x, y ranked) int {
		switch {
		case better(x, y):
			return -1
		case better(y, x):
			return 1
		}
		return 0
	})
	return study.Params{parameter: all[0].value}, study.Params{parameter: all[1].value}
}

// reproduce repeats the first validating trial of the best configuration that
// succeeded, from its record, and compares.
func (s *State) reproduce(cut string) []Payload {
	if s.Created.Study.Once() {
		return []Payload{ReproductionChecked{Reproduction: Reproduction{Why: "not tried: a study without an objective runs its command once"}}}
	}
	first := s.reproducible()
	if first == nil {
		return []Payload{ReproductionChecked{Reproduction: Reproduction{Why: "no trial succeeded that could be repeated"}}}
	}
	id := s.againID(first)
	second := s.trials[id]
	if second == nil && cut != "" {
		return []Payload{ReproductionChecked{Reproduction: Reproduction{Trial: first.ID, Why: "not tried: " + cut}}}
	}
	if second == nil {
		return []Payload{ActionDecided{Action: Action{
			ID: AttemptID(id, 1), Kind: Try, Experiment: first.Experiment, Trial: id, Seed: first.Seed, Purpose: ForReproduction, Attempt: 1,
			Parameters: first.Parameters, Limits: first.Limits,
		}}}
	}
	return []Payload{ReproductionChecked{Reproduction: s.compare(first, second)}}
}

func (s *State) reproducible() *Trial {
	if s.Designed == nil {
		return nil
	}
	for _, id := range s.Validated() {
		for _, t := range s.experiments[id].Trials {
			if t.Purpose == ForValidation && t.Outcome == Succeeded {
				return t
			}
		}
	}
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			if t.Purpose == ForSearch && t.Outcome == Succeeded && t.Last().Halted == 0 {
				return t
			}
		}
	}
	return nil
}

// compare asks whether the metrics that decide something came out the same,
// to the last bit.
func (s *State) compare(first, second *Trial) Reproduction {
	r := Reproduction{Trial: first.ID, Repetition: second.ID, First: first.Metrics(), Second: second.Metrics()}
	if second.Outcome != Succeeded {
		r.Why = fmt.Sprintf("the repetition ended as %s: %s", second.Outcome, second.Last().Message)
		return r
	}
	deciding := s.Created.Study.Needed()
	for _, h := range s.Hypotheses {
		if m := s.Created.Study.MetricOf(h.Hypothesis); !slices.Contains(deciding, m) {
			deciding = append(deciding, m)
		}
	}
	for _, name := range deciding {
		a, okA := r.First[name]
		b, okB := r.Second[name]
		if okA != okB || a != b {
			r.Why = fmt.Sprintf("%s was %v and is %v with the same code, parameters and seed", name, a, b)
			return r
		}
	}
	r.Reproduces, r.Why = true, "the same code, parameters and seed gave the same values"
	return r
}
