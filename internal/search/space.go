package search

import (
	"maps"
	"math"
	"math/rand/v2"

	"ratchet/study"
)

// space is the search space: the study's parameters, each behind those that
// it depends on.
type space struct{ parameters []study.Parameter }

// each walks the parameters that exist, in order, given what came before.
func (sp space) each(fixed study.Params, choose func(d study.Parameter) any) study.Params {
	p := study.Params{}
	for _, d := range sp.parameters {
		if !d.Active(p) {
			continue
		}
		if v, ok := fixed[d.Name]; ok {
			p[d.Name] = v
		} else {
			p[d.Name] = choose(d)
		}
	}
	return p
}

// random draws every parameter uniformly on its scale.
func (sp space) random(r *rand.Rand, fixed study.Params) study.Params {
	return sp.each(fixed, func(d study.Parameter) any { return quantile(d, r.Float64()) })
}

// quantile is the value at a share u of a parameter's range, 0 ≤ u < 1.
func quantile(d study.Parameter, u float64) any {
	if n := d.Size(); n > 0 && !d.Log {
		return d.At(min(int(u*float64(n)), n-1))
	}
	low, high := bounds(d)
	return value(d, low+u*(high-low))
}

// bounds are the ends of a numeric parameter on its own scale, on which it is
// searched; those of whole numbers are half a step wider, so that the ends are
// as likely as the rest.
func bounds(d study.Parameter) (low, high float64) {
	low, high = d.Low, d.High
	if d.Kind == study.Int {
		low, high = low-0.5, high+0.5
		if d.Log {
			low = max(low, 0.5)
		}
	}
	if d.Log {
		return math.Log(low), math.Log(high)
	}
	return low, high
}

// value takes a point on a parameter's scale back to a value it allows.
func value(d study.Parameter, x float64) any {
	if d.Log {
		x = math.Exp(x)
	}
	switch {
	case d.Step > 0:
		x = d.Low + math.Round((x-d.Low)/d.Step)*d.Step
	case d.Kind == study.Int:
		x = math.Round(x)
	}
	x = math.Min(math.Max(x, d.Low), d.High)
	if d.Step > 0 {
		return d.At(int(math.Round((x - d.Low) / d.Step)))
	}
	return x
}

// position is a value's point on its parameter's scale.
func position(d study.Parameter, v any) float64 {
	x, _ := v.(float64)
	if d.Log {
		return math.Log(x)
	}
	return x
}

// latin gives the i-th of n points of a Latin hypercube: each parameter's
// range is cut into n slices of equal probability, and every slice is used
// once (McKay, Beckman and Conover, Technometrics 21, 1979). A parameter that
// depends on another keeps its slice whether it exists or not.
func (sp space) latin(seed int64, i, n int, r *rand.Rand, fixed study.Params) study.Params {
	return sp.each(fixed, func(d study.Parameter) any {
		slice := newRand(seed, "latin "+d.Name).Perm(n)[i%n]
		return quantile(d, (float64(slice)+r.Float64())/float64(n))
	})
}

// first is the first configuration of an arm that was not tried, in the order
// of enumeration; false if there is none or the space cannot be enumerated. In
// a grid, the first skip configurations are known to be tried.
func (sp space) first(fixed study.Params, skip int, grid bool, tried func(study.Params) bool) (study.Params, bool) {
	const most = 1 << 20 // configurations looked at
	for _, d := range sp.parameters {
		if _, ok := fixed[d.Name]; !ok && d.Size() == 0 {
			return nil, false
		}
	}
	if !grid {
		skip = 0
	}
	var found study.Params
	seen := 0
	sp.enumerate(study.Params{}, 0, fixed, func(p study.Params) bool {
		if seen++; seen > most || seen > skip && !tried(p) {
			found = maps.Clone(p)
			return false
		}
		return true
	})
	return found, found != nil && seen <= most
}

// enumerate visits every configuration, the last parameter changing fastest,
// until visit returns false. What visit gets changes when it returns.
func (sp space) enumerate(p study.Params, at int, fixed study.Params, visit func(study.Params) bool) bool {
	if at == len(sp.parameters) {
		return visit(p)
	}
	d := sp.parameters[at]
	if !d.Active(p) {
		return sp.enumerate(p, at+1, fixed, visit)
	}
	defer delete(p, d.Name)
	if v, ok := fixed[d.Name]; ok {
		p[d.Name] = v
		return sp.enumerate(p, at+1, fixed, visit)
	}
	for i := range d.Size() {
		p[d.Name] = d.At(i)
		if !sp.enumerate(p, at+1, fixed, visit) {
			return false
		}
	}
	return true
}
