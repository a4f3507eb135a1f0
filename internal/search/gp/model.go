package gp

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// Model is a process that knows what was observed. It is not safe for concurrent use.
type Model struct {
	axes   []Axis
	h      Hyper
	w      []float64 // of each axis: one by its length scale squared
	x      []float64 // the points behind each other
	n      int
	mean   float64
	alpha  []float64
	factor blas64.Triangular
	inv    blas64.Symmetric // made when a gradient is first asked for
	k, s   []float64        // for one point
	kv     []float64
}

// Condition is the process after values z were observed at points, with noise that differs
// by factors. nil: the covariance is not positive definite.
func Condition(axes []Axis, x [][]float64, z, noise []float64, h Hyper) *Model {
	n := len(x)
	m := &Model{axes: axes, h: h, n: n, k: make([]float64, n), s: make([]float64, n), kv: make([]float64, n)}
	for j := range axes {
		m.w = append(m.w, math.Exp(-2*h[j]))
	}
	for _, p := range x {
		m.x = append(m.x, p...)
	}
	k := blas64.Symmetric{N: n, Stride: n, Data: make([]float64, n*n), Uplo: blas.Lower}
	for p := range n {
		row := k.Data[p*n:]
		m.covariances(x[p], row[:p], nil)
		row[p] = 1 + (h.noise()+leastNoise)*noise[p]
	}
	t, ok := lapack64.Potrf(k)
	if !ok {
		return nil
	}
	m.factor = t
	l := Likelihood{n: n, alpha: make([]float64, n)}
	m.mean, _ = l.solve(t, z)
	m.alpha = l.alpha
	return m
}

// covariances sets k to the covariances, by the amplitude, of a point with the first
// observed ones, and slope to minus their derivatives by the squared distance.
func (m *Model) covariances(x, k, slope []float64) {
	d := len(m.axes)
	for i := range k {
		row := m.x[i*d : (i+1)*d]
		r2 := 0.0
		for j, w := range m.w {
			if a := m.axes[j]; a.Values > 0 || x[j] == Absent || row[j] == Absent {
				r2 += w * a.distance(x[j], row[j])
			} else {
				e := x[j] - row[j]
				r2 += w * e * e
			}
		}
		value, s := matern(r2)
		k[i] = value
		if slope != nil {
			slope[i] = s
		}
	}
}

// At is the mean and the variance of the function, without noise, at a point.
func (m *Model) At(x []float64) (mean, variance float64) {
	m.covariances(x, m.k, nil)
	mean = m.mean + blas64.Dot(vector(m.k), vector(m.alpha))
	blas64.Trsv(blas.NoTrans, m.factor, vector(m.k))
	return mean, m.left(blas64.Dot(vector(m.k), vector(m.k)))
}

// Mean is the mean of the function at a point.
func (m *Model) Mean(x []float64) float64 {
	m.covariances(x, m.k, nil)
	return m.mean + blas64.Dot(vector(m.k), vector(m.alpha))
}

// left is the variance of which a part was explained.
func (m *Model) left(explained float64) float64 {
	return m.h.amplitude() * max(1-explained, 1e-12)
}

// Each gives mean and variance at each of several points, which costs less than one by one.
func (m *Model) Each(xs [][]float64) (means, variances []float64) {
	c := len(xs)
	means, variances = make([]float64, c), make([]float64, c)
	if c == 0 {
		return means, variances
	}
	k := blas64.General{Rows: m.n, Cols: c, Stride: c, Data: make([]float64, m.n*c)}
	for i, x := range xs {
		m.covariances(x, m.k, nil)
		means[i] = m.mean + blas64.Dot(vector(m.k), vector(m.alpha))
		for p, v := range m.k {
			k.Data[p*c+i] = v
		}
	}
	blas64.Trsm(blas.Left, blas.NoTrans, 1, m.factor, k)
	for p := range m.n {
		for i, v := range k.Data[p*c : (p+1)*c] {
			variances[i] += v * v
		}
	}
	for i, v := range variances {
		variances[i] = m.left(v)
	}
	return means, variances
}

// Gradient is At with the derivatives by each coordinate that is a number; those of other
// axes are 0.
func (m *Model) Gradient(x, dMean, dVariance []float64) (mean, variance float64) {
	if m.inv.N == 0 {
		c := blas64.Symmetric{N: m.n, Stride: m.n, Data: append([]float64{}, m.factor.Data...), Uplo: blas.Lower}
		m.inv, _ = lapack64.Potri(blas64.Triangular{N: c.N, Stride: c.Stride, Data: c.Data, Uplo: c.Uplo, Diag: blas.NonUnit})
	}
	m.covariances(x, m.k, m.s)
	mean = m.mean + blas64.Dot(vector(m.k), vector(m.alpha))
	blas64.Symv(1, m.inv, vector(m.k), 0, vector(m.kv))
	explained := blas64.Dot(vector(m.k), vector(m.kv))
	clear(dMean)
	clear(dVariance)
	d := len(m.axes)
	a := m.h.amplitude()
	for i := range m.n {
		row := m.x[i*d : (i+1)*d]
		// dk/dx = -slope · 2·w·(x-y)
		bm, bv := -2*m.s[i]*m.alpha[i], 4*a*m.s[i]*m.kv[i]
		for j, w := range m.w {
			if m.axes[j].Values > 0 || x[j] == Absent {
				continue
			}
			e := w * (x[j] - middle(row[j]))
			dMean[j] += bm * e
			dVariance[j] += bv * e
		}
	}
	if explained >= 1 {
		clear(dVariance)
	}
	return mean, m.left(explained)
}
