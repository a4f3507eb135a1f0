package search_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ratchet/internal/research"
	"ratchet/study"
)

// TestLearning: earlier outcomes that are alike, but for their level, let a search find more
// with a few experiments; such as have nothing to do with it do little harm.
func TestLearning(t *testing.T) {
	valley := func(p study.Params) float64 {
		a, b, c := p["a"].(float64)-0.8, p["b"].(float64)-0.2, p["c"].(float64)-0.6
		return a*a + b*b + c*c + 0.5*a*b
	}
	search := func(seed int64, prior func(p study.Params) float64) float64 {
		st := mixed(study.GP, 12, 1)
		st.Parameters = nil
		for _, name := range []string{"a", "b", "c"} {
			st.Parameters = append(st.Parameters, study.Parameter{Name: name, Kind: study.Float, Low: 0, High: 1})
		}
		l := newLab(t, st)
		l.s.Created.Seed = seed
		l.value = func(p study.Params, _ int64) (float64, research.Class) { return valley(p), research.Succeeded }
		if prior != nil {
			r := rand.New(rand.NewPCG(uint64(seed), 3))
			p := research.Prior{From: "earlier"}
			for range 40 {
				x := study.Params{"a": r.Float64(), "b": r.Float64(), "c": r.Float64()}
				p.Outcomes = append(p.Outcomes, research.Outcome{Parameters: x, Value: prior(x)})
			}
			l.append(research.PriorLearned{Prior: p})
		}
		best := math.Inf(1)
		for _, p := range l.run(first) {
			best = min(best, valley(p.Parameters))
		}
		return best
	}
	var without, alike, strange []float64
	for seed := range int64(15) {
		without = append(without, search(seed, nil))
		alike = append(alike, search(seed, func(p study.Params) float64 { return 7 + 1.2*valley(p) }))
		strange = append(strange, search(seed, func(p study.Params) float64 { return math.Sin(20*p["a"].(float64)) - p["b"].(float64) }))
	}
	for _, x := range [][]float64{without, alike, strange} {
		slices.Sort(x)
	}
	t.Logf("medians: %.2g without, %.2g alike, %.2g strange", without[7], alike[7], strange[7])
	if alike[7] > without[7]/2 || strange[7] > 20*without[7] {
		t.Errorf("medians: %v without, %v with what is alike, %v with what is not", without[7], alike[7], strange[7])
	}
}
