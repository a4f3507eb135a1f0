package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"

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

// TestTTest against R 4: t.test(extra ~ group, data = sleep, paired = TRUE).
func TestTTest(t *testing.T) {
	stat, p := TTest(sleep)
	near(t, "t", stat, -4.0621, 5e-5)
	near(t, "p", p, 0.002833, 5e-7)
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
	v, p := SignedRank(d)
	near(t, "V", v, 40, 0)
	near(t, "p", p, 0.0390625, 1e-12)
	// All nine non-zero differences have one sign: 2 of 2⁹ assignments.
	_, p = SignedRank(sleep)
	near(t, "p of the sleep data", p, 2.0/512, 1e-12)
	if _, p := SignedRank([]float64{0, 0, 0}); p != 1 {
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
		v, approximate := SignedRank(d)
		ranks, _ := ranked(d)
		near(t, "the approximate p", approximate, exact(ranks, v), 0.01)
	}
}

// TestExactIsEnumeration: with ties, against all 2ⁿ signs one by one.
func TestExactIsEnumeration(t *testing.T) {
	d := []float64{1, -1, 2, 2, -3, 3, 3, 5}
	ranks, _ := ranked(d)
	v, p := SignedRank(d)
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

// TestAdjust against R 4: p.adjust(p, "holm") and p.adjust(p, "bonferroni").
func TestAdjust(t *testing.T) {
	p := []float64{0.04, 0.01, 0.03, 0.02}
	for method, want := range map[string][]float64{
		"holm": {0.06, 0.04, 0.06, 0.06}, "bonferroni": {0.16, 0.04, 0.12, 0.08}, "none": p,
	} {
		for i, got := range Adjust(p, method) {
			near(t, method, got, want[i], 1e-12)
		}
	}
	if got := Adjust([]float64{0.5, 0.9}, "holm"); got[0] != 1 || got[1] != 1 {
		t.Errorf("adjusted beyond 1: %v", got)
	}
}

// TestBCa against Efron and Tibshirani, An Introduction to the Bootstrap,
// 1993, section 14.2: the variance of the spatial test data A has the 90 %
// interval (115.8, 259.6), from 2,000 resamples.
func TestBCa(t *testing.T) {
	a := []float64{48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41}
	variance := func(x []float64) float64 {
		mean, sum := Mean(x), 0.0
		for _, v := range x {
			sum += (v - mean) * (v - mean)
		}
		return sum / float64(len(x))
	}
	near(t, "the variance", variance(a), 171.5, 0.05)
	near(t, "the acceleration", acceleration(a, variance), 0.061, 0.0005)
	low, high := BCa(a, variance, 0.9, rand.New(rand.NewPCG(1, 2)))
	near(t, "the lower end", low, 115.8, 4)
	near(t, "the upper end", high, 259.6, 6)
	if low, high := BCa([]float64{2, 2, 2}, Mean, 0.95, rand.New(rand.NewPCG(1, 2))); low != 2 || high != 2 {
		t.Errorf("of equal values the interval is [%v, %v]", low, high)
	}
}

func TestChoose(t *testing.T) {
	for want, samples := range map[string][][]float64{
		PairedT:  {{1, 2, 3}, {1, 2, 3, 4, 5, 6}, sleep[:5], {0, 0, 0, 0, 1}},
		Wilcoxon: {{1, 2, 3, 4, 5, 600}, {1, 1, 1, 1}, {0, 0, 0, 0, 0, 1}},
	} {
		for _, d := range samples {
			if got := Choose(d); got != want {
				t.Errorf("%v: %s", d, got)
			}
		}
	}
}

func TestVerdict(t *testing.T) {
	judgment := func(effect, low, high, p float64) research.Judgment {
		return research.Judgment{N: 10, Effect: &effect, Interval: &[2]float64{low, high}, PAdjusted: &p}
	}
	for _, c := range []struct {
		name   string
		j      research.Judgment
		expect string
		by     float64
		want   string
	}{
		{"a clear difference", judgment(0.3, 0.2, 0.4, 0.001), study.Greater, 0, research.Supported},
		{"that is large enough", judgment(0.3, 0.2, 0.4, 0.001), study.Greater, 0.1, research.Supported},
		{"in the other direction", judgment(-0.3, -0.4, -0.2, 0.001), study.Greater, 0, research.Refuted},
		{"as was claimed", judgment(-0.3, -0.4, -0.2, 0.001), study.Less, 0.1, research.Supported},
		{"against what was claimed", judgment(0.3, 0.2, 0.4, 0.001), study.Less, 0, research.Refuted},
		{"too small to matter", judgment(0.01, 0.005, 0.015, 0.001), study.Greater, 0.02, research.Refuted},
		{"perhaps too small", judgment(0.015, 0.005, 0.025, 0.001), study.Greater, 0.02, research.Undecided},
		{"no difference that matters", judgment(0.001, -0.01, 0.01, 0.9), study.Greater, 0.02, research.Refuted},
		{"nothing to be seen", judgment(0.1, -0.2, 0.4, 0.4), study.Greater, 0, research.Undecided},
		{"nor with a margin", judgment(0.1, -0.2, 0.4, 0.4), study.Greater, 0.02, research.Undecided},
		{"exactly alpha", judgment(0.3, 0.2, 0.4, 0.05), study.Greater, 0, research.Supported},
		{"no pairs", research.Judgment{N: 1}, study.Greater, 0, research.Undecided},
	} {
		if got, why := Verdict(c.j, c.expect, c.by, 0.05); got != c.want || why == "" {
			t.Errorf("%s: %s (%s), want %s", c.name, got, why, c.want)
		}
	}
}

// TestImportances: one parameter decides the value, another does nothing. By
// hand: of kind, between the groups is 6·0.25 = 1.5 of 1.5 in all.
func TestImportances(t *testing.T) {
	s := &research.State{Created: research.RunCreated{Study: &study.Study{Parameters: []study.Parameter{
		{Name: "noise", Kind: study.Float, Low: 0, High: 1}, {Name: "kind", Kind: study.Categorical, Values: []any{"a", "b"}}, {Name: "absent", Kind: study.Int},
	}}}}
	for i := range 6 {
		v := float64(i % 2)
		s.Experiments = append(s.Experiments, &research.Experiment{
			ExperimentProposed: research.ExperimentProposed{Parameters: study.Params{"kind": []any{"a", "b"}[i%2], "noise": float64(i/2) / 3}}, Value: &v,
		})
	}
	got := Importances(s)
	if got[0].Parameter != "kind" || got[0].N != 6 {
		t.Fatalf("%+v", got)
	}
	near(t, "the share of kind", got[0].Share, 1, 1e-12)
	near(t, "the share of noise", got[1].Share, 0, 1e-12)
	near(t, "the share of a parameter that is never there", got[2].Share, 0, 0)
}

// TestImportanceByHand: ω² of {1,2,3}, {2,3,4}: between 1.5, within 4, so
// (1.5 − 1) / (5.5 + 1) = 1/13.
func TestImportanceByHand(t *testing.T) {
	near(t, "ω²", omegaSquared([]float64{1, 2, 3, 2, 3, 4}, []string{"a", "a", "a", "b", "b", "b"}), 1.0/13, 1e-12)
}

func TestGroupsKeepEqualValuesTogether(t *testing.T) {
	d := study.Parameter{Kind: study.Int, Low: 1, High: 9}
	got := groups(d, []any{1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 9.0, 9.0})
	if got[0] != got[3] || got[6] != got[7] || got[0] == got[7] || len(slices.Compact(slices.Sorted(slices.Values(got)))) > mostGroups {
		t.Errorf("groups %v", got)
	}
}
