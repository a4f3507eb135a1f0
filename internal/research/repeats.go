package research

import (
	"fmt"
	"math"

	"ratchet/study"
)

// caution is how many standard errors of its mean a configuration is held to be worse than
// it was measured, where some were measured more often than others: the 0.9 quantile of the
// normal distribution.
const caution = 1.2815515655446004

// AgainSeeds are the seeds of an experiment that repeats another: as many as every
// experiment has, and none that the plan has.
func (s *State) AgainSeeds(index int) []int64 {
	seen := map[int64]bool{}
	for _, seeds := range [][]int64{s.Plan.Seeds, s.Plan.Fresh} {
		for _, seed := range seeds {
			seen[seed] = true
		}
	}
	var out []int64
	for i := 0; len(out) < len(s.Plan.Seeds); i++ {
		seed := s.Created.stream(fmt.Sprintf("again %d ", index), i)
		if !seen[seed] {
			seen[seed] = true
			out = append(out, seed)
		}
	}
	return out
}

// values are a metric's over the search trials of an experiment that has a mean of it, and
// of those that repeat it.
func (s *State) values(x *Experiment, metric string) (out []float64) {
	if _, ok := x.Means[metric]; !ok {
		return nil
	}
	for _, e := range append([]*Experiment{x}, s.repeats[x.Experiment]...) {
		if _, ok := e.Means[metric]; !ok {
			continue
		}
		for _, t := range e.Trials {
			if v, ok := t.Metrics()[metric]; ok && t.Purpose == ForSearch {
				out = append(out, v)
			}
		}
	}
	return out
}

// BestOf is the experiment with the best mean of a metric over all its search trials, those
// of its repetitions included, the earliest of equals; nil if none has one. Where any was
// repeated, what counts is the mean less what luck may have done to it: see caution. One that
// breaks the study's constraints less is better than one that breaks them more, whatever its
// mean.
func (s *State) BestOf(xs []*Experiment, metric string, goal study.Objective) *Experiment {
	var best *Experiment
	bar, least := 0.0, 0.0
	spread := s.spread(metric)
	for _, x := range xs {
		v, ok := x.Means[metric]
		if !ok || x.Repeats != "" || x.Outside {
			continue
		}
		if spread > 0 {
			values := s.values(x, metric)
			if v = mean(values); math.IsInf(v, 0) {
				continue
			}
			luck := caution * spread / math.Sqrt(float64(len(values)))
			if goal.Goal == study.Minimize {
				luck = -luck
			}
			v -= luck
		}
		if excess := s.Excess(x); best == nil || excess < least || excess == least && goal.Better(v, bar) {
			best, bar, least = x, v, excess
		}
	}
	return best
}

// bestID is the id of BestOf; "" for none.
func (s *State) bestID(xs []*Experiment, metric string, goal study.Objective) string {
	if x := s.BestOf(xs, metric, goal); x != nil {
		return x.Experiment
	}
	return ""
}

// spread is the standard deviation of a metric between the trials of one configuration,
// over all configurations; 0 where none was repeated.
func (s *State) spread(metric string) float64 {
	if len(s.repeats) == 0 {
		return 0
	}
	squares, freedom := 0.0, 0
	for _, x := range s.Experiments {
		values := s.values(x, metric)
		if x.Repeats != "" || len(values) < 2 {
			continue
		}
		m := mean(values)
		for _, v := range values {
			squares += (v - m) * (v - m)
		}
		freedom += len(values) - 1
	}
	if freedom == 0 {
		return 0
	}
	if sd := math.Sqrt(squares / float64(freedom)); !math.IsInf(sd, 0) {
		return sd
	}
	return 0 // too large to be counted
}

func mean(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
