package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"ratchet/internal/research"
	"ratchet/study"
)

// The tree-structured Parzen estimator of Bergstra, Bardenet, Bengio and
// Kégl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011, section
// 4; each parameter on its own, given that it exists. The split into good and
// bad, the number of candidates and the kernels' widths are those of its
// authors' implementation (Bergstra, Yamins and Cox, "Making a Science of
// Model Search", ICML 2013).
const (
	tpeStartup    = 10 // experiments drawn at random before
	tpeCandidates = 24 // drawn from the good ones' density
	tpeGamma      = 0.25
	tpeMostGood   = 25
	// tpeMostBad bounds the work of a proposal: of more bad experiments, a
	// part that is spread evenly over their order is used.
	tpeMostBad = 400
)

// tpe draws candidates where good experiments are dense and takes the one for
// which the ratio of the good ones' density to the bad ones' is highest.
func (sp space) tpe(r *rand.Rand, known []*research.Experiment, o study.Objective, fixed study.Params) study.Params {
	good, bad := split(known, o, fixed)
	if len(good)+len(bad) < tpeStartup {
		return sp.random(r, fixed)
	}
	models := map[string]*estimators{}
	var best study.Params
	bestScore := math.Inf(-1)
	for range tpeCandidates {
		score := 0.0
		p := sp.each(fixed, func(d study.Parameter) any {
			m := models[d.Name]
			if m == nil {
				m = &estimators{newParzen(d, good), newParzen(d, bad)}
				models[d.Name] = m
			}
			v := m.good.draw(r)
			score += m.good.logDensity(v) - m.bad.logDensity(v)
			return v
		})
		if score > bestScore {
			best, bestScore = p, score
		}
	}
	return best
}

type estimators struct{ good, bad parzen }

// split sorts what is known of an arm into good and bad. An experiment that
// has no value failed or fell behind: it is bad.
func split(known []*research.Experiment, o study.Objective, fixed study.Params) (good, bad []study.Params) {
	var valued []*research.Experiment
	for _, x := range known {
		if !x.Parameters.Matches(fixed) {
			continue
		}
		if x.Value != nil {
			valued = append(valued, x)
		} else {
			bad = append(bad, x.Parameters)
		}
	}
	sort.SliceStable(valued, func(i, j int) bool { return o.Better(*valued[i].Value, *valued[j].Value) })
	n := min(int(math.Ceil(tpeGamma*math.Sqrt(float64(len(valued))))), tpeMostGood, len(valued))
	for _, x := range valued[:n] {
		good = append(good, x.Parameters)
	}
	for _, x := range valued[n:] {
		bad = append(bad, x.Parameters)
	}
	if len(bad) > tpeMostBad {
		thin := make([]study.Params, tpeMostBad)
		for i := range thin {
			thin[i] = bad[i*len(bad)/tpeMostBad]
		}
		bad = thin
	}
	return good, bad
}

// parzen is a density of one parameter's values.
type parzen interface {
	draw(r *rand.Rand) any
	logDensity(v any) float64
}

func newParzen(d study.Parameter, observed []study.Params) parzen {
	var values []any
	for _, p := range observed {
		if v, ok := p[d.Name]; ok {
			values = append(values, v)
		}
	}
	if d.Kind == study.Categorical {
		return newCounts(d, values)
	}
	return newKernels(d, values)
}

// counts is a categorical density: each value's share, with one observation
// of prior spread over all.
type counts struct {
	d      study.Parameter
	shares []float64
}

func newCounts(d study.Parameter, values []any) counts {
	c := counts{d, make([]float64, len(d.Values))}
	for i, v := range d.Values {
		n := 1.0 // prior
		for _, o := range values {
			if o == v {
				n++
			}
		}
		c.shares[i] = n / float64(len(values)+len(d.Values))
	}
	return c
}

func (c counts) draw(r *rand.Rand) any {
	u := r.Float64()
	for i, share := range c.shares {
		if u -= share; u < 0 {
			return c.d.Values[i]
		}
	}
	return c.d.Values[len(c.d.Values)-1]
}

func (c counts) logDensity(v any) float64 {
	return math.Log(c.shares[slices.Index(c.d.Values, v)])
}

// kernels is a mixture of normal densities, each cut to the parameter's
// range: one around every observation, and a wide one as prior. A kernel is as
// wide as the larger gap to its neighbours.
type kernels struct {
	d         study.Parameter
	low, high float64
	mean, dev []float64
}

func newKernels(d study.Parameter, values []any) kernels {
	k := kernels{d: d}
	k.low, k.high = bounds(d)
	span := k.high - k.low
	prior := (k.low + k.high) / 2
	k.mean = append(k.mean, prior)
	for _, v := range values {
		k.mean = append(k.mean, position(d, v))
	}
	slices.Sort(k.mean)
	least := span / math.Min(100, 1+float64(len(k.mean)))
	for i, m := range k.mean {
		left, right := k.low, k.high
		if i > 0 {
			left = k.mean[i-1]
		}
		if i < len(k.mean)-1 {
			right = k.mean[i+1]
		}
		dev := math.Max(m-left, right-m)
		if m == prior {
			dev = span
		}
		k.dev = append(k.dev, math.Min(math.Max(dev, least), span))
	}
	return k
}

func (k kernels) draw(r *rand.Rand) any {
	for range 100 {
		i := r.IntN(len(k.mean))
		if x := k.mean[i] + k.dev[i]*r.NormFloat64(); x >= k.low && x < k.high {
			return value(k.d, x)
		}
	}
	return value(k.d, k.low+r.Float64()*(k.high-k.low))
}

func (k kernels) logDensity(v any) float64 {
	x := position(k.d, v)
	sum := 0.0
	for i, m := range k.mean {
		inside := normal((k.high-m)/k.dev[i]) - normal((k.low-m)/k.dev[i])
		z := (x - m) / k.dev[i]
		sum += math.Exp(-z*z/2) / (k.dev[i] * math.Sqrt(2*math.Pi) * inside)
	}
	return math.Log(sum/float64(len(k.mean)) + 1e-300)
}

// normal is the standard normal distribution function.
func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }
