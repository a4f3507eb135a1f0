package gp

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/optimize"
)

// Hyper are the parameters of a process over points of d axes, as logarithms: the d length
// scales, the amplitude a (the variance of the function), and the variance of the noise, as
// a part of a.
type Hyper []float64

func (h Hyper) amplitude() float64 { return math.Exp(h[len(h)-2]) }
func (h Hyper) noise() float64     { return math.Exp(h[len(h)-1]) }

// Noise is the variance of the noise.
func (h Hyper) Noise() float64 { return h.amplitude() * h.noise() }

// Length is the length scale of an axis.
func (h Hyper) Length(axis int) float64 { return math.Exp(h[axis]) }

// Normal is a normal distribution of a logarithm.
type Normal struct{ Mean, SD float64 }

// Prior is what is known of a process before anything was observed.
type Prior struct{ Length, Amplitude, Noise Normal }

// NewPrior is the prior for values with mean 0 and variance 1. Length scales grow with the
// number of axes, so that functions of many are taken to be no more complex than those of
// few (Hvarfner, Hellsten and Nardi, "Vanilla Bayesian Optimization Performs Great in High
// Dimensions", ICML 2024).
func NewPrior(axes int) Prior {
	return Prior{
		Length:    Normal{-0.5 + math.Log(float64(axes))/2, 1.2},
		Amplitude: Normal{0, 1},
		Noise:     Normal{-9, 3},
	}
}

// Mode is where the prior is densest.
func (p Prior) Mode(axes int) Hyper {
	h := make(Hyper, axes+2)
	for i := range axes {
		h[i] = p.Length.Mean
	}
	h[axes], h[axes+1] = p.Amplitude.Mean, p.Noise.Mean
	return h
}

func (p Prior) of(i, axes int) Normal {
	switch i {
	case axes:
		return p.Amplitude
	case axes + 1:
		return p.Noise
	}
	return p.Length
}

// leastNoise keeps the covariance of points that lie close together positive definite in
// floating point; as a part of the amplitude.
const leastNoise = 1e-9

// Likelihood is how likely observed values are under a process. It is not safe for
// concurrent use.
type Likelihood struct {
	prior     Prior
	axes, n   int
	noise     []float64   // by which each observation's noise is multiplied
	distances [][]float64 // by axis: of each pair, those of a row behind each other, up to the diagonal
	r2, slope []float64
	k         blas64.Symmetric
	alpha, z  []float64
}

// NewLikelihood is for values at points, whose noise differs by the given factors.
func NewLikelihood(axes []Axis, x [][]float64, noise []float64, prior Prior) *Likelihood {
	n := len(x)
	l := &Likelihood{prior: prior, axes: len(axes), n: n, noise: noise}
	pairs := n * (n - 1) / 2
	for j, a := range axes {
		d := make([]float64, 0, pairs)
		for p := 1; p < n; p++ {
			for q := range p {
				d = append(d, a.distance(x[p][j], x[q][j]))
			}
		}
		l.distances = append(l.distances, d)
	}
	l.r2, l.slope = make([]float64, pairs), make([]float64, pairs)
	l.k = blas64.Symmetric{N: n, Stride: n, Data: make([]float64, n*n), Uplo: blas.Lower}
	l.alpha = make([]float64, n)
	return l
}

// Prior replaces the prior.
func (l *Likelihood) Prior(p Prior) { l.prior = p }

func vector(x []float64) blas64.Vector { return blas64.Vector{N: len(x), Inc: 1, Data: x} }

// factor computes the Cholesky factor of the covariance by the amplitude; false where it is
// not positive definite.
func (l *Likelihood) factor(h Hyper) (blas64.Triangular, bool) {
	clear(l.r2)
	for j, d := range l.distances {
		blas64.Axpy(math.Exp(-2*h[j]), vector(d), vector(l.r2))
	}
	noise := h.noise() + leastNoise
	at := 0
	for p := range l.n {
		row := l.k.Data[p*l.k.Stride:]
		for q := range p {
			row[q], l.slope[at] = matern(l.r2[at])
			at++
		}
		row[p] = 1 + noise*l.noise[p]
	}
	return lapack64.Potrf(l.k)
}

// solve gives the mean of the process as generalised least squares have it, sets alpha to
// the inverse covariance (without the amplitude) of what the values have beside it, and
// gives the sum of squares that the two make.
func (l *Likelihood) solve(t blas64.Triangular, z []float64) (mean, square float64) {
	ones := make([]float64, l.n)
	for i := range ones {
		ones[i] = 1
	}
	invert(t, ones)
	copy(l.alpha, z)
	invert(t, l.alpha)
	sum, all := 0.0, 0.0
	for i := range ones {
		sum += l.alpha[i]
		all += ones[i]
	}
	mean = sum / all
	for i, o := range ones {
		l.alpha[i] -= mean * o
	}
	for i, v := range z {
		square += (v - mean) * l.alpha[i]
	}
	return mean, square
}

// invert sets x to the inverse of the factored matrix times x.
func invert(t blas64.Triangular, x []float64) {
	blas64.Trsv(blas.NoTrans, t, vector(x))
	blas64.Trsv(blas.Trans, t, vector(x))
}

func logDeterminant(t blas64.Triangular) (sum float64) {
	for i := range t.N {
		sum += 2 * math.Log(t.Data[i*t.Stride+i])
	}
	return sum
}

// Of gives for each set of values its logarithm of likelihood and prior, at its best
// amplitude; -Inf where the covariance is not positive definite.
func (l *Likelihood) Of(h Hyper, sets ...[]float64) []float64 {
	out := make([]float64, len(sets))
	t, ok := l.factor(h)
	for i, z := range sets {
		if !ok {
			out[i] = math.Inf(-1)
			continue
		}
		_, square := l.solve(t, z)
		out[i] = -0.5*float64(l.n)*math.Log(square/float64(l.n)) - 0.5*logDeterminant(t)
	}
	return out
}

// negative is minus the logarithm of likelihood and prior (Rasmussen and Williams, equation
// 5.8), and its gradient (5.9).
func (l *Likelihood) negative(h Hyper, gradient []float64) float64 {
	clear(gradient)
	loss := 0.0
	for i, v := range h {
		p := l.prior.of(i, l.axes)
		u := (v - p.Mean) / p.SD
		loss += u * u / 2
		gradient[i] = u / p.SD
	}
	t, ok := l.factor(h)
	if !ok {
		return math.Inf(1)
	}
	_, square := l.solve(t, l.z)
	a := h.amplitude()
	n := float64(l.n)
	loss += 0.5*square/a + 0.5*n*math.Log(a) + 0.5*logDeterminant(t)
	gradient[l.axes] += 0.5*n - 0.5*square/a

	inv, ok := lapack64.Potri(t) // lower, in place of the factor
	if !ok {
		return math.Inf(1)
	}
	noise := h.noise()
	at := 0
	for p := range l.n {
		row := inv.Data[p*inv.Stride:]
		ap := l.alpha[p] / a
		for q := range p {
			// The pair counts twice; slope is by r², and r² by log length is -2·w·distance.
			l.slope[at] *= 2 * (ap*l.alpha[q] - row[q])
			at++
		}
		gradient[l.axes+1] -= 0.5 * (ap*l.alpha[p] - row[p]) * noise * l.noise[p]
	}
	for j, d := range l.distances {
		gradient[j] -= math.Exp(-2*h[j]) * blas64.Dot(vector(l.slope), vector(d))
	}
	return loss
}

// Fit gives the parameters that make the values most likely, from where start is, in that
// many evaluations, and the logarithm of likelihood and prior there.
func (l *Likelihood) Fit(z []float64, start Hyper, evaluations int) (Hyper, float64) {
	l.z = z
	best, bestLoss := start, math.Inf(1)
	Minimize(func(x, gradient []float64) float64 {
		bounded := make(Hyper, len(x))
		out := 0.0
		for i, v := range x {
			bounded[i] = min(max(v, lowest), highest)
			out += (v - bounded[i]) * (v - bounded[i])
		}
		loss := l.negative(bounded, gradient) + out
		for i, v := range x {
			if d := v - bounded[i]; d != 0 {
				gradient[i] = 2 * d
			}
		}
		if loss < bestLoss {
			best, bestLoss = bounded, loss
		}
		return loss
	}, start, optimize.Settings{
		FuncEvaluations: evaluations, GradientThreshold: 1e-3,
		Converger: &optimize.FunctionConverge{Absolute: 1e-4, Iterations: 3},
	})
	return best, -bestLoss
}

// Minimize follows the gradient of a function down from a point, by BFGS, and gives where it
// ends; nil where it could not begin. f gives the function's value and sets its gradient; it is
// asked FuncEvaluations times at most.
func Minimize(f func(x, gradient []float64) float64, start []float64, settings optimize.Settings) []float64 {
	// The value and the gradient of a point are asked for one after the other.
	var at []float64
	value, gradient := 0.0, make([]float64, len(start))
	eval := func(x []float64) float64 {
		if at == nil || !slices.Equal(at, x) {
			at, value = append(at[:0], x...), f(x, gradient)
		}
		return value
	}
	settings.GradEvaluations = settings.FuncEvaluations
	// An error says that it got no further.
	result, _ := optimize.Minimize(optimize.Problem{
		Func: eval, Grad: func(g, x []float64) { eval(x); copy(g, gradient) },
	}, start, &settings, &optimize.BFGS{})
	if result == nil {
		return nil
	}
	return result.X
}

// Logarithms of parameters beyond these are taken for these.
const lowest, highest = -18, 8
