package research

import (
	"fmt"
	"time"

	"ratchet/study"
)

// design plans the run: which experiments at most, which seeds, in what
// turns. A plan that cannot be carried out says so in Refused, with figures.
func design(c RunCreated, hypotheses []*Hypothesis) Plan {
	st := c.Study
	p := Plan{Experiments: st.Search.Experiments, Arms: []study.Params{{}}}
	size := spaceSize(st.Parameters)
	covered := !st.Open() && size > 0 && size <= p.Experiments // then every side is tried whole
	if covered {
		p.Experiments = size
	}
	if st.Once() {
		p.Seeds = []int64{c.Seed}
		p.SearchTrials = 1
		p.Longest = st.Limits.Attempt.Time
		p.Refused = refusal(c, p)
		return p
	}
	if st.Search.Method == study.Auto {
		p.Search = searchPlan(st, p.Experiments, covered)
	}
	seeds := st.Search.Seeds
	if st.Open() {
		seeds = st.Keep.Seeds
	}
	p.Seeds, p.Fresh = c.draw(seeds, st.Validation.Seeds)
	seen := map[string]bool{"{}": true}
	sides := 0
	for _, h := range hypotheses {
		if h.Derived != "" {
			sides += 2
			continue
		}
		for _, side := range []study.Params{h.A, h.B} {
			key := side.Key()
			if seen[key] {
				continue
			}
			seen[key] = true
			sides++
			if !covered {
				p.Arms = append(p.Arms, side)
			}
		}
	}
	p.SearchTrials = p.Experiments * len(p.Seeds)
	p.ValidationTrials = min(sides+max(1, st.Validation.Front), p.Experiments)*len(p.Fresh) + 1
	a := st.Limits.Attempt
	waves := (p.SearchTrials+st.Parallel-1)/st.Parallel + (p.ValidationTrials+st.Parallel-1)/st.Parallel
	p.Longest = study.Duration(float64(a.Time) * float64(waves))
	p.Refused = refusal(c, p)
	return p
}

// Where a Gaussian process is not the best that is known.
const (
	MostModelled   = 2000 // experiments: with more, a proposal would take too long
	mostDimensions = 60
	mostVolumes    = 3 // objectives: with more, the space that a front leaves has too many parts
)

// searchPlan chooses a method by the space, the budget, the parallelism and the noise.
func searchPlan(st *study.Study, experiments int, covered bool) *SearchPlan {
	switch n := len(st.Parameters); {
	case covered:
		return &SearchPlan{study.Grid, fmt.Sprintf("there are %d configurations, and each is tried", experiments)}
	case st.Parallel >= experiments:
		return &SearchPlan{study.Sobol, fmt.Sprintf("all %d experiments begin before the first has ended, so none can learn from another; they are spread evenly", experiments)}
	case n > mostDimensions:
		return &SearchPlan{Unmodelled(st), fmt.Sprintf("%d parameters are more than a Gaussian process tells apart", n)}
	case len(st.Objectives) > mostVolumes:
		return &SearchPlan{study.NSGA, fmt.Sprintf("with %d objectives, what an experiment adds to the front costs too much to expect", len(st.Objectives))}
	default:
		p := &SearchPlan{study.GP, "a model of the outcomes finds more with few experiments than any other method here"}
		if st.Several() {
			p.Why = "models of the objectives find a front with fewer experiments than any other method here"
		}
		if experiments > MostModelled {
			p.Why += fmt.Sprintf("; after %d of them %s goes on, whose proposals cost less", MostModelled, Unmodelled(st))
		}
		return p
	}
}

// Unmodelled is the method that is chosen where a Gaussian process costs too much.
func Unmodelled(st *study.Study) string {
	if st.Weighs() {
		return study.NSGA
	}
	return study.TPE
}

// SearchMethod is the method that the plan chose, or the study's own.
func (s *State) SearchMethod() string {
	if s.Plan.Search != nil {
		return s.Plan.Search.Method
	}
	return s.Created.Study.Search.Method
}

func refusal(c RunCreated, p Plan) string {
	st := c.Study
	a, run, m := st.Limits.Attempt, st.Limits.Run, c.Machine
	switch {
	case run.Experiments > 0 && p.Experiments > run.Experiments:
		return fmt.Sprintf("it has %d experiments and limits.run.experiments allows %d; lower search.experiments or raise the limit", p.Experiments, run.Experiments)
	case len(p.Arms)-1 > p.Experiments:
		return fmt.Sprintf("the hypotheses have %d sides to measure and search.experiments allows %d configurations; raise it to at least %d", len(p.Arms)-1, p.Experiments, len(p.Arms)-1)
	case run.Time > 0 && run.Time < a.Time:
		return fmt.Sprintf("one attempt may take %s (limits.attempt.time) and the whole run %s (limits.run.time); lower the first or raise the second", a.Time, run.Time)
	case a.GPUs > float64(m.GPUs):
		return fmt.Sprintf("an attempt needs %v GPUs (limits.attempt.gpus) and this machine has %d", a.GPUs, m.GPUs)
	case m.Memory > 0 && int64(a.Memory) > m.Memory:
		return fmt.Sprintf("an attempt may use %s of memory (limits.attempt.memory) and this machine has %s", a.Memory, study.Bytes(m.Memory))
	case m.CPUs > 0 && a.CPUs > float64(m.CPUs):
		return fmt.Sprintf("an attempt may use %v processors (limits.attempt.cpus) and this machine has %d", a.CPUs, m.CPUs)
	case float64(p.Longest) > float64(time.Duration(1<<62)):
		return "its time cannot be counted; lower search.experiments or limits.attempt.time"
	}
	return ""
}

// spaceSize is how many configurations the parameters have at most; 0 if
// they are not countable or too many to count. Conditions only lower it.
func spaceSize(parameters []study.Parameter) int {
	const enough = 1 << 24
	conditional := false
	size := 1
	for _, d := range parameters {
		n := d.Size()
		if n == 0 {
			return 0
		}
		if conditional = conditional || len(d.When) > 0; len(d.When) > 0 {
			n++
		}
		if size *= n; size > enough {
			return 0
		}
	}
	return size
}

// PlannedTrials is how many trials the run has in all, as well as it is known;
// 0 before there is a plan.
func (s *State) PlannedTrials() int {
	switch {
	case s.Plan == nil:
		return 0
	case s.Created.Study.Once():
		return 1
	case s.Designed == nil && s.Created.Study.Open():
		return s.Tally.Trials + len(s.Open)
	case s.Designed == nil:
		return s.Plan.SearchTrials + s.Plan.ValidationTrials
	}
	// More than that have run where trials were tried again and others came out best.
	if s.Created.Study.Open() {
		fresh := 0
		for _, id := range s.Validated() {
			for _, t := range s.experiments[id].Trials {
				if t.Purpose == ForValidation {
					fresh++
				}
			}
		}
		return s.Tally.Trials + len(s.Open) + len(s.Validated())*len(s.Plan.Fresh) - fresh + 1
	}
	return max(len(s.Experiments)*len(s.Plan.Seeds)+len(s.Validated())*len(s.Plan.Fresh)+1, s.Tally.Trials+len(s.Open))
}
