package stats

import (
	"fmt"
	"math"
	"slices"

	"ratchet/internal/research"
	"ratchet/study"
)

// How an experiment of an open run is weighed.
const (
	// early is the share of keep.alpha that keeping before the last seed may err with; the
	// rest is left to the test at the last.
	early = 0.25
	// hopeless is the chance that an experiment is given up early although its gain is large:
	// worth, in standard deviations of the differences, or more.
	hopeless = 0.05
	worth    = 0.7
)

// gains are the sizes, in standard deviations of the differences, that a gain is looked for
// at, and how much each is bet on.
var gains = []struct{ size, bet float64 }{{0.7, 0.35}, {1, 0.35}, {2, 0.15}, {4, 0.15}}

// Weigh compares an experiment of an open run with the best so far, on the seeds that both
// have, and says whether it is kept, reverted or measured further. All its trials are
// complete.
//
// It is kept where the evidence against "it is no better" is large enough to stop at once, or
// where the test at the last seed says so. The evidence is an e-value: what one would win in
// a fair bet on the claim that is false, so that to win 1/a ever, however long one plays, has a
// chance of at most a. It is the likelihood of Student's t under gains of several sizes, by
// that under none, averaged (Pérez-Ortiz, Lardy, de Heide and Grünwald, "E-Statistics, Group
// Invariance and Anytime-Valid Testing", Annals of Statistics 52, 2024; Ville's inequality).
// The two ways to be kept share keep.alpha. It is given up early where the likelihood of a
// gain worth having is hopeless times that of none.
func Weigh(s *research.State, id string) research.Weighing {
	st := s.Created.Study
	x, best := s.Experiment(id), s.Standing()
	w := research.Weighing{Experiment: id}
	if best != nil {
		w.Against = best.Experiment
	}
	if why := failed(s, x); why != "" {
		w.Verdict, w.Why = research.FailedVerdict, why
		return w
	}
	switch {
	case s.Excess(x) > 0:
		w.Verdict, w.Why = research.Reverted, "it breaks a constraint"
		return w
	case best == nil && x.Index == 0:
		w.Verdict, w.Why = research.Kept, "the start"
		return w
	case best == nil:
		w.Verdict, w.Why = research.Kept, "nothing before it has a value"
		return w
	}
	var d []float64
	constant, largest := true, 0.0
	var first research.Pair
	for _, seed := range s.Plan.Seeds {
		a, okA := searchValue(s, id, seed)
		b, okB := searchValue(s, best.Experiment, seed)
		if !okA || !okB {
			continue
		}
		if len(d) == 0 {
			first = research.Pair{A: a, B: b}
		}
		constant = constant && a == first.A && b == first.B
		largest = max(largest, math.Abs(a), math.Abs(b))
		diff := a - b
		if st.Objective.Goal == study.Minimize {
			diff = -diff
		}
		d = append(d, diff)
	}
	rule := *st.Keep
	weighDifferences(&w, d, rule, constant, largest*sameness)
	if w.Verdict == "" {
		w.Seeds = next(s, w.N)
	}
	if w.Verdict == "" && len(w.Seeds) == 0 { // the best has no value for some seeds
		w.Verdict, w.Why = research.Reverted, fmt.Sprintf("%d of %d seeds gave a pair, which shows no gain", w.N, rule.Seeds)
	}
	return w
}

// weighDifferences applies the rule to differences, above zero where the experiment is better.
// constant: no seed changes either side. Differences that are within same of each other differ
// by rounding alone.
func weighDifferences(w *research.Weighing, d []float64, rule study.Keep, constant bool, same float64) {
	w.N = len(d)
	if len(d) < 2 {
		return
	}
	sample := NewSample(d)
	if !Finite(sample.Mean, sample.SD) {
		w.Verdict, w.Why = research.Reverted, "the values are too large to be compared"
		return
	}
	w.Gain = &sample.Mean
	last := len(d) >= rule.Seeds
	if constant { // no seed changes either: they are compared as they are
		w.Verdict, w.Why = research.Reverted, "it is no better, whatever the seed"
		if sample.Mean > rule.By {
			w.Verdict, w.Why = research.Kept, "it is better, whatever the seed"
		}
		return
	}
	if !sample.Varies() || slices.Max(d)-slices.Min(d) <= same {
		if last {
			w.Verdict, w.Why = research.Reverted, "all differences are the same, so nothing can be inferred"
			if sample.Mean > rule.By {
				w.Verdict, w.Why = research.Kept, fmt.Sprintf("it is better by the same with each of %d seeds", len(d))
			}
		}
		return
	}
	low, high := sample.Interval(1 - 2*rule.Alpha)
	if Finite(low, high) {
		w.Interval = &[2]float64{low, high}
	}
	p := sample.Above(rule.By)
	w.P = &p
	beyond := make([]float64, len(d))
	for i, v := range d {
		beyond[i] = v - rule.By
	}
	logs := make([]float64, len(gains))
	for i, g := range gains {
		logs[i] = logLikelihoodRatio(beyond, g.size)
		w.Evidence += g.bet * math.Exp(min(logs[i], 300))
	}
	by := ""
	if rule.By > 0 {
		by = fmt.Sprintf(" by more than %v", rule.By)
	}
	switch {
	case w.Evidence >= 1/(early*rule.Alpha):
		w.Verdict, w.Why = research.Kept, fmt.Sprintf("it is better%s: after %d seeds the evidence is %.3g, and %.3g is asked", by, len(d), w.Evidence, 1/(early*rule.Alpha))
	case last && p <= (1-early)*rule.Alpha:
		w.Verdict, w.Why = research.Kept, fmt.Sprintf("it is better%s: p = %.2g after %d seeds, and %.2g is asked", by, p, len(d), (1-early)*rule.Alpha)
	case last:
		w.Verdict, w.Why = research.Reverted, fmt.Sprintf("not shown to be better%s: p = %.2g after %d seeds, and %.2g is asked", by, p, len(d), (1-early)*rule.Alpha)
	case logLikelihoodRatio(beyond, worth) <= math.Log(hopeless):
		w.Verdict, w.Why = research.Reverted, fmt.Sprintf("after %d seeds a gain worth having is unlikely", len(d))
	}
}

// failed says which trial of an experiment's search failed, and how; empty: none did.
func failed(s *research.State, x *research.Experiment) string {
	for _, t := range x.Trials {
		if t.Purpose == research.ForSearch && t.Outcome != "" && t.Outcome != research.Succeeded {
			why := string(t.Outcome)
			if last := t.Last(); last != nil && last.Message != "" {
				why += ": " + last.Message
			}
			return why
		}
	}
	if x.Value == nil {
		return "it has no value of " + s.Created.Study.Objective.Metric
	}
	return ""
}

func searchValue(s *research.State, id string, seed int64) (float64, bool) {
	return valueOf(s, id, seed, s.Created.Study.Objective.Metric)
}

// next are the seeds on which both are measured after n: as many as run at a time.
func next(s *research.State, n int) []int64 {
	seeds := s.Plan.Seeds
	i := min(n, len(seeds))
	return slices.Clone(seeds[i:min(i+max(1, s.Created.Study.Parallel/2), len(seeds))])
}

// logLikelihoodRatio is the logarithm of how much more likely differences are, up to their
// scale, where their mean is size times their standard deviation than where it is 0.
//
// With the scale integrated out by 1/σ, the likelihood is proportional to the integral of
// v^(n-1)·exp(-v²/2 + b·v) over v > 0, times exp(-n·size²/2), with b = size·Σx/√Σx².
func logLikelihoodRatio(x []float64, size float64) float64 {
	n := float64(len(x))
	largest := 0.0
	for _, v := range x {
		largest = max(largest, math.Abs(v))
	}
	if largest == 0 {
		return 0
	}
	sum, squares := 0.0, 0.0
	for _, v := range x {
		v /= largest
		sum += v
		squares += v * v
	}
	gamma, _ := math.Lgamma(n / 2)
	none := (n/2-1)*math.Ln2 + gamma // the integral for b = 0
	return logMoment(n, size*sum/math.Sqrt(squares)) - none - n*size*size/2
}

// logMoment is the logarithm of the integral of v^(n-1)·exp(-v²/2 + b·v) over v > 0, by
// Simpson's rule around its peak.
func logMoment(n, b float64) float64 {
	f := func(v float64) float64 {
		if v <= 0 {
			return math.Inf(-1)
		}
		return (n-1)*math.Log(v) - v*v/2 + b*v
	}
	peak := (b + math.Sqrt(b*b+4*(n-1))) / 2 // where the derivative is 0
	top := f(peak)
	const width, parts = 10, 400 // the logarithm curves down by 1 at least
	from := max(0, peak-width)
	step := (peak + width - from) / parts
	sum := 0.0
	for i := range parts + 1 {
		weight := 2.0
		switch {
		case i == 0 || i == parts:
			weight = 1
		case i%2 == 1:
			weight = 4
		}
		sum += weight * math.Exp(f(from+float64(i)*step)-top)
	}
	return top + math.Log(sum*step/3)
}
