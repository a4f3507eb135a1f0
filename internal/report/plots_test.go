package report

import (
	"math"
	"testing"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

// TestExtremePlots: no values that a program may report keep a report from
// being written.
func TestExtremePlots(t *testing.T) {
	for _, v := range []float64{0, 1, -1, 1e-300, 1.8e18, -1.8e18, 1e22, 1e300, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64} {
		for _, other := range []float64{v, v * 1.0000000001, -v, 0} {
			a, b := v, other
			r := &Results{Experiments: []Experiment{
				{ID: "e0001", Value: &a, Parameters: study.Params{"x": a, "y": "a", "z": true}}, {ID: "e0002", Value: &b, Parameters: study.Params{"x": b, "y": "b", "z": study.Literal("[1]")}},
				{ID: "e0003", Value: &b, Parameters: study.Params{"x": 0.0}},
			}}
			r.Importance = []search.Importance{{Parameter: "x", Share: 0.5, N: 3}, {Parameter: "y", N: 2}, {Parameter: "z", N: 2}}
			r.Failures = []Failure{{Class: research.Timeout, After: math.Abs(a)}, {Class: research.Transient, Final: true}}
			r.Hypotheses = []Hypothesis{{
				ID: "h", A: Side{Mean: &a, Interval: &[2]float64{a, a}}, B: Side{Mean: &b, Interval: &[2]float64{b, b}},
				Pairs: []research.Pair{{Seed: 1, A: a, B: b}, {Seed: 2, A: a, B: b}},
			}}
			w := &writer{dir: t.TempDir()}
			w.plots(r, nil)
			if w.err != nil {
				t.Errorf("%v and %v: %v", v, other, w.err)
			}
		}
	}
}
