package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"ratchet/internal/research"
	"ratchet/study"
)

// proposals weighs proposals whose gain over the best is normal with a mean and a standard
// deviation of 1, and gives how many are kept, and how many seeds each takes.
func proposals(n int, mean float64, rule study.Keep) (kept, seeds float64) {
	r := rand.New(rand.NewPCG(uint64(n), math.Float64bits(mean)))
	for range n {
		var d []float64
		for len(d) < rule.Seeds {
			d = append(d, mean+r.NormFloat64())
			w := research.Weighing{}
			weighDifferences(&w, d, rule, false, 0)
			if w.Verdict == research.Kept {
				kept++
			}
			if w.Verdict != "" {
				break
			}
		}
		seeds += float64(len(d))
	}
	return kept / float64(n), seeds / float64(n)
}

// TestKeep: of proposals that gain nothing, no more are kept than the rule allows; of those
// that gain a standard deviation most, with fewer seeds than the rule has.
func TestKeep(t *testing.T) {
	const n = 1000
	for _, rule := range []study.Keep{{Seeds: 12, Alpha: 0.1}, {Seeds: 3, Alpha: 0.1}, {Seeds: 20, Alpha: 0.05}, {Seeds: 6, Alpha: 0.2, By: 0.5}} {
		null, _ := proposals(n, rule.By, rule)
		// 3 standard errors above the level have a chance of about 0.1 %.
		if most := rule.Alpha + 3*math.Sqrt(rule.Alpha*(1-rule.Alpha)/n); null > most {
			t.Errorf("by %+v, %v of those that gain nothing are kept", rule, null)
		}
		gain, seeds := proposals(n, rule.By+1, rule)
		if rule.Seeds >= 12 && (gain < 0.93 || seeds > 0.95*float64(rule.Seeds)) {
			t.Errorf("by %+v, %v of those that gain one are kept, with %v seeds", rule, gain, seeds)
		}
		if worse, seeds := proposals(n/4, rule.By-1, rule); worse > 0.01 || rule.Seeds >= 12 && seeds > 6 {
			t.Errorf("by %+v, %v of those that lose one are kept, with %v seeds", rule, worse, seeds)
		}
		t.Logf("%+v: of nothing %.3f are kept, of a gain of one %.3f with %.1f seeds", rule, null, gain, seeds)
	}
}

// TestKeepOfWhatDoesNotVary: what no seed changes is compared as it is; differences that are all
// the same say nothing before the last seed.
func TestKeepOfWhatDoesNotVary(t *testing.T) {
	rule := study.Keep{Seeds: 4, Alpha: 0.1, By: 0.5}
	for _, c := range []struct {
		d        []float64
		constant bool
		verdict  string
	}{
		{[]float64{1, 1}, true, research.Kept},
		{[]float64{0.5, 0.5}, true, research.Reverted},
		{[]float64{-1, -1}, true, research.Reverted},
		{[]float64{1, 1, 1}, false, ""},
		{[]float64{1, 1, 1, 1}, false, research.Kept},
		{[]float64{0, 0, 0, 0}, false, research.Reverted},
		{[]float64{1}, false, ""},
		{[]float64{math.MaxFloat64, -math.MaxFloat64}, false, ""},
	} {
		w := research.Weighing{}
		weighDifferences(&w, c.d, rule, c.constant, 0)
		if w.Verdict != c.verdict && c.d[0] < 1e300 {
			t.Errorf("%v: %q (%s), not %q", c.d, w.Verdict, w.Why, c.verdict)
		}
		if math.IsNaN(w.Evidence) || math.IsInf(w.Evidence, 0) {
			t.Errorf("%v: the evidence is %v", c.d, w.Evidence)
		}
	}
}

// TestEvidence: the likelihood ratio is that of Student's t under a gain, by that under none,
// as a sum over draws of the scale gives it too.
func TestEvidence(t *testing.T) {
	// ∫ u^(n-1) exp(-S u²/2 + δ s u - nδ²/2) du over ∫ u^(n-1) exp(-S u²/2) du, by a fine sum.
	x := []float64{0.3, 1.2, -0.4, 0.9, 2}
	for _, size := range []float64{0.5, 1, 3} {
		n, s, squares := 5.0, 0.0, 0.0
		for _, v := range x {
			s += v
			squares += v * v
		}
		above, below := 0.0, 0.0
		for u := 0.0005; u < 20; u += 0.001 {
			w := math.Pow(u, n-1) * math.Exp(-squares*u*u/2)
			below += w
			above += w * math.Exp(size*s*u-n*size*size/2)
		}
		if got, want := logLikelihoodRatio(x, size), math.Log(above/below); math.Abs(got-want) > 1e-6 {
			t.Errorf("at %v it is %v, want %v", size, got, want)
		}
	}
}
