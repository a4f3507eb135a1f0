package search

import (
	"math"
	"slices"

	"ratchet/internal/search/gp"
	"ratchet/internal/search/pareto"
)

// volumes is the criterion of several objectives, and of constraints: how much a point is
// expected to add to the hypervolume, times the chance that it keeps to the constraints. The
// space that the front leaves is cut into boxes; over a box the expectation is a product of
// what is expected of each objective, since their models are independent (Yang, Emmerich,
// Deutz and Bäck, "Efficient Computation of Expected Hypervolume Improvement Using Box
// Decomposition Algorithms", Journal of Global Optimization 75, 2019). All is added up as
// logarithms, so that there is a slope to climb where the expectation is tiny (Ament et al.,
// as at gp.LogImprovement). It is not safe for concurrent use.
type volumes struct {
	objectives []*gp.Model
	limits     []limit
	levels     [][]float64 // of each objective: where boxes begin and end, ascending
	boxes      []box       // none: nothing keeps to the constraints yet, and only their chance counts

	gains            [][]gain
	logs             []float64
	terms            [][]gain // of a box, each objective's
	dMean, dVariance [][]float64
}

// limit is a bound that a value is to be below.
type limit struct {
	m     *gp.Model
	sign  float64 // -1: it is to be above
	bound float64
}

// box is a part of the space of the objectives: of each, between two of its levels, -1
// being -Inf.
type box struct{ low, high []int }

// gain is a logarithm, and its derivatives by mean and deviation.
type gain struct{ log, byMean, bySD float64 }

// newVolumes is for a front below a reference point.
func newVolumes(objectives []*gp.Model, limits []limit, front [][]float64, reference []float64) *volumes {
	v := &volumes{objectives: objectives, limits: limits, levels: make([][]float64, len(objectives))}
	var parts []pareto.Box
	if len(front) > 0 {
		parts = pareto.Free(front, reference)
	}
	for j := range objectives {
		for _, p := range parts {
			if low := p.Low[j]; !math.IsInf(low, -1) {
				v.levels[j] = append(v.levels[j], low)
			}
			v.levels[j] = append(v.levels[j], p.High[j])
		}
		slices.Sort(v.levels[j])
		v.levels[j] = slices.Compact(v.levels[j])
		v.gains = append(v.gains, make([]gain, len(v.levels[j])))
	}
	for _, p := range parts {
		b := box{make([]int, len(objectives)), make([]int, len(objectives))}
		for j, levels := range v.levels {
			b.low[j] = -1
			if !math.IsInf(p.Low[j], -1) {
				b.low[j], _ = slices.BinarySearch(levels, p.Low[j])
			}
			b.high[j], _ = slices.BinarySearch(levels, p.High[j])
		}
		v.boxes = append(v.boxes, b)
		v.terms = append(v.terms, make([]gain, len(objectives)))
	}
	v.logs = make([]float64, len(v.boxes))
	return v
}

func (v *volumes) models() []*gp.Model {
	all := slices.Clone(v.objectives)
	for _, l := range v.limits {
		all = append(all, l.m)
	}
	return all
}

// at is the criterion where the models have means and deviations, those of the limits behind
// those of the objectives; and, where by is not nil, its derivatives.
func (v *volumes) at(means, sds []float64, by []gain) float64 {
	total := 0.0
	for i := range by {
		by[i] = gain{}
	}
	for i, l := range v.limits {
		k := len(v.objectives) + i
		log, byMean, bySD := gp.LogBelow(l.sign*means[k], sds[k], l.sign*l.bound)
		total += log
		if by != nil {
			by[k] = gain{0, l.sign * byMean, bySD}
		}
	}
	if len(v.boxes) == 0 {
		return total
	}
	for j, levels := range v.levels {
		for k, level := range levels {
			g := &v.gains[j][k]
			g.log, g.byMean, g.bySD = gp.LogImprovement(means[j], sds[j], level)
		}
	}
	most := math.Inf(-1)
	for i, b := range v.boxes {
		v.logs[i] = 0
		for j := range v.objectives {
			t := between(v.gains[j], b.low[j], b.high[j])
			v.terms[i][j] = t
			v.logs[i] += t.log
		}
		most = max(most, v.logs[i])
	}
	if math.IsInf(most, -1) {
		return most
	}
	sum := 0.0
	for i, l := range v.logs {
		v.logs[i] = math.Exp(l - most)
		sum += v.logs[i]
	}
	if by != nil {
		for i, weight := range v.logs {
			if weight == 0 {
				continue
			}
			for j, t := range v.terms[i] {
				by[j].byMean += weight / sum * t.byMean
				by[j].bySD += weight / sum * t.bySD
			}
		}
	}
	return total + most + math.Log(sum)
}

// between is what is expected of an objective within a box: what is below its high level,
// without what is below its low one.
func between(gains []gain, low, high int) gain {
	up := gains[high]
	if low < 0 {
		return up
	}
	down := gains[low]
	ratio := math.Exp(down.log - up.log)
	left := 1 - ratio
	if left <= 0 {
		return gain{log: math.Inf(-1)}
	}
	return gain{up.log + math.Log(left), (up.byMean - ratio*down.byMean) / left, (up.bySD - ratio*down.bySD) / left}
}

func (v *volumes) each(xs [][]float64) []float64 {
	all := v.models()
	means, sds := make([][]float64, len(all)), make([][]float64, len(all))
	for k, m := range all {
		means[k], sds[k] = m.Each(xs)
	}
	out := make([]float64, len(xs))
	mean, sd := make([]float64, len(all)), make([]float64, len(all))
	for i := range xs {
		for k := range all {
			mean[k], sd[k] = means[k][i], math.Sqrt(sds[k][i])
		}
		out[i] = v.at(mean, sd, nil)
	}
	return out
}

func (v *volumes) slope(x, gradient []float64) float64 {
	all := v.models()
	if v.dMean == nil {
		for range all {
			v.dMean, v.dVariance = append(v.dMean, make([]float64, len(x))), append(v.dVariance, make([]float64, len(x)))
		}
	}
	mean, sd, by := make([]float64, len(all)), make([]float64, len(all)), make([]gain, len(all))
	for k, m := range all {
		var variance float64
		mean[k], variance = m.Gradient(x, v.dMean[k], v.dVariance[k])
		sd[k] = math.Sqrt(variance)
	}
	out := v.at(mean, sd, by)
	clear(gradient)
	for k, b := range by {
		for j := range gradient {
			gradient[j] += b.byMean*v.dMean[k][j] + b.bySD*v.dVariance[k][j]/(2*sd[k])
		}
	}
	return out
}
