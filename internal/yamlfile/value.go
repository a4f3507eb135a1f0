package yamlfile

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// kind is what a plain scalar is in YAML 1.2's core schema
// (https://yaml.org/spec/1.2.2/#103-core-schema).
type kind int

const (
	text kind = iota
	null
	boolean
	whole  // an integer
	number // a finite number that is not written as an integer
	infinite
)

// The forms of the core schema. A whole number with leading zeros is ten in YAML
// 1.2 and eight in YAML 1.1, so it is a text here, as are the other words below.
var (
	wholeForm    = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$|^0o[0-7]+$|^0x[0-9a-fA-F]+$`)
	numberForm   = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	zerosForm    = regexp.MustCompile(`^[-+]?0[0-9]+$`)
	infiniteForm = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
	// What YAML 1.1 reads as a number or a truth value, and YAML 1.2 as a text.
	olderForm = regexp.MustCompile(`^([-+]?0[0-9_]+|[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?|[-+]?0b[01_]+|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$`)
)

// kindOf is the kind of a plain scalar.
func kindOf(s string) kind {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return null
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return boolean
	}
	switch {
	case zerosForm.MatchString(s):
		return text
	case wholeForm.MatchString(s):
		return whole
	case numberForm.MatchString(s):
		return number
	case infiniteForm.MatchString(s):
		return infinite
	}
	return text
}

// plain is the text of a scalar that stands in no quotes; false: it is no scalar, or
// it is quoted.
func plain(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		t := n.GetToken()
		return n.Value, t == nil || t.Type != token.SingleQuoteType && t.Type != token.DoubleQuoteType
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		return "", true
	}
	return "", false
}

// Value is what a node says, in YAML 1.2's core schema: nil, a bool, a string, a
// json.Number in JSON's own notation (whole numbers without exponent or point, exact
// to 64 bits), a []any or a map[string]any of such; false after complaining.
func (r *Reader) Value(n ast.Node, what string) (any, bool) {
	v := r.Resolve(n)
	switch v := v.(type) {
	case nil:
		return nil, false
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.SequenceNode:
		list, ok := []any{}, true
		for _, item := range v.Values {
			one, fine := r.Value(item, "an item of "+what)
			list, ok = append(list, one), ok && fine
		}
		return list, ok
	case *ast.MappingNode, *ast.MappingValueNode:
		object, ok := map[string]any{}, true
		for _, e := range r.Mapping(v, what) {
			one, fine := r.Value(e.Value, what+"."+e.Key)
			object[e.Key], ok = one, ok && fine
		}
		return object, ok
	}
	s, isPlain := plain(v)
	if !isPlain {
		if q, quoted := v.(*ast.StringNode); quoted {
			return q.Value, true
		}
		r.Complain(n, what+" is "+Describe(v), "write a text, a number, true or false, a list or a mapping")
		return nil, false
	}
	switch kindOf(s) {
	case null:
		return nil, true
	case boolean:
		return strings.EqualFold(s, "true"), true
	case whole:
		text, ok := Whole(s)
		if !ok {
			r.Complain(n, fmt.Sprintf("%s is %s, which 64 bits do not hold", what, Shorten(s)), "write it in quotes if it is a text")
		}
		return json.Number(text), ok
	case number:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			r.Complain(n, fmt.Sprintf("%s is %s, beyond what a floating-point number holds", what, Shorten(s)), "write it in quotes if it is a text")
			return nil, false
		}
		return json.Number(FormatFloat(x)), true
	case infinite:
		r.Complain(n, fmt.Sprintf("%s is %s", what, s), "write a finite number; JSON has no word for this one")
		return nil, false
	}
	if olderForm.MatchString(s) {
		r.Warn(n, fmt.Sprintf("%s is the text %q", what, s), "older YAML reads it otherwise; write it in quotes, or as a number, true or false")
	}
	return s, true
}

// Whole is a whole number of the core schema in decimal notation; false: 64 bits do
// not hold it.
func Whole(s string) (string, bool) {
	base, digits := 10, strings.TrimPrefix(s, "+")
	switch {
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case strings.HasPrefix(digits, "0o"):
		base, digits = 8, digits[2:]
	}
	if i, err := strconv.ParseInt(digits, base, 64); err == nil {
		return strconv.FormatInt(i, 10), true
	}
	u, err := strconv.ParseUint(digits, base, 64)
	return strconv.FormatUint(u, 10), err == nil
}

// FormatFloat writes a finite number as JSON does: whole ones below 10^21 without
// exponent or point.
func FormatFloat(x float64) string {
	b, err := json.Marshal(x)
	if err != nil {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return string(b)
}

// Float is a finite number; false after complaining.
func (r *Reader) Float(n ast.Node, what string) (float64, bool) {
	v := r.Resolve(n)
	if v == nil {
		return 0, false
	}
	s, isPlain := plain(v)
	if !isPlain {
		if q, quoted := v.(*ast.StringNode); quoted {
			s = q.Value
		} else {
			r.Complain(n, what+" is "+Describe(v), "write a finite number")
			return 0, false
		}
	}
	switch k := kindOf(s); {
	case isPlain && k == whole:
		text, ok := Whole(s)
		x, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || math.Abs(x) > 1<<53 {
			r.Complain(n, what+" is too large a whole number", "stay within ±2^53, where floating point is exact")
			return 0, false
		}
		return x, true
	case isPlain && k == number:
		if x, err := strconv.ParseFloat(s, 64); err == nil {
			return x, true
		}
		r.Complain(n, fmt.Sprintf("%s is %s", what, Shorten(s)), "write a number that floating point holds")
		return 0, false
	case isPlain && k != text:
		r.Complain(n, what+" is "+Describe(v), "write a finite number")
		return 0, false
	}
	r.Complain(n, fmt.Sprintf("%s is the text %q", what, Shorten(s)), "write a finite number")
	return 0, false
}
