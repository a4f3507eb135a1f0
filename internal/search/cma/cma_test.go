package cma_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"ratchet/internal/search/cma"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// minimise runs generations until the distribution is done, and gives the best point.
func minimise(s *cma.State, lambda, most int, f func(x []float64) float64) (best []float64, value float64, evaluations int) {
	r := rand.New(rand.NewPCG(1, 2))
	value = math.Inf(1)
	for ; evaluations < most && !s.Done(); evaluations += lambda {
		points, values := make([][]float64, lambda), make([]float64, lambda)
		for i := range points {
			points[i] = s.Sample(r)
			if values[i] = f(points[i]); values[i] < value {
				best, value = points[i], values[i]
			}
		}
		s.Tell(points, values)
	}
	return best, value, evaluations
}

// TestValley: the distribution learns a narrow bent valley (Rosenbrock's), and says when it
// has come to its bottom.
func TestValley(t *testing.T) {
	const n = 4
	lambda := cma.Population(n)
	s := cma.New([]float64{0.2, 0.3, 0.8, 0.7}, 0.2, lambda, make([]float64, n))
	valley := func(x []float64) (sum float64) {
		for i := range n - 1 {
			a, b := 4*x[i]-1, 4*x[i+1]-1
			sum += 100*(b-a*a)*(b-a*a) + (1-a)*(1-a)
		}
		return sum
	}
	best, value, evaluations := minimise(s, lambda, 20_000, valley)
	if value > 1e-8 || evaluations >= 20_000 {
		t.Errorf("%v at %v after %d evaluations", value, best, evaluations)
	}
}

// TestMargin: where a coordinate stands for a few values, the others stay within reach until
// the last, so that a value that is best by a little is found.
func TestMargin(t *testing.T) {
	steps := []float64{0, 0.1}
	lambda := cma.Population(2)
	f := func(x []float64) float64 {
		k := math.Floor(min(x[1], 0.999) * 10)
		return (x[0]-0.4)*(x[0]-0.4) + 0.01*math.Abs(k-3)
	}
	found := 0
	for i := range 20 {
		s := cma.New([]float64{0.5, float64(i)/20 + 0.02}, 0.2, lambda, steps)
		if best, _, _ := minimise(s, lambda, 2000, f); int(best[1]*10) == 3 {
			found++
		}
	}
	if found < 19 {
		t.Errorf("the best value is found %d times of 20", found)
	}
}

// TestFlat: a function that does not vary ends the distribution, and nothing in it becomes
// infinite.
func TestFlat(t *testing.T) {
	s := cma.New([]float64{0.5, 0.5}, 0.2, 6, []float64{0, 0})
	best, _, evaluations := minimise(s, 6, 5000, func([]float64) float64 { return 1 })
	if evaluations >= 5000 || math.IsNaN(best[0]) {
		t.Errorf("it is not done after %d evaluations, at %v", evaluations, best)
	}
}
