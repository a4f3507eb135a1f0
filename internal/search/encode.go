package search

import (
	"slices"

	"ratchet/internal/search/gp"
	"ratchet/study"
)

// A model sees a configuration as a point with one coordinate for each parameter. That
// of a numeric parameter is its position in the range, from 0 to 1; so is that of a choice
// between numbers, by their rank. That of any other choice is the number of the value. A
// parameter that does not exist has the coordinate absent.
type axes struct {
	space
	of []axis
}

type axis struct {
	study.Parameter
	unordered bool      // a choice between values without an order
	low, span float64   // of its own scale
	ranked    []float64 // the values of a choice between numbers, in order
	// given: it is no parameter, but says what an outcome is of; every proposal has given at.
	given bool
	at    float64
}

// absent is the coordinate of a parameter that does not exist.
const absent = gp.Absent

// newAxes are the axes of parameters.
func newAxes(parameters []study.Parameter) axes {
	a := axes{space: space{parameters: parameters}}
	for _, d := range parameters {
		x := axis{Parameter: d}
		switch {
		case d.Kind != study.Categorical:
			low, high := bounds(d)
			x.low, x.span = low, high-low
		case ordered(d.Values):
			for _, v := range d.Values {
				x.ranked = append(x.ranked, v.(float64))
			}
			slices.Sort(x.ranked)
		default:
			x.unordered = true
		}
		a.of = append(a.of, x)
	}
	return a
}

// withSteps adds the axis of how far a trial got: 1 is the end. How alike outcomes on the way
// and in the end are, the model finds on its own.
func (a axes) withSteps() axes {
	a.of = append(a.of, axis{Parameter: study.Parameter{Kind: study.Float}, span: 1, given: true, at: 1})
	return a
}

// withSources adds the axis of which work an outcome is of: 0 is this run, the others are
// earlier ones.
func (a axes) withSources(n int) axes {
	a.of = append(a.of, axis{Parameter: study.Parameter{Kind: study.Categorical, Values: make(study.Values, n+1)}, unordered: true, given: true})
	return a
}

// ordered: three numbers or more can be near to each other.
func ordered(values study.Values) bool {
	return len(values) > 2 && !slices.ContainsFunc(values, func(v any) bool { _, ok := v.(float64); return !ok })
}

// metric is how distances are measured along the axes.
func (a axes) metric() []gp.Axis {
	out := make([]gp.Axis, len(a.of))
	for j, d := range a.of {
		if d.unordered {
			out[j].Values = len(d.Values)
		}
	}
	return out
}

// point is a configuration's.
func (a axes) point(p study.Params) []float64 {
	x := make([]float64, len(a.of))
	for j, d := range a.of {
		if d.given {
			x[j] = d.at
			continue
		}
		v, ok := p[d.Name]
		if !ok {
			x[j] = absent
			continue
		}
		x[j] = d.coordinate(v)
	}
	return x
}

func (d axis) coordinate(v any) float64 {
	switch {
	case d.unordered:
		return float64(slices.Index(d.Values, v))
	case d.ranked != nil:
		i, _ := slices.BinarySearch(d.ranked, v.(float64))
		return (float64(i) + 0.5) / float64(len(d.ranked))
	case d.span <= 0:
		return 0.5
	}
	return min(max((position(d.Parameter, v)-d.low)/d.span, 0), 1)
}

// value is the value nearest to a coordinate.
func (d axis) value(x float64) any {
	switch {
	case d.unordered:
		return d.Values[min(max(int(x), 0), len(d.Values)-1)]
	case d.ranked != nil:
		return d.ranked[min(max(int(x*float64(len(d.ranked))), 0), len(d.ranked)-1)]
	}
	return value(d.Parameter, d.low+x*d.span)
}

// smooth: a small change of the coordinate is another value.
func (d axis) smooth() bool { return d.Size() == 0 }

// settle makes a point a possible one in place: every coordinate is that of a value, those
// of parameters that do not exist are absent, and those that are fixed are as they are
// fixed. A parameter that comes to exist gets the coordinate that fill gives.
func (a axes) settle(x []float64, fixed study.Params, fill func(d axis) float64) study.Params {
	p := study.Params{}
	for j, d := range a.of {
		if d.given {
			x[j] = d.at
			continue
		}
		if !d.Active(p) {
			x[j] = absent
			continue
		}
		v, ok := fixed[d.Name]
		if !ok {
			if x[j] == absent {
				x[j] = fill(d)
			}
			v = d.value(x[j])
		}
		p[d.Name] = v
		x[j] = d.coordinate(v)
	}
	return p
}

// neighbours are the coordinates of the values next to that of a coordinate: one step
// below and above, or every other value of a choice without an order.
func (d axis) neighbours(x float64) (out []float64) {
	if d.unordered {
		for v := range len(d.Values) {
			if float64(v) != x {
				out = append(out, float64(v))
			}
		}
		return out
	}
	var next []float64
	if d.ranked != nil {
		i := slices.Index(d.ranked, d.value(x).(float64))
		next = slices.Concat(d.ranked[max(i-1, 0):i], d.ranked[i+1:min(i+2, len(d.ranked))])
	} else {
		step := d.Step
		if step == 0 {
			step = 1
		}
		v := d.value(x).(float64)
		next = []float64{v - step, v + step}
	}
	for _, v := range next {
		if d.ranked != nil || v >= d.Low && v <= d.High {
			out = append(out, d.coordinate(v))
		}
	}
	return out
}
