package gp

import (
	"math"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var axes = []Axis{{}, {}, {Values: 3}}

func sample(r *rand.Rand, n int) (x [][]float64, z, noise []float64) {
	for range n {
		p := []float64{r.Float64(), r.Float64(), float64(r.IntN(3))}
		if p[2] == 1 {
			p[1] = Absent
		}
		x = append(x, p)
		z = append(z, math.Sin(5*p[0])+p[1]*p[1]+p[2]+0.1*r.NormFloat64())
		noise = append(noise, 1+r.Float64())
	}
	return x, z, noise
}

// TestGradients: derivatives are what small differences say.
func TestGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x, z, noise := sample(r, 30)
	l := NewLikelihood(axes, x, noise, NewPrior(3))
	l.z = z
	h := Hyper{-1, 0.3, 0.2, 0.4, -3}
	g, none := make([]float64, 5), make([]float64, 5)
	l.negative(h, g)
	const e = 1e-5
	for i := range h {
		up, down := append(Hyper{}, h...), append(Hyper{}, h...)
		up[i] += e
		down[i] -= e
		want := (l.negative(up, none) - l.negative(down, none)) / (2 * e)
		if math.Abs(want-g[i]) > 1e-5*max(1, math.Abs(want)) {
			t.Errorf("by hyperparameter %d it is %v, want %v", i, g[i], want)
		}
	}
	m := Condition(axes, x, z, noise, h)
	at := []float64{0.4, 0.6, 2}
	dm, dv := make([]float64, 3), make([]float64, 3)
	mean, variance := m.Gradient(at, dm, dv)
	if m2, v2 := m.At(at); math.Abs(m2-mean) > 1e-9 || math.Abs(v2-variance) > 1e-9 {
		t.Errorf("two ways give %v ± %v and %v ± %v", mean, variance, m2, v2)
	}
	ms, vs := m.Each([][]float64{{0, 0, 0}, at})
	if math.Abs(ms[1]-mean) > 1e-9 || math.Abs(vs[1]-variance) > 1e-9 {
		t.Errorf("many at a time give %v ± %v, one %v ± %v", ms[1], vs[1], mean, variance)
	}
	for i := range 2 {
		up, down := append([]float64{}, at...), append([]float64{}, at...)
		up[i] += e
		down[i] -= e
		mu, vu := m.At(up)
		md, vd := m.At(down)
		if a, b := (mu-md)/(2*e), (vu-vd)/(2*e); math.Abs(a-dm[i]) > 1e-5 || math.Abs(b-dv[i]) > 1e-5 {
			t.Errorf("by coordinate %d: %v, %v, want %v, %v", i, dm[i], dv[i], a, b)
		}
	}
	if h2, at := l.Fit(z, h, 50); -at > l.negative(h, g) || h2.Length(0) > 3 {
		t.Errorf("fitted: %v (%v)", h2, at)
	}
}

// TestImprovement: log EI is the logarithm of the integral, and goes on where it is 0.
func TestImprovement(t *testing.T) {
	for _, u := range []float64{3, 1, 0, -0.9, -1.1, -4, -6} {
		want, n := 0.0, 2_000_000
		for i := range n { // ∫ (u-v)φ(v) dv for v < u
			v := u - 12*(float64(i)+0.5)/float64(n)
			want += (u - v) * math.Exp(-v*v/2) / math.Sqrt(2*math.Pi) * 12 / float64(n)
		}
		if got := logExpected(u); math.Abs(got-math.Log(want)) > 1e-5 {
			t.Errorf("at %v it is %v, want %v", u, got, math.Log(want))
		}
	}
	last := math.Inf(1)
	for u := -0.5; u > -1e9; u *= 1.05 {
		if v := logExpected(u); v >= last || math.IsInf(v, 0) {
			t.Fatalf("at %v: %v after %v", u, v, last)
		} else {
			last = v
		}
	}
	for _, at := range [][3]float64{{0.3, 0.5, 0.1}, {4, 0.1, 0}, {-1, 2, 0.5}, {30, 0.5, 0}} {
		v, dm, ds := LogImprovement(at[0], at[1], at[2])
		const e = 1e-6
		a, _, _ := LogImprovement(at[0]+e, at[1], at[2])
		b, _, _ := LogImprovement(at[0], at[1]+e, at[2])
		if x, y := (a-v)/e, (b-v)/e; math.Abs(x-dm) > 1e-3*math.Abs(x)+1e-4 || math.Abs(y-ds) > 1e-3*math.Abs(y)+1e-4 {
			t.Errorf("at %v the derivatives are %v, %v, want %v, %v", at, dm, ds, x, y)
		}
	}
}
