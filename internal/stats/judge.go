package stats

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ratchet/internal/research"
	"ratchet/study"
)

// Looks are verdicts that were given before, by hypothesis.
type Looks map[string][]research.Look

// Judge gives every hypothesis of a run its verdict, from the trials on fresh
// seeds, paired by seed. The verdicts depend on the run's events alone, and on
// earlier looks at the same claims.
func Judge(s *research.State, earlier Looks) []research.Judgment {
	v := s.Created.Study.Validation
	cases := make([]comparison, len(s.Hypotheses))
	var ps []float64
	var tested []int
	for i, h := range s.Hypotheses {
		cases[i] = measure(s, h, 1-v.Alpha)
		cases[i].addEarlierLooks(earlier[h.ID])
		if cases[i].tested {
			ps = append(ps, cases[i].decision()*cases[i].looks())
			tested = append(tested, i)
		}
	}
	for k, level := range levels(ps, v.Correction, v.Alpha) {
		c := &cases[tested[k]]
		c.Level = level / c.looks()
	}
	out := make([]research.Judgment, len(cases))
	for i := range cases {
		cases[i].conclude(v.Alpha)
		out[i] = cases[i].Judgment
	}
	return out
}

// looks is by what the level of a look is divided that comes after others: two
// for each. All looks at a claim together then err with a chance of less than
// twice alpha, however many there are and whatever caused the new look.
func (c *comparison) looks() float64 { return math.Ldexp(1, len(c.Earlier)) }

// addEarlierLooks takes over the earlier looks at other data. The same data, after a rollback
// or in a fork, are no other look: they say the same again.
func (c *comparison) addEarlierLooks(earlier []research.Look) {
	same := func(a, b research.Look) bool {
		equal := func(x, y *float64) bool { return x == nil && y == nil || x != nil && y != nil && *x == *y }
		return a.N == b.N && equal(a.Effect, b.Effect) && equal(a.P, b.P)
	}
	now := research.Look{N: c.N, Effect: c.Effect, P: c.P}
	for _, l := range earlier {
		if !same(l, now) && !slices.ContainsFunc(c.Earlier, func(e research.Look) bool { return same(e, l) }) {
			c.Earlier = append(c.Earlier, l)
		}
	}
}

// sameness is how near to each other differences are, as a share of the values,
// that differ by rounding alone: two units in the last place of single precision.
const sameness = 1.0 / (1 << 22)

// fewPairs is below how many pairs a verdict says how little it rests on.
const fewPairs = 6

// comparison is a hypothesis on its way to a verdict. Differences are turned so
// that the claim expects them to be above zero.
type comparison struct {
	research.Judgment
	h      *research.Hypothesis
	d      []float64
	sample Sample
	tested bool // there is something to infer from
}

// measure computes all of a judgment that does not depend on the others.
func measure(s *research.State, h *research.Hypothesis, level float64) comparison {
	c := comparison{h: h, Judgment: research.Judgment{Hypothesis: h.ID, Verdict: research.Undecided}}
	c.Planned = len(s.Designed.Seeds)
	c.pair(s)
	c.describe(level)
	return c
}

// describe computes the figures of the pairs.
func (c *comparison) describe(level float64) {
	if c.N = len(c.Pairs); c.N == 0 {
		return
	}
	constant, largest := true, 0.0
	for _, p := range c.Pairs {
		c.d = append(c.d, c.turn(p.A-p.B))
		largest = max(largest, math.Abs(p.A), math.Abs(p.B))
	}
	for _, d := range c.d {
		constant = constant && math.Abs(d-c.d[0]) <= largest*sameness
	}
	c.sample = NewSample(c.d)
	effect := c.turn(c.sample.Mean)
	if !Finite(effect, c.sample.SD) {
		c.Why = "the values are too large to be subtracted from each other"
		return
	}
	c.Effect = &effect
	switch {
	case c.h.Exact:
		c.exactly(constant)
	case c.N < 2:
	case constant:
		c.Why = fmt.Sprintf("nothing varied over the seeds: all differences are %s, so nothing can be inferred; let the seed vary the data's split, or state an exact comparison (exact: true)", short(effect+0))
	default:
		c.tested = true
		c.infer(level)
	}
}

// infer computes the figures of a comparison that varies.
func (c *comparison) infer(level float64) {
	c.Test = PairedT
	if c.sample.Skewed {
		c.Test = PairedTSkewed
	}
	p, t, skewness := c.sample.TwoSided(0), c.turn(c.sample.T(0)), c.turn(c.sample.Skewness)
	c.P, c.Statistic, c.DF, c.Skewness = &p, &t, c.sample.DF(), &skewness
	c.Interval = c.interval(c.sample, level)
	seen := map[float64]int{}
	for _, d := range c.d {
		if d == 0 {
			c.Zeros++
		} else if seen[math.Abs(d)]++; seen[math.Abs(d)] > 1 {
			c.Ties++
		}
	}
	second := research.Opinion{Test: Wilcoxon}
	second.Statistic, second.P = signedRank(c.d)
	for _, d := range c.d {
		switch d := c.turn(d); {
		case d > 0:
			second.Above++
		case d < 0:
			second.Below++
		}
	}
	c.Second = &second
}

// The tests.
const (
	PairedT       = "paired t"
	PairedTSkewed = "paired t, corrected for skewness"
	Wilcoxon      = "Wilcoxon signed-rank"
	Exact         = "none: exact comparison"
)

// turn turns a difference a − b to the claim's side, and back.
func (c *comparison) turn(d float64) float64 {
	if c.h.Expect == study.Less {
		return -d
	}
	return d
}

// interval is a sample's, as one of a − b.
func (c *comparison) interval(s Sample, level float64) *[2]float64 {
	low, high := s.Interval(level)
	if c.h.Expect == study.Less {
		low, high = -high, -low
	}
	return &[2]float64{low, high}
}

// decision is the p value of what would be decided if it were small enough.
func (c *comparison) decision() float64 {
	if m := c.sample.Mean; m > 0 && m >= c.h.By {
		return 2 * c.sample.Above(0)
	}
	return min(1, 2*c.sample.Below(c.h.By))
}

// decide gives the verdict that a sample bears at a level: supported where the
// interval is above zero and the best estimate is at least by, refuted where the
// interval is below by.
func (c *comparison) decide(s Sample, level float64) string {
	low, high := s.Interval(1 - level)
	switch {
	case low > 0 && s.Mean >= c.h.By:
		return research.Supported
	case high < c.h.By, c.h.By == 0 && high < 0:
		return research.Refuted
	}
	return research.Undecided
}

// conclude gives the verdict at the comparison's level, a share of alpha.
func (c *comparison) conclude(alpha float64) {
	switch {
	case c.Why != "":
		return
	case !c.tested:
		c.Why = fmt.Sprintf("%s of succeeded trials are too few to compare", research.Counted(c.N, "pair"))
		c.Why += c.gaps()
		return
	}
	level := c.Level
	adjusted := min(1, *c.P*alpha/level)
	c.PAdjusted, c.Adjusted = &adjusted, c.interval(c.sample, 1-level)
	c.Verdict = c.decide(c.sample, level)
	switch c.Verdict {
	case research.Supported:
		c.Why = "the interval is on the claim's side of zero"
		if c.h.By > 0 {
			c.Why += fmt.Sprintf(", and its best estimate is at least %s", short(c.h.By))
		}
	case research.Refuted:
		c.Why = "the interval is on the other side of zero"
		if c.h.By > 0 {
			c.Why = fmt.Sprintf("the whole interval is below %s, the smallest difference that matters", short(c.h.By))
		}
	default:
		c.Why = "the interval includes zero"
		if low, _ := c.sample.Interval(1 - level); low > 0 {
			c.Why = fmt.Sprintf("there is a difference, and its best estimate is below %s, the smallest that matters", short(c.h.By))
		}
	}
	c.doubt(level)
	if c.sample.Skewed {
		c.Why += fmt.Sprintf("; the differences look skewed (skewness %.2g)", *c.Skewness)
	}
	if c.N < fewPairs {
		c.Why += fmt.Sprintf("; it rests on %s", research.Counted(c.N, "pair"))
	}
}

// doubt withdraws a verdict that does not hold when what is missing is counted
// against it, or that the ranks contradict.
func (c *comparison) doubt(level float64) {
	ranks := c.Second.Above - c.Second.Below
	if c.h.Expect == study.Less {
		ranks = -ranks
	}
	if against := c.sample.Mean*float64(ranks) < 0; against && c.Second.P <= level {
		c.Verdict = research.Undecided
		c.Why = fmt.Sprintf("the mean says one thing, %d of %d seeds the other (%s, p %s)", max(c.Second.Above, c.Second.Below), c.N, Wilcoxon, formatP(c.Second.P))
	}
	gaps := c.gaps()
	if c.Verdict != research.Undecided && gaps != "" {
		// The missing differences are as large as the largest that was seen, and
		// speak against the verdict.
		largest := 0.0
		for _, d := range c.d {
			largest = max(largest, math.Abs(d))
		}
		if c.Verdict == research.Supported {
			largest = -largest
		}
		filled := append([]float64{}, c.d...)
		for range c.Planned - c.N {
			filled = append(filled, largest)
		}
		if c.decide(NewSample(filled), level) != c.Verdict {
			c.Why = fmt.Sprintf("%s only while the missing pairs are left out, not if they are counted against that, as %s each", c.Verdict, short(c.turn(largest)))
			c.Verdict = research.Undecided
		}
	}
	c.Why += gaps
}

// gaps says which pairs are missing.
func (c *comparison) gaps() string {
	if c.N >= c.Planned {
		return ""
	}
	var sides []string
	if c.LostA > 0 {
		sides = append(sides, fmt.Sprintf("a has no value for %d", c.LostA))
	}
	if c.LostB > 0 {
		sides = append(sides, fmt.Sprintf("b for %d", c.LostB))
		if c.LostA == 0 {
			sides[0] = fmt.Sprintf("b has no value for %d", c.LostB)
		}
	}
	out := fmt.Sprintf("; %d of %d pairs are missing", c.Planned-c.N, c.Planned)
	if len(sides) > 0 {
		out += ": " + strings.Join(sides, ", ")
	}
	return out
}

// exactly compares values that do not vary, without statistics.
func (c *comparison) exactly(constant bool) {
	c.Test = Exact
	d := c.sample.Mean
	switch {
	case c.N < c.Planned:
		c.Why = "an exact comparison needs every seed" + c.gaps()
	case !constant:
		c.Why = "an exact comparison is of values that do not vary, and these do over the seeds; take exact away"
	case d > 0 && d >= c.h.By:
		c.Verdict, c.Why = research.Supported, "the values are as claimed, at every seed alike; an exact comparison, no statistics"
	default:
		c.Verdict, c.Why = research.Refuted, "the values are not as claimed, at every seed alike; an exact comparison, no statistics"
	}
}

// pair fills in the values of both sides for the fresh seeds that both have,
// and how many each side lacks.
func (c *comparison) pair(s *research.State) {
	c.Pairs = []research.Pair{}
	metric := s.Created.Study.MetricOf(c.h.Hypothesis)
	at := c.h.Comparison
	if at == nil || at.ExperimentA == "" || at.ExperimentB == "" {
		return
	}
	for _, seed := range s.Designed.Seeds {
		a, okA := valueOf(s, at.ExperimentA, seed, metric)
		b, okB := valueOf(s, at.ExperimentB, seed, metric)
		if okA && okB {
			c.Pairs = append(c.Pairs, research.Pair{Seed: seed, A: a, B: b})
		}
		if !okA {
			c.LostA++
		}
		if !okB {
			c.LostB++
		}
	}
}

func valueOf(s *research.State, experiment string, seed int64, metric string) (float64, bool) {
	t := s.Trial(s.TrialID(experiment, seed))
	if t == nil {
		return 0, false
	}
	v, ok := t.Metrics()[metric]
	return v, ok
}

// Finite reports whether all values are numbers that have an end.
func Finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

func short(v float64) string { return fmt.Sprintf("%.4g", v) }

func formatP(p float64) string {
	if p < 0.001 {
		return "< 0.001"
	}
	return fmt.Sprintf("= %.3f", math.Round(p*1000)/1000)
}
