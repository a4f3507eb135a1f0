package study

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the kind of a parameter.
type Kind string

// The kinds of parameters.
const (
	Categorical Kind = "categorical"
	Int         Kind = "int"
	Float       Kind = "float"
)

// Parameter is one dimension of the search space.
type Parameter struct {
	Name   string  `json:"name"`
	Kind   Kind    `json:"kind"`
	Values Values  `json:"values,omitempty"` // of a categorical one
	Low    float64 `json:"low,omitempty"`    // of a numeric one; inclusive
	High   float64 `json:"high,omitempty"`   // inclusive
	Log    bool    `json:"log,omitempty"`    // searched on a logarithmic scale
	Step   float64 `json:"step,omitempty"`   // values are Low + n·Step; 0: any (floats), 1 (ints)
	// When names the values of other parameters under which this one exists;
	// any one of a list will do. Empty: always.
	When map[string]Values `json:"when,omitempty"`
}

// Active reports whether the parameter exists under the values of p.
func (d Parameter) Active(p Params) bool {
	for name, allowed := range d.When {
		v, ok := p[name]
		if !ok || !slices.Contains(allowed, v) {
			return false
		}
	}
	return true
}

// Allows reports whether v is a value that the parameter can take.
func (d Parameter) Allows(v any) bool {
	if d.Kind == Categorical {
		return slices.Contains(d.Values, v)
	}
	x, ok := v.(float64)
	if !ok || x < d.Low || x > d.High {
		return false
	}
	return d.Kind != Int || x == math.Trunc(x)
}

// Read is the value that a text stands for, as in a table; the text itself where it is none
// of a choice's values and no number.
func (d Parameter) Read(text string) any {
	for _, v := range d.Values {
		if FormatValue(v) == text {
			return v
		}
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return x
}

// Size is how many values the parameter can take; 0 if they are not countable.
func (d Parameter) Size() int {
	switch {
	case d.Kind == Categorical:
		return len(d.Values)
	case d.Step > 0:
		return int(math.Floor((d.High-d.Low)/d.Step+1e-9)) + 1
	case d.Kind == Int:
		return int(d.High-d.Low) + 1
	}
	return 0
}

// At is the n-th of the Size values.
func (d Parameter) At(n int) any {
	switch {
	case d.Kind == Categorical:
		return d.Values[n]
	case d.Step > 0:
		return math.Min(d.Low+float64(n)*d.Step, d.High)
	}
	return d.Low + float64(n)
}

// Variable is the environment variable that has a parameter's value.
func Variable(name string) string {
	return "RATCHET_PARAM_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name))
}
