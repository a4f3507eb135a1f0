package stats

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"ratchet/internal/research"
	"ratchet/study"
)

// Judge gives every hypothesis of a run its verdict, from the trials on fresh
// seeds, paired by seed. The verdicts depend on the run's events alone.
func Judge(s *research.State) []research.Judgment {
	st := s.Created.Study
	out := make([]research.Judgment, len(s.Hypotheses))
	var ps []float64
	var tested []int
	for i, h := range s.Hypotheses {
		out[i] = measure(s, h)
		if out[i].P != nil {
			ps = append(ps, *out[i].P)
			tested = append(tested, i)
		}
	}
	for k, adjusted := range Adjust(ps, st.Validation.Correction) {
		out[tested[k]].PAdjusted = &adjusted
	}
	for i, h := range s.Hypotheses {
		out[i].Verdict, out[i].Why = Verdict(out[i], h.Expect, h.By, st.Validation.Alpha)
	}
	return out
}

// measure computes all of a judgment that does not depend on the others.
func measure(s *research.State, h *research.Hypothesis) research.Judgment {
	j := research.Judgment{Hypothesis: h.ID}
	st := s.Created.Study
	j.Pairs = pairs(s, h.Comparison, st.MetricOf(h.Hypothesis))
	j.N = len(j.Pairs)
	if j.N < 2 {
		return j
	}
	d := make([]float64, j.N)
	for i, p := range j.Pairs {
		d[i] = p.A - p.B
	}
	effect := Mean(d)
	seed := sha256.Sum256(fmt.Appendf(nil, "bootstrap %d %s", s.Created.Seed, h.ID))
	r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[:8]), binary.BigEndian.Uint64(seed[8:16])))
	low, high := BCa(d, Mean, 1-st.Validation.Alpha, r)
	var p float64
	if j.Test = Choose(d); j.Test == PairedT {
		_, p = TTest(d)
	} else {
		_, p = SignedRank(d)
	}
	j.Effect, j.Interval, j.P = &effect, &[2]float64{low, high}, &p
	return j
}

// pairs are the values of both sides for the fresh seeds that both have.
func pairs(s *research.State, c *research.Comparison, metric string) []research.Pair {
	out := []research.Pair{}
	if c == nil || c.ExperimentA == "" || c.ExperimentB == "" {
		return out
	}
	for _, seed := range s.Designed.Seeds {
		a, okA := valueOf(s, c.ExperimentA, seed, metric)
		b, okB := valueOf(s, c.ExperimentB, seed, metric)
		if okA && okB {
			out = append(out, research.Pair{Seed: seed, A: a, B: b})
		}
	}
	return out
}

func valueOf(s *research.State, experiment string, seed int64, metric string) (float64, bool) {
	t := s.Trial(research.TrialID(experiment, seed))
	if t == nil {
		return 0, false
	}
	v, ok := t.Metrics()[metric]
	return v, ok
}

// Verdict applies the stated rule to a judgment whose figures are known:
//
// supported: the adjusted p is at most alpha, the effect points the way the
// claim says, and it is at least by;
//
// refuted: the adjusted p is at most alpha and the effect points the other
// way; or, where by is above zero, the whole interval is short of by;
//
// undecided: anything else.
func Verdict(j research.Judgment, expect string, by, alpha float64) (verdict, why string) {
	if j.Effect == nil || j.PAdjusted == nil {
		return research.Undecided, fmt.Sprintf("%d pairs of succeeded trials are too few to compare", j.N)
	}
	// Turned so that the claim expects a positive effect.
	effect, most := *j.Effect, j.Interval[1]
	if expect == study.Less {
		effect, most = -effect, -j.Interval[0]
	}
	p := *j.PAdjusted
	significant := p <= alpha
	switch {
	case significant && effect > 0 && effect >= by:
		return research.Supported, fmt.Sprintf("the difference is in the claimed direction, p %s after correction", formatP(p))
	case significant && effect < 0:
		return research.Refuted, fmt.Sprintf("the difference is in the opposite direction, p %s after correction", formatP(p))
	case by > 0 && most < by:
		return research.Refuted, fmt.Sprintf("the whole interval is below %v, the smallest difference that matters", by)
	case significant:
		return research.Undecided, fmt.Sprintf("there is a difference, but its best estimate is below %v, the smallest that matters", by)
	}
	return research.Undecided, fmt.Sprintf("the pairs do not show a difference, p %s after correction", formatP(p))
}

func formatP(p float64) string {
	if p < 0.001 {
		return "< 0.001"
	}
	return fmt.Sprintf("= %.3f", math.Round(p*1000)/1000)
}
