// Package cma is the evolution strategy with covariance matrix adaptation, as Hansen gives
// it ("The CMA Evolution Strategy: A Tutorial", 2016, arXiv:1604.00772, figure 6), over
// numbers from 0 to 1, with a margin for those that stand for a few values (Hamano, Saito,
// Nomura and Shirakawa, "CMA-ES with Margin", GECCO 2022, reduced to its mean).
package cma

import (
	"math"
	"math/rand/v2"
	"sort"

	"gonum.org/v1/gonum/mat"
)

// State is a distribution of points, and what it has learned of its own movement.
type State struct {
	n, lambda int
	steps     []float64 // by coordinate: the distance between two values; 0: any
	mean      []float64
	sigma     float64
	c         *mat.SymDense
	pc, ps    []float64
	age       int // generations

	weights                 []float64
	mu                      int
	muEff, cc, cs, c1, cmu  float64
	damping, expectedLength float64
	axes                    *mat.Dense // columns: the principal axes, by their lengths
	lengths                 []float64
	vectors                 *mat.Dense
	flat                    int // generations in a row whose values were all the same
}

// Population is how many points of n coordinates a generation has, unless it is told.
func Population(n int) int { return 4 + int(3*math.Log(float64(n))) }

// New is a distribution around a mean with a standard deviation, of which each generation
// has lambda points.
func New(mean []float64, sigma float64, lambda int, steps []float64) *State {
	n := len(mean)
	s := &State{n: n, lambda: lambda, steps: steps, mean: append([]float64{}, mean...), sigma: sigma, pc: make([]float64, n), ps: make([]float64, n)}
	s.c = mat.NewSymDense(n, nil)
	for i := range n {
		s.c.SetSym(i, i, 1)
	}
	s.mu = lambda / 2
	sum, squares := 0.0, 0.0
	for i := range s.mu {
		w := math.Log(float64(lambda+1)/2) - math.Log(float64(i+1))
		s.weights = append(s.weights, w)
		sum += w
	}
	for i := range s.weights {
		s.weights[i] /= sum
		squares += s.weights[i] * s.weights[i]
	}
	d := float64(n)
	s.muEff = 1 / squares
	s.cc = (4 + s.muEff/d) / (d + 4 + 2*s.muEff/d)
	s.cs = (s.muEff + 2) / (d + s.muEff + 5)
	s.c1 = 2 / ((d+1.3)*(d+1.3) + s.muEff)
	s.cmu = min(1-s.c1, 2*(s.muEff-2+1/s.muEff)/((d+2)*(d+2)+s.muEff))
	s.damping = 1 + 2*max(0, math.Sqrt((s.muEff-1)/(d+1))-1) + s.cs
	s.expectedLength = math.Sqrt(d) * (1 - 1/(4*d) + 1/(21*d*d))
	s.decompose()
	return s
}

func (s *State) decompose() {
	var e mat.EigenSym
	if !e.Factorize(s.c, true) {
		s.c = mat.NewSymDense(s.n, nil)
		for i := range s.n {
			s.c.SetSym(i, i, 1)
		}
		e.Factorize(s.c, true)
	}
	s.lengths = e.Values(nil)
	s.vectors = mat.NewDense(s.n, s.n, nil)
	e.VectorsTo(s.vectors)
	s.axes = mat.NewDense(s.n, s.n, nil)
	for j, v := range s.lengths {
		s.lengths[j] = math.Sqrt(max(v, 1e-20))
		for i := range s.n {
			s.axes.Set(i, j, s.vectors.At(i, j)*s.lengths[j])
		}
	}
}

// Sample draws a point. Those outside are drawn again, and in the end cut.
func (s *State) Sample(r *rand.Rand) []float64 {
	x := make([]float64, s.n)
	for try := range 30 {
		z := make([]float64, s.n)
		for i := range z {
			z[i] = r.NormFloat64()
		}
		out := false
		for i := range x {
			x[i] = s.mean[i]
			for j, v := range z {
				x[i] += s.sigma * s.axes.At(i, j) * v
			}
			out = out || x[i] < 0 || x[i] > 1
		}
		if !out || try == 29 {
			break
		}
	}
	for i := range x {
		x[i] = min(max(x[i], 0), 1)
	}
	return x
}

// Tell moves the distribution by a generation of points and their values, of which the
// lowest are best. They need not all be of the present distribution.
func (s *State) Tell(points [][]float64, values []float64) {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return values[order[i]] < values[order[j]] })
	old := s.mean
	s.mean = make([]float64, s.n)
	ys := make([][]float64, s.mu)
	step := make([]float64, s.n)
	for k, w := range s.weights {
		ys[k] = make([]float64, s.n)
		for i, v := range points[order[k]] {
			ys[k][i] = (v - old[i]) / s.sigma
			step[i] += w * ys[k][i]
		}
	}
	for i := range s.mean {
		s.mean[i] = min(max(old[i]+s.sigma*step[i], 0), 1)
	}
	// C^(-1/2)·step
	white := make([]float64, s.n)
	for j, l := range s.lengths {
		dot := 0.0
		for i := range step {
			dot += s.vectors.At(i, j) * step[i]
		}
		for i := range white {
			white[i] += s.vectors.At(i, j) * dot / l
		}
	}
	length := 0.0
	for i := range s.ps {
		s.ps[i] = (1-s.cs)*s.ps[i] + math.Sqrt(s.cs*(2-s.cs)*s.muEff)*white[i]
		length += s.ps[i] * s.ps[i]
	}
	length = math.Sqrt(length)
	s.age++
	slow := length/math.Sqrt(1-math.Pow(1-s.cs, float64(2*s.age))) < (1.4+2/float64(s.n+1))*s.expectedLength
	h := 0.0
	if slow {
		h = 1
	}
	for i := range s.pc {
		s.pc[i] = (1-s.cc)*s.pc[i] + h*math.Sqrt(s.cc*(2-s.cc)*s.muEff)*step[i]
	}
	keep := 1 - s.c1 - s.cmu + (1-h)*s.c1*s.cc*(2-s.cc)
	for i := range s.n {
		for j := i; j < s.n; j++ {
			v := keep*s.c.At(i, j) + s.c1*s.pc[i]*s.pc[j]
			for k, w := range s.weights {
				v += s.cmu * w * ys[k][i] * ys[k][j]
			}
			s.c.SetSym(i, j, v)
		}
	}
	s.sigma *= math.Exp(min(1, s.cs/s.damping*(length/s.expectedLength-1)))
	s.sigma = min(s.sigma, 1)
	s.decompose()
	s.margin()
	best := values[order[0]]
	if spread := values[order[len(order)-1]] - best; spread <= 1e-12*math.Abs(best) {
		s.flat++
	} else {
		s.flat = 0
	}
}

// margin keeps a chance of 1/(n·lambda) at least for the values beside that of the mean,
// where a coordinate stands for a few values.
func (s *State) margin() {
	alpha := 1 / (float64(s.n) * float64(s.lambda))
	for i, step := range s.steps {
		if step == 0 {
			continue
		}
		sd := s.sigma * math.Sqrt(s.c.At(i, i))
		reach := sd * math.Sqrt2 * math.Erfinv(1-2*alpha)
		// The nearest border between two values, within the range.
		up := (math.Floor(s.mean[i]/step) + 1) * step
		down := up - step
		border := up
		if up >= 1-1e-9 || s.mean[i]-down < up-s.mean[i] && down > 1e-9 {
			border = down
		}
		if d := border - s.mean[i]; math.Abs(d) > reach && border > 1e-9 && border < 1-1e-9 {
			s.mean[i] = border - math.Copysign(reach, d)
		}
	}
}

// Mean is a coordinate of the distribution's mean.
func (s *State) Mean(i int) float64 { return s.mean[i] }

// Done reports whether the distribution has become so narrow that it finds nothing more.
func (s *State) Done() bool {
	longest := 0.0
	for _, l := range s.lengths {
		longest = max(longest, l)
	}
	return s.sigma*longest < 1e-7 || s.flat > 10+30*s.n/s.lambda || longest > 1e7*s.shortest()
}

func (s *State) shortest() float64 {
	least := math.Inf(1)
	for _, l := range s.lengths {
		least = min(least, l)
	}
	return least
}
