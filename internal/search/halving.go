package search

import (
	"sort"

	"ratchet/internal/research"
	"ratchet/study"
)

// mostRungs bounds the rungs of a trial.
const mostRungs = 20

// RungSteps are the steps at which successive halving compares trials:
// MinStep·Eta^k.
func RungSteps(s study.Search) []int {
	var steps []int
	if s.Method != study.Halving {
		return nil
	}
	for step := s.MinStep; len(steps) < mostRungs && step < 1<<40; step *= s.Eta {
		steps = append(steps, step)
	}
	return steps
}

// rungs are the bars that a new experiment must reach: at each rung, to be
// among the best 1/Eta of those that got there. This is the stopping variant
// of asynchronous successive halving (Li et al., "A System for Massively
// Parallel Hyperparameter Tuning", MLSys 2020), with the bars fixed when the
// experiment is proposed, from outcomes that do not depend on timing. A rung
// that fewer than Eta experiments have reached has no bar.
func (q query) rungs() []research.Rung {
	st := q.st
	var out []research.Rung
	for _, step := range RungSteps(st.Search) {
		values := q.reached(step)
		if len(values) < st.Search.Eta {
			break // later rungs have fewer still
		}
		sort.Slice(values, func(i, j int) bool { return st.Objective.Better(values[i], values[j]) })
		out = append(out, research.Rung{Step: step, Bar: values[len(values)/st.Search.Eta-1]})
	}
	return out
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
	return sum / float64(n), true
}
