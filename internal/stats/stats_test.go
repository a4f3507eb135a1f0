package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ratchet/internal/research"
	"ratchet/study"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// sleep are the differences of Student's sleep data (Biometrika 6, 1908), as
// in R's data set of that name: group 1 less group 2.
var sleep = []float64{-1.2, -2.4, -1.3, -1.3, 0, -1.0, -1.8, -0.8, -4.6, -1.4}

// TestSample against R 4: t.test(extra ~ group, data = sleep, paired = TRUE).
func TestSample(t *testing.T) {
	s := NewSample(sleep)
	s.Skewed = false // it looks so, by one value; here it is Student's own
	low, high := s.Interval(0.95)
	near(t, "t", s.T(0), -4.0621, 5e-5)
	near(t, "p", s.TwoSided(0), 0.002833, 5e-7)
	near(t, "the lower end", low, -2.4598858, 5e-8)
	near(t, "the upper end", high, -0.7001142, 5e-8)
}

// TestSkewedSample: Hall's correction by hand. Of nine zeros and a one the mean is
// 0.1, the skewness 8/3, and W for a mean of zero is 0.1/√0.1.
func TestSkewedSample(t *testing.T) {
	s := NewSample([]float64{0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	near(t, "the skewness", s.Skewness, 8.0/3, 1e-12)
	if !s.Skewed {
		t.Fatal("it does not look skewed")
	}
	a, w := 8.0/3, math.Sqrt(0.1)
	near(t, "the statistic", s.corrected(0), math.Sqrt(10)*(w+a*w*w/3+a*a*w*w*w/27+a/60), 1e-12)
	near(t, "its inverse", s.uncorrected(s.corrected(0)/math.Sqrt(10)), w, 1e-12)
	low, high := s.Interval(0.95)
	studentLow, studentHigh := 0.1-2.262157*0.1, 0.1+2.262157*0.1
	if low > studentLow+1e-6 || high <= studentHigh {
		t.Errorf("the interval [%v, %v] is not the more careful one", low, high)
	}
}

// TestIntervalsAndPValuesAgree: an interval excludes a value exactly where the
// test against it says so.
func TestIntervalsAndPValuesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-10, 10), 2, 30).Draw(t, "x")
		if rapid.Bool().Draw(t, "skewed") {
			for i := range x {
				x[i] = math.Exp(x[i] / 3)
			}
		}
		s := NewSample(x)
		if s.SD < 1e-6 {
			return
		}
		level := rapid.SampledFrom([]float64{0.5, 0.9, 0.95, 0.999}).Draw(t, "level")
		mu := s.Mean + s.SD*rapid.Float64Range(-5, 5).Draw(t, "away")
		low, high := s.Interval(level)
		if low > s.Mean || high < s.Mean {
			t.Fatalf("[%v, %v] is not about %v", low, high, s.Mean)
		}
		for _, side := range []struct {
			excluded bool
			p        float64
		}{{low > mu, s.Above(mu)}, {high < mu, s.Below(mu)}} {
			if near := math.Abs(side.p-(1-level)/2) < 1e-9; !near && side.excluded != (side.p < (1-level)/2) {
				t.Fatalf("%v: [%v, %v] at %v, and p is %v", mu, low, high, level, side.p)
			}
		}
	})
}

// TestSignedRank against Hollander and Wolfe, Nonparametric Statistical
// Methods, 1973, table 3.1 (depression scale), which is also the example of
// R's wilcox.test: V = 40, one-sided p = 0.01953.
func TestSignedRank(t *testing.T) {
	x := []float64{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30}
	y := []float64{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}
	d := make([]float64, len(x))
	for i := range x {
		d[i] = x[i] - y[i]
	}
	v, p := signedRank(d)
	near(t, "V", v, 40, 0)
	near(t, "p", p, 0.0390625, 1e-12)
	// All nine non-zero differences have one sign: 2 of 2⁹ assignments.
	_, p = signedRank(sleep)
	near(t, "p of the sleep data", p, 2.0/512, 1e-12)
	if _, p := signedRank([]float64{0, 0, 0}); p != 1 {
		t.Errorf("of zeros alone p is %v", p)
	}
}

// TestSignedRankIsContinuous: where the exact distribution ends and the
// approximation begins, they agree.
func TestSignedRankIsContinuous(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		d := make([]float64, mostExact+1)
		for i := range d {
			d[i] = r.NormFloat64() + 0.25
		}
		v, approximate := signedRank(d)
		ranks, _ := ranked(d)
		near(t, "the approximate p", approximate, exact(ranks, v), 0.01)
	}
}

// TestExactIsEnumeration: with ties, against all 2ⁿ signs one by one.
func TestExactIsEnumeration(t *testing.T) {
	d := []float64{1, -1, 2, 2, -3, 3, 3, 5}
	ranks, _ := ranked(d)
	v, p := signedRank(d)
	middle, far := 0.0, 0
	for _, r := range ranks {
		middle += r / 2
	}
	for signs := range 1 << len(ranks) {
		sum := 0.0
		for i, r := range ranks {
			if signs>>i&1 == 1 {
				sum += r
			}
		}
		if math.Abs(sum-middle) >= math.Abs(v-middle)-1e-9 {
			far++
		}
	}
	near(t, "p", p, float64(far)/float64(int(1)<<len(ranks)), 1e-12)
}

// TestLevels against R 4: where p.adjust(p, "holm") or p.adjust(p, "bonferroni")
// is at most 0.05, and there alone, a decision falls.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		correction string
		p          []float64
		decided    []bool
		levels     []float64
	}{
		{"holm", []float64{0.04, 0.01, 0.03, 0.02}, []bool{false, true, false, false}, []float64{0.05 / 3, 0.05 / 4, 0.05 / 3, 0.05 / 3}},
		{"holm", []float64{0.001, 0.04, 0.02}, []bool{true, true, true}, []float64{0.05 / 3, 0.05, 0.025}},
		{"bonferroni", []float64{0.04, 0.01}, []bool{false, true}, []float64{0.025, 0.025}},
		{"none", []float64{0.04, 0.06}, []bool{true, false}, []float64{0.05, 0.05}},
		{"holm", nil, nil, nil},
	} {
		for i, got := range levels(c.p, c.correction, 0.05) {
			near(t, c.correction, got, c.levels[i], 1e-12)
			if (c.p[i] <= got) != c.decided[i] {
				t.Errorf("%s of %v: %v at %v", c.correction, c.p, c.p[i], got)
			}
		}
	}
}

// TestLevelsAgreeWithHolm: the decisions are those of the adjusted p values.
func TestLevelsAgreeWithHolm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Float64Range(0, 0.2), 1, 20).Draw(t, "p")
		levels := levels(p, "holm", 0.05)
		sorted := slices.Sorted(slices.Values(p))
		adjusted, most := map[float64]float64{}, 0.0
		for rank, v := range sorted {
			most = max(most, v*float64(len(p)-rank))
			if _, there := adjusted[v]; !there {
				adjusted[v] = most
			}
		}
		for i, v := range p {
			if near := math.Abs(adjusted[v]-0.05) < 1e-9; !near && (v <= levels[i]) != (adjusted[v] <= 0.05) {
				t.Fatalf("%v at %v, adjusted %v", v, levels[i], adjusted[v])
			}
		}
	})
}

// judgedPairs is the judgment of one hypothesis from its pairs, of so many that
// were planned.
func judgedPairs(h study.Hypothesis, planned int, earlier []research.Look, pairs ...research.Pair) research.Judgment {
	c := comparison{h: &research.Hypothesis{Hypothesis: h}, Judgment: research.Judgment{Verdict: research.Undecided, Pairs: pairs}}
	c.Planned, c.LostA, c.Earlier = planned, planned-len(pairs), earlier
	c.describe(0.95)
	if c.tested {
		c.Level = 0.05 / c.looks()
	}
	c.conclude(0.05)
	return c.Judgment
}

func pairsOf(a, b func(i int) float64, n int) (out []research.Pair) {
	for i := range n {
		out = append(out, research.Pair{Seed: int64(i), A: a(i), B: b(i)})
	}
	return out
}

// TestVerdict: each verdict that a record bears, and those that it does not.
func TestVerdict(t *testing.T) {
	noise := []float64{0.3, -0.2, 0.1, 0.4, -0.3, 0.2, -0.1, -0.4, 0.25, -0.25} // mean 0, deviation 0.29
	about := func(mean float64) []research.Pair {
		return pairsOf(func(i int) float64 { return mean + noise[i%10] }, func(int) float64 { return 0 }, 10)
	}
	at := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	odd := func(i int) float64 { // 0.50 at 19 seeds, 10 at one
		if i == 7 {
			return 10
		}
		return 0.5
	}
	for _, c := range []struct {
		name    string
		h       study.Hypothesis
		planned int
		pairs   []research.Pair
		want    string
		says    string
	}{
		{"a clear difference", study.Hypothesis{Expect: study.Greater}, 10, about(0.5), research.Supported, "on the claim's side of zero"},
		{"that is large enough", study.Hypothesis{Expect: study.Greater, By: 0.3}, 10, about(0.5), research.Supported, "at least 0.3"},
		{"in the other direction", study.Hypothesis{Expect: study.Greater}, 10, about(-0.5), research.Refuted, "on the other side of zero"},
		{"as was claimed", study.Hypothesis{Expect: study.Less, By: 0.1}, 10, about(-0.5), research.Supported, "at least 0.1"},
		{"against what was claimed", study.Hypothesis{Expect: study.Less}, 10, about(0.5), research.Refuted, "on the other side"},
		{"too small to matter", study.Hypothesis{Expect: study.Greater, By: 1}, 10, about(0.5), research.Refuted, "below 1"},
		{"perhaps too small", study.Hypothesis{Expect: study.Greater, By: 0.55}, 10, about(0.5), research.Undecided, "its best estimate is below 0.55"},
		{"nothing to be seen", study.Hypothesis{Expect: study.Greater}, 10, about(0.1), research.Undecided, "includes zero"},
		{"no pairs", study.Hypothesis{Expect: study.Greater}, 10, nil, research.Undecided, "0 pairs of succeeded trials are too few to compare; 10 of 10 pairs are missing"},
		{"one pair", study.Hypothesis{Expect: study.Greater}, 1, about(0.5)[:1], research.Undecided, "1 pair of succeeded trials"},
		{"four pairs", study.Hypothesis{Expect: study.Greater}, 4, about(2)[:4], research.Supported, "it rests on 4 pairs"},

		{"opposite", study.Hypothesis{Expect: study.Less}, 20, pairsOf(at(0.51), odd, 20), research.Undecided, "the mean says one thing, 19 of 20 seeds the other"},
		{"rounding", study.Hypothesis{Expect: study.Greater}, 2, []research.Pair{{A: 0.91, B: 0.81}, {A: 0.92, B: 0.82}}, research.Undecided, "nothing varied"},
		{"seed ignored", study.Hypothesis{Expect: study.Greater}, 10, pairsOf(at(0.901), at(0.900), 10), research.Undecided, "nothing varied"},
		{"two equal pairs", study.Hypothesis{Expect: study.Greater, By: 0.01}, 2, pairsOf(at(1), at(1), 2), research.Undecided, "nothing varied"},
		{"one-sided loss", study.Hypothesis{Expect: study.Greater}, 12, about(0.5)[:7], research.Undecided, "5 of 12 pairs are missing: a has no value for 5"},
		{"one-sided loss that does not matter", study.Hypothesis{Expect: study.Greater}, 11, about(5), research.Undecided, "supported only while the missing pairs are left out"},
		{"overflow", study.Hypothesis{Expect: study.Greater}, 10, pairsOf(func(i int) float64 { return 1e308 }, func(i int) float64 { return -1e308 + float64(i)*1e307 }, 10), research.Undecided, "too large to be subtracted"},
		{"large", study.Hypothesis{Expect: study.Greater}, 10, pairsOf(func(i int) float64 { return 1e299 * (1 + noise[i]) }, at(0), 10), research.Supported, ""},
		{"tiny", study.Hypothesis{Expect: study.Greater}, 10, pairsOf(func(i int) float64 { return 1e-300 * (1 + noise[i]) }, at(0), 10), research.Supported, ""},

		{"exact", study.Hypothesis{Expect: study.Greater, Exact: true}, 3, pairsOf(at(0.901), at(0.900), 3), research.Supported, "no statistics"},
		{"exact, and not so", study.Hypothesis{Expect: study.Less, Exact: true}, 3, pairsOf(at(0.901), at(0.900), 3), research.Refuted, "no statistics"},
		{"exact, too little", study.Hypothesis{Expect: study.Greater, By: 0.1, Exact: true}, 3, pairsOf(at(0.901), at(0.900), 3), research.Refuted, ""},
		{"exact, but varies", study.Hypothesis{Expect: study.Greater, Exact: true}, 10, about(0.5), research.Undecided, "take exact away"},
		{"exact, with a gap", study.Hypothesis{Expect: study.Greater, Exact: true}, 4, pairsOf(at(0.901), at(0.900), 3), research.Undecided, "needs every seed"},
	} {
		j := judgedPairs(c.h, c.planned, nil, c.pairs...)
		if j.Verdict != c.want || !strings.Contains(j.Why, c.says) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, j.Verdict, j.Why, c.want, c.says)
		}
		if _, err := json.Marshal(j); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestEarlierLooksCost: what was looked at before is decided at a lower level.
func TestEarlierLooksCost(t *testing.T) {
	pairs := pairsOf(func(i int) float64 {
		return []float64{0.3, -0.2, 0.1, 0.4, -0.3, 0.2, -0.1, -0.4, 0.25, -0.25}[i] + 0.23
	}, func(int) float64 { return 0 }, 10)
	h := study.Hypothesis{Expect: study.Greater}
	first, second := judgedPairs(h, 10, nil, pairs...), judgedPairs(h, 10, []research.Look{{Run: "r"}}, pairs...)
	if first.Verdict != research.Supported || second.Verdict != research.Undecided || second.Level != first.Level/2 || *second.PAdjusted != 2**first.PAdjusted {
		t.Errorf("first %s, p %v at %v; then %s, p %v at %v", first.Verdict, *first.PAdjusted, first.Level, second.Verdict, *second.PAdjusted, second.Level)
	}
}

// TestVerdictsAgreeWithTheirFigures: whatever the values, the verdict, the
// adjusted interval and the adjusted p say the same, and can be written down.
func TestVerdictsAgreeWithTheirFigures(t *testing.T) {
	value := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-2, 2), rapid.SampledFrom([]float64{0, 1, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e300, -1e300, 1e155, 1e-200}))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 15).Draw(t, "pairs")
		planned := n + rapid.IntRange(0, 5).Draw(t, "missing")
		var pairs []research.Pair
		for range n {
			pairs = append(pairs, research.Pair{A: value.Draw(t, "a"), B: value.Draw(t, "b")})
		}
		h := study.Hypothesis{Expect: rapid.SampledFrom([]string{study.Greater, study.Less}).Draw(t, "expect"), By: rapid.SampledFrom([]float64{0, 0.5}).Draw(t, "by"), Exact: rapid.Bool().Draw(t, "exact")}
		j := judgedPairs(h, planned, make([]research.Look, rapid.IntRange(0, 3).Draw(t, "looks")), pairs...)
		if _, err := json.Marshal(j); err != nil {
			t.Fatal(err)
		}
		if j.Verdict == research.Undecided || h.Exact {
			return
		}
		turned := *j.Adjusted
		if h.Expect == study.Less {
			turned = [2]float64{-turned[1], -turned[0]}
		}
		if supported := turned[0] > 0; j.Verdict == research.Supported && (!supported || *j.PAdjusted > 0.05*(1+1e-9) || *j.Effect < 0 != (h.Expect == study.Less)) {
			t.Fatalf("supported with %v, p %v, effect %v", turned, *j.PAdjusted, *j.Effect)
		}
		if j.Verdict == research.Refuted && turned[1] >= max(h.By, math.SmallestNonzeroFloat64) {
			t.Fatalf("refuted with %v", turned)
		}
	})
}

// TestResidual against R 4: sigma(lm(v ~ row + column)) of this table.
func TestResidual(t *testing.T) {
	near(t, "the residual deviation", residual([][]float64{{1, 2, 4}, {2, 3, 4.5}, {5, 5.5, 8}}), 0.2635231, 5e-8)
	near(t, "of a table without one", residual([][]float64{{1, 2}, {3, 4}}), 0, 0)
}
