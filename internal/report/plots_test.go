package report

import (
	"math"
	"testing"

	"ratchet/internal/research"
)

// TestExtremePlots: no values that a program may report keep a report from
// being written.
func TestExtremePlots(t *testing.T) {
	for _, v := range []float64{0, 1, -1, 1e-300, 1.8e18, -1.8e18, 1e22, 1e300, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64} {
		for _, other := range []float64{v, v * 1.0000000001, -v, 0} {
			a, b := v, other
			r := &Results{Experiments: []Experiment{{ID: "e0001", Value: &a}, {ID: "e0002", Value: &b}}}
			r.Hypotheses = []Hypothesis{{
				ID: "h", A: Side{Mean: &a, Interval: &[2]float64{a, a}}, B: Side{Mean: &b, Interval: &[2]float64{b, b}},
				Pairs: []research.Pair{{Seed: 1, A: a, B: b}, {Seed: 2, A: a, B: b}},
			}}
			w := &writer{dir: t.TempDir()}
			w.plots(r)
			if w.err != nil {
				t.Errorf("%v and %v: %v", v, other, w.err)
			}
		}
	}
}
