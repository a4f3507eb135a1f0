package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"ratchet/internal/stats"
)

// interval is a way to make an interval of a mean, at 95 %.
type interval struct {
	name string
	of   func(x []float64, r *rand.Rand) (low, high float64)
}

// resamples is how many each bootstrap takes: enough for shares of a per cent.
const resamples = 1000

// intervals are the candidates for verdicts; see docs/decisions/011.
var intervals = []interval{
	{"Student's t", func(x []float64, _ *rand.Rand) (float64, float64) {
		s := stats.NewSample(x)
		s.Skewed = false
		return s.Interval(0.95)
	}},
	{"BCa", func(x []float64, r *rand.Rand) (float64, float64) { return stats.BCa(x, stats.Mean, 0.95, r) }},
	{"bootstrap t", bootstrapT},
	{"Hall's t", hall},
	{"the wider of t and Hall's", func(x []float64, r *rand.Rand) (float64, float64) {
		s := stats.NewSample(x)
		s.Skewed = true
		return s.Interval(0.95)
	}},
}

// hall is Hall's interval by its formula, whatever the sample looks like.
func hall(x []float64, _ *rand.Rand) (float64, float64) {
	s := stats.NewSample(x)
	n := float64(s.N)
	q := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) / math.Sqrt(n)
	at := func(g float64) float64 {
		if math.Abs(s.Skewness) < 1e-9 {
			return g
		}
		return 3 / s.Skewness * (math.Cbrt(1+s.Skewness*(g-s.Skewness/(6*n))) - 1)
	}
	return s.Mean - s.SD*at(q), s.Mean - s.SD*at(-q)
}

// bootstrapT is the studentised bootstrap (Efron and Tibshirani 1993, section 12.5).
func bootstrapT(x []float64, r *rand.Rand) (float64, float64) {
	s := stats.NewSample(x)
	root := math.Sqrt(float64(s.N))
	ts := make([]float64, resamples)
	again := make([]float64, len(x))
	for i := range ts {
		for k := range again {
			again[k] = x[r.IntN(len(x))]
		}
		b := stats.NewSample(again)
		switch {
		case b.SD > 0:
			ts[i] = (b.Mean - s.Mean) / b.SD * root
		case b.Mean != s.Mean:
			ts[i] = math.Inf(int(math.Copysign(1, b.Mean-s.Mean)))
		}
	}
	slices.Sort(ts)
	return s.Mean - ts[resamples*975/1000]*s.SD/root, s.Mean - ts[resamples*25/1000]*s.SD/root
}

// verdicts measures how often each way to make an interval finds something where
// nothing is, above and below, and how often it finds an effect.
func verdicts(*bench) ([]row, error) {
	const studies = 2000
	symmetric := map[int]float64{10: 3.75, 20: 3.75, 50: 3.75}
	noises := []struct {
		name string
		draw func(r *rand.Rand) float64
		most map[int]float64 // per cent, either way; 0: there is no bound
	}{
		{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }, symmetric},
		{"ratio of normals", func(r *rand.Rand) float64 { return r.NormFloat64() / r.NormFloat64() }, symmetric},
		{"discrete", func(r *rand.Rand) float64 { return float64(r.IntN(3) - 1) }, symmetric},
		{"exponential", func(r *rand.Rand) float64 { return r.ExpFloat64() - 1 }, map[int]float64{10: 5, 50: 5}},
		{"lognormal", func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) - math.Exp(0.5) }, map[int]float64{10: 7.55, 50: 7.5}},
		{"contaminated", func(r *rand.Rand) float64 {
			v := -0.1 + 0.02*r.NormFloat64()
			if r.Float64() < 0.1 {
				v++
			}
			return v
		}, map[int]float64{10: 16.4, 50: 7.5}},
		{"normal + 0.5", func(r *rand.Rand) float64 { return 0.5 + r.NormFloat64() }, nil},
		{"normal + 1", func(r *rand.Rand) float64 { return 1 + r.NormFloat64() }, nil},
	}
	ours := interval{"ours", func(x []float64, _ *rand.Rand) (float64, float64) { return stats.NewSample(x).Interval(0.95) }}
	var rows []row
	for _, noise := range noises {
		for _, n := range []int{10, 20, 50} {
			var texts []string
			var shares [][2]float64
			for _, c := range append([]interval{ours}, intervals...) {
				r := rand.New(rand.NewPCG(1, uint64(n))) // the same samples for each
				above, below := 0, 0
				x := make([]float64, n)
				for range studies {
					for i := range x {
						x[i] = noise.draw(r)
					}
					low, high := c.of(x, rand.New(rand.NewPCG(2, 3)))
					if low > 0 {
						above++
					}
					if high < 0 {
						below++
					}
				}
				shares = append(shares, [2]float64{100 * float64(above) / studies, 100 * float64(below) / studies})
				texts = append(texts, fmt.Sprintf("%s %.1f / %.1f", c.name, 100*float64(above)/studies, 100*float64(below)/studies))
			}
			r := row{
				what: fmt.Sprintf("%s, %d pairs: intervals above / below 0, %%", noise.name, n), ours: strings.TrimPrefix(texts[0], "ours "),
				beside: strings.Join(texts[1:], "; "), must: "–", reached: true,
			}
			most, bounded := noise.most[n]
			switch {
			case bounded:
				r.must, r.reached = fmt.Sprintf("≤ %.4g", most), max(shares[0][0], shares[0][1]) <= most
			case noise.most == nil: // an effect: as the first candidate, Student's
				r.must, r.reached = "≥ 0.97 of t", shares[0][0] >= 0.97*shares[1][0]
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}
