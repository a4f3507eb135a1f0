package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ratchet/internal/search/gp"
	"ratchet/internal/search/pareto"
)

// models are two of functions of two numbers, and one of a limit.
func models(r *rand.Rand) []*gp.Model {
	var x [][]float64
	var z [3][]float64
	for range 12 {
		p := []float64{r.Float64(), r.Float64()}
		x = append(x, p)
		z[0], z[1], z[2] = append(z[0], p[0]), append(z[1], 1-p[0]*p[1]), append(z[2], math.Sin(6*p[1]))
	}
	var out []*gp.Model
	noise := slices.Repeat([]float64{1}, len(x))
	for _, z := range z {
		out = append(out, gp.Condition([]gp.Axis{{}, {}}, x, z, noise, gp.Hyper{-0.5, -0.3, 0, -6}))
	}
	return out
}

// TestExpectedVolume: what is expected to be added to a hypervolume, times the chance to keep
// to the limits, is the mean over draws from the models; and its derivatives are what small
// differences say.
func TestExpectedVolume(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := models(r)
	for _, objectives := range []int{1, 2, 3} {
		front := [][]float64{{0.2, 0.9, 0.3}, {0.5, 0.6, 0.1}, {0.8, 0.4, 0.2}}
		reference := []float64{1.1, 1.2, 1}[:objectives]
		for i := range front {
			front[i] = front[i][:objectives]
		}
		var limits []limit
		if objectives < 3 {
			limits = []limit{{m[2], 1, 0.4}, {m[2], -1, -0.9}}
		}
		v := newVolumes(m[:objectives], limits, front, reference)
		before := pareto.Volume(front, reference)
		for range 8 {
			x := []float64{r.Float64(), r.Float64()}
			const draws = 40000
			sum := 0.0
			for range draws {
				p := make([]float64, objectives)
				for k := range p {
					mean, variance := m[k].At(x)
					p[k] = mean + math.Sqrt(variance)*r.NormFloat64()
				}
				sum += pareto.Volume(append(slices.Clone(front), p), reference) - before
			}
			want := sum / draws
			for _, l := range limits {
				mean, variance := l.m.At(x)
				want *= 0.5 * math.Erfc(-l.sign*(l.bound-mean)/math.Sqrt(2*variance))
			}
			got := v.each([][]float64{x})[0]
			if want > 1e-4 && math.Abs(math.Exp(got)-want) > 0.05*want+1e-4 {
				t.Errorf("%d objectives at %v: %v is expected, and drawn %v", objectives, x, math.Exp(got), want)
			}
			gradient := make([]float64, 2)
			if again := v.slope(x, gradient); math.Abs(again-got) > 1e-9*max(1, math.Abs(got)) {
				t.Errorf("two ways give %v and %v", got, again)
			}
			const e = 1e-5
			for j := range x {
				up, down := slices.Clone(x), slices.Clone(x)
				up[j] += e
				down[j] -= e
				each := v.each([][]float64{up, down})
				if d := (each[0] - each[1]) / (2 * e); math.Abs(d-gradient[j]) > 1e-4*max(1, math.Abs(d)) {
					t.Errorf("%d objectives at %v: by coordinate %d it is %v, want %v", objectives, x, j, gradient[j], d)
				}
			}
		}
	}
	// Far beyond what floating point holds, there is still a slope.
	v := newVolumes(m[:2], nil, [][]float64{{-300, -300}}, []float64{-299, -299})
	gradient := make([]float64, 2)
	if at := v.slope([]float64{0.4, 0.6}, gradient); math.IsInf(at, 0) || math.IsNaN(at) || gradient[0] == 0 && gradient[1] == 0 {
		t.Errorf("far away it is %v, with the slope %v", at, gradient)
	}
}
