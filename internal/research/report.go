package research

import (
	"fmt"
	"math"

	"ratchet/study"
)

// Facts are what the study's gates are asked about.
func (s *State) Facts() study.Facts {
	f := study.Facts{Best: map[string]any{}, Verdict: map[string]string{}, Trials: s.Tally.Trials, Failed: s.Tally.Failed}
	if s.Tally.Trials > 0 {
		f.SuccessRate = float64(s.Tally.Succeeded) / float64(s.Tally.Trials)
	}
	for _, x := range s.Experiments {
		if x.Value != nil {
			f.Experiments++
		}
	}
	for name, v := range s.BestMetrics() {
		f.Best[name] = v
	}
	for _, h := range s.Hypotheses {
		if h.Judgment == nil {
			continue
		}
		f.Verdict[h.ID] = h.Judgment.Verdict
		switch h.Judgment.Verdict {
		case Supported:
			f.Supported++
		case Refuted:
			f.Refuted++
		default:
			f.Undecided++
		}
	}
	f.Reproduces = s.Again != nil && s.Again.Reproduces
	return f
}

// BestMetrics are the means of the best configuration over the fresh seeds,
// on which it was not chosen; nil unless all of these trials succeeded.
func (s *State) BestMetrics() map[string]float64 {
	if s.Designed == nil || s.Designed.Best == "" {
		return nil
	}
	sums, count, n := map[string]float64{}, map[string]int{}, 0
	for _, t := range s.experiments[s.Designed.Best].Trials {
		if t.Purpose != ForValidation {
			continue
		}
		if t.Outcome != Succeeded {
			return nil
		}
		n++
		for name, v := range t.Metrics() {
			sums[name] += v
			count[name]++
		}
	}
	if n < len(s.Designed.Seeds) {
		return nil
	}
	means := map[string]float64{}
	for name, sum := range sums {
		if count[name] == n && !math.IsInf(sum, 0) {
			means[name] = sum / float64(n)
		}
	}
	return means
}

// report evaluates the gates and goes through the checklist.
func (s *State) report() []Payload {
	var out []Payload
	facts := s.Facts()
	for _, g := range s.Created.Study.Gates[len(s.Gates):] {
		passed, err := g.Eval(facts)
		e := GateEvaluated{Gate: g, Passed: passed}
		if err != nil {
			e.Why = err.Error()
		}
		out = append(out, e)
	}
	return append(out, ReviewCompleted{Checks: s.checklist()}, StageCompleted{Stage: Reporting})
}

// checklist asks of a finished run what a careful reader would.
func (s *State) checklist() []Check {
	decided, whole, gaps := 0, true, ""
	for _, h := range s.Hypotheses {
		if j := h.Judgment; j != nil {
			if j.Verdict != Undecided {
				decided++
			}
			if j.N < len(s.Plan.Fresh) && whole {
				whole = false
				gaps = fmt.Sprintf("%s has %d of %d", h.ID, j.N, len(s.Plan.Fresh))
			}
		}
	}
	if gaps == "" && len(s.Hypotheses) > 0 {
		gaps = fmt.Sprintf("%d fresh seeds for each side", len(s.Plan.Fresh))
	}
	cut := ""
	for _, r := range s.StageRecord {
		if r.Cut != "" {
			cut = r.Name + ": " + r.Cut
		}
	}
	planned := s.Plan.Experiments
	if s.Created.Study.Open() { // those that were proposed
		planned = len(s.Experiments)
	}
	checks := []Check{
		{"every planned experiment was run", s.Frontier == len(s.Experiments) && cut == "" && (s.Exhausted || s.Created.Study.Open() || len(s.Experiments) == s.Plan.Experiments),
			fmt.Sprintf("%d of %d%s", s.Frontier, planned, s.whyExhausted())},
		{"no trial failed", s.Tally.Failed == 0, fmt.Sprintf("%d of %d failed", s.Tally.Failed, s.Tally.Trials)},
		{"every hypothesis is decided", decided == len(s.Hypotheses), fmt.Sprintf("%d of %d", decided, len(s.Hypotheses))},
		{"every comparison has all its pairs", whole, gaps},
		{"a trial was repeated from its record and came out the same", s.Again != nil && s.Again.Reproduces, s.again()},
	}
	if c := s.constraintCheck(); c != nil {
		checks = append(checks, *c)
	}
	if s.Created.Study.Once() { // nothing is compared
		checks = checks[:2]
	}
	for _, what := range s.Accepted {
		checks = append(checks, Check{"the inputs stayed what they were", false, what + "; all was measured anew"})
	}
	for _, what := range s.Retried {
		checks = append(checks, Check{"no failed trial was tried again by hand", false, what})
	}
	if cut != "" {
		checks = append(checks, Check{"no stage was cut short", false, cut})
	}
	return checks
}

// constraintCheck asks whether the best configuration keeps to the constraints on the fresh
// seeds; nil: there are none.
func (s *State) constraintCheck() *Check {
	st := s.Created.Study
	if len(st.Constraints) == 0 {
		return nil
	}
	c := &Check{Name: "the best configuration keeps to the constraints on the fresh seeds", Detail: "no configuration kept to them in the search"}
	if s.Designed == nil || s.Designed.Best == "" {
		return c
	}
	means := s.BestMetrics()
	if means == nil {
		c.Detail = "not all of its trials succeeded"
		return c
	}
	c.Passed, c.Detail = true, ""
	for _, k := range st.Constraints {
		v, ok := means[k.Metric]
		c.Passed = c.Passed && ok && k.Excess(v) == 0
		if c.Detail != "" {
			c.Detail += "; "
		}
		c.Detail += fmt.Sprintf("%s: %.6g", k, v)
	}
	return c
}

func (s *State) again() string {
	if s.Again == nil {
		return "not tried"
	}
	return s.Again.Why
}

// conclude ends the run.
func (s *State) conclude() []Payload {
	if s.Tally.Succeeded == 0 {
		return s.fail("no trial succeeded")
	}
	return []Payload{RunCompleted{Status: Completed}}
}

// fail ends the run without a result.
func (s *State) fail(why string) []Payload {
	return []Payload{AlertRaised{Rule: RuleFailed, Severity: Grave, Text: "the run failed: " + why}, RunCompleted{Status: Failed, Why: why}}
}

// whyExhausted says why the search ended before its plan did.
func (s *State) whyExhausted() string {
	switch {
	case s.Enough != "":
		return "; " + s.Enough
	case s.Exhausted:
		return "; every configuration was tried"
	}
	return ""
}
