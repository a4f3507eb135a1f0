package stats

import (
	"fmt"
	"math"
	"sort"

	"ratchet/internal/research"
	"ratchet/study"
)

// Importance is how much of the objective's variation over the experiments a
// parameter explains on its own.
type Importance struct {
	Parameter string  `json:"parameter"`
	Share     float64 `json:"share"` // 0 to 1
	N         int     `json:"n"`     // experiments with a value in which the parameter exists
}

// mostGroups is how many groups a numeric parameter is cut into.
const mostGroups = 5

// Importances are the parameters' correlation ratios, most important first:
// the variance between the groups of equal values as a share of the whole
// variance (η², Fisher, Statistical Methods for Research Workers, 1925), less
// what as many random groups would explain (ω², Hays 1963). Numeric parameters
// are cut into at most five groups of equal size. Descriptive: the search does
// not sample parameters independently.
func Importances(s *research.State) []Importance {
	var out []Importance
	for _, d := range s.Created.Study.Parameters {
		var values []float64
		var levels []any
		for _, x := range s.Experiments {
			if v, ok := x.Parameters[d.Name]; ok && x.Value != nil {
				values = append(values, *x.Value)
				levels = append(levels, v)
			}
		}
		out = append(out, Importance{d.Name, omegaSquared(values, groups(d, levels)), len(values)})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Share > out[j].Share })
	return out
}

// groups names each value's group.
func groups(d study.Parameter, levels []any) []string {
	out := make([]string, len(levels))
	if d.Kind == study.Categorical {
		for i, v := range levels {
			out[i] = fmt.Sprintf("%T %v", v, v)
		}
		return out
	}
	order := make([]int, len(levels))
	for i := range order {
		order[i] = i
	}
	number := func(i int) float64 { x, _ := levels[i].(float64); return x }
	sort.SliceStable(order, func(i, j int) bool { return number(order[i]) < number(order[j]) })
	for rank, i := range order {
		// Equal values stay together: the group is that of the first of them.
		if rank > 0 && number(i) == number(order[rank-1]) {
			out[i] = out[order[rank-1]]
			continue
		}
		out[i] = fmt.Sprint(rank * mostGroups / len(order))
	}
	return out
}

func omegaSquared(values []float64, group []string) float64 {
	values = scaled(values)
	sums, count := map[string]float64{}, map[string]float64{}
	for i, v := range values {
		sums[group[i]] += v
		count[group[i]]++
	}
	n, k := float64(len(values)), float64(len(sums))
	if k < 2 || n <= k {
		return 0
	}
	mean, total, between := Mean(values), 0.0, 0.0
	for _, v := range values {
		total += (v - mean) * (v - mean)
	}
	for _, g := range sortedNames(sums) {
		d := sums[g]/count[g] - mean
		between += count[g] * d * d
	}
	within := (total - between) / (n - k)
	if total+within <= 0 {
		return 0
	}
	return math.Max(0, (between-(k-1)*within)/(total+within))
}

// scaled brings values to a scale on which they can be squared; a share of their
// variance stays the same.
func scaled(values []float64) []float64 {
	mean, largest := Mean(values), 0.0
	for _, v := range values {
		largest = max(largest, math.Abs(v/2-mean/2))
	}
	out := make([]float64, len(values))
	for i, v := range values {
		if largest > 0 {
			out[i] = (v/2 - mean/2) / largest
		}
	}
	return out
}

func sortedNames(m map[string]float64) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}
