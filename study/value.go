package study

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ratchet/internal/yamlfile"
)

// Params gives parameters their values. A value is a string, a bool, a float64 or a
// Literal; two are the same if they are equal by ==.
type Params map[string]any

// Literal is the value of a parameter that is none of string, bool and float64, as
// canonical JSON: null, a list, an object, or a whole number that no float64 equals.
type Literal string

// MarshalJSON implements json.Marshaler.
func (l Literal) MarshalJSON() ([]byte, error) { return []byte(l), nil }

// Values are values of a parameter.
type Values []any

// newValue is a value of what JSON has, with its numbers as json.Number.
func newValue(v any) (any, error) {
	switch v := v.(type) {
	case string, bool, float64:
		return v, nil
	case json.Number:
		x, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("%s is beyond what a floating-point number holds", v)
		}
		if whole, ok := yamlfile.Whole(v.String()); ok && x != 0 && yamlfile.FormatFloat(x) != whole {
			return Literal(whole), nil
		}
		return x, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // sorts keys
		return nil, err
	}
	return Literal(strings.TrimSpace(b.String())), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Params) UnmarshalJSON(b []byte) error {
	var read map[string]any
	if err := decodeNumbers(b, &read); err != nil || read == nil {
		*p = nil
		return err
	}
	*p = make(Params, len(read))
	for name, v := range read {
		value, err := newValue(v)
		if err != nil {
			return fmt.Errorf("the parameter %s: %w", name, err)
		}
		(*p)[name] = value
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (vs *Values) UnmarshalJSON(b []byte) error {
	var read []any
	if err := decodeNumbers(b, &read); err != nil || read == nil {
		*vs = nil
		return err
	}
	*vs = make(Values, len(read))
	for i, v := range read {
		var err error
		if (*vs)[i], err = newValue(v); err != nil {
			return err
		}
	}
	return nil
}

func decodeNumbers(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(to)
}

// Key is the canonical form of p: equal configurations have equal keys.
func (p Params) Key() string {
	b, err := json.Marshal(p) // sorts its keys
	if err != nil {
		panic(fmt.Sprintf("study: parameters that Parse lets through always marshal: %v", err))
	}
	return string(b)
}

// Matches reports whether p has every value that fixed asks for.
func (p Params) Matches(fixed Params) bool {
	for name, want := range fixed {
		if got, ok := p[name]; !ok || got != want {
			return false
		}
	}
	return true
}

// FormatValue writes a parameter's value as a program sees it in its arguments and
// its environment: a text as it is, all else as JSON, with whole numbers below 10^21
// without exponent or point.
func FormatValue(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return yamlfile.FormatFloat(v)
	case Literal:
		return string(v)
	}
	return ""
}
