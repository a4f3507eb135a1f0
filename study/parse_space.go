package study

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

// reserved names have a meaning of their own in a program's arguments.
var reserved = []string{"seed"}

func (p *parsing) parameters(n ast.Node) {
	for _, e := range p.Mapping(n, "parameters") {
		d := Parameter{Name: e.Key}
		where := "parameters." + e.Key
		if !parameterForm.allows(e.Key) {
			p.Complain(e.At, fmt.Sprintf("the parameter's name is %q", yamlfile.Shorten(e.Key)), "use letters, digits, underscores, dots and hyphens, and begin with a letter; it becomes part of an environment variable")
		}
		if slices.Contains(reserved, e.Key) {
			p.Complain(e.At, fmt.Sprintf("%q is not free as a parameter's name", e.Key), "each trial has its own seed already; see `seeds` under search")
		}
		for _, other := range p.s.Parameters {
			if Variable(other.Name) == Variable(d.Name) {
				p.Complain(e.At, fmt.Sprintf("%q and %q share the variable $%s", other.Name, d.Name, Variable(d.Name)), "rename one of them")
			}
		}
		switch v := p.Resolve(e.Value).(type) {
		case *ast.SequenceNode:
			d.Kind = Categorical
			d.Values = p.values(v, where)
		case *ast.MappingNode, *ast.MappingValueNode:
			p.bounds(v, where, &d)
		case nil:
			continue
		default:
			p.Complain(e.Value, where+" is "+yamlfile.Describe(v), "write a list of values, {int: [1, 25]} or {float: [0.001, 1], scale: log}")
			continue
		}
		p.at["parameter "+d.Name] = e.Value
		p.s.Parameters = append(p.s.Parameters, d)
	}
}

func (p *parsing) values(n ast.Node, where string) Values {
	var out Values
	for _, item := range p.List(n, where) {
		v, ok := p.value(item, "a value of "+where)
		if !ok {
			continue
		}
		if slices.Contains(out, v) {
			p.Complain(item, fmt.Sprintf("%s has the value %s twice", where, FormatValue(v)), "remove one")
		} else if i := slices.IndexFunc(out, func(other any) bool { return FormatValue(other) == FormatValue(v) }); i >= 0 {
			p.Complain(item, fmt.Sprintf("%s has %s as a text and not as a text, which a program's arguments do not tell apart", where, FormatValue(v)), "keep one of the two")
		}
		out = append(out, v)
	}
	if len(out) == 0 {
		p.Complain(n, where+" has no values", "list at least one")
	}
	return out
}

// value is a parameter's value; false after complaining.
func (p *parsing) value(n ast.Node, what string) (any, bool) {
	read, ok := p.Value(n, what)
	if !ok {
		return nil, false
	}
	v, err := newValue(read)
	if err != nil {
		p.Complain(n, what+": "+err.Error(), "write it in quotes if it is a text")
	}
	return v, err == nil
}

func (p *parsing) bounds(n ast.Node, where string, d *Parameter) {
	log := false
	become := func(n ast.Node, kind Kind) {
		if d.Kind != "" {
			p.Complain(n, where+" has two kinds", "keep one of values, int and float")
		}
		d.Kind = kind
	}
	limits := func(kind Kind) func(ast.Node) {
		return func(n ast.Node) {
			become(n, kind)
			items := p.List(n, where)
			if len(items) != 2 {
				p.Complain(n, fmt.Sprintf("%s has %d bounds", where, len(items)), "write [lowest, highest]")
				return
			}
			low, ok1 := p.Float(items[0], where)
			high, ok2 := p.Float(items[1], where)
			d.Low, d.High = low, high
			if ok1 && ok2 && low >= high {
				p.Complain(n, fmt.Sprintf("%s goes from %v to %v", where, low, high), "put the lower bound first")
			}
			if kind == Int && (low != float64(int64(low)) || high != float64(int64(high))) {
				p.Complain(n, where+" has bounds that are not whole", "use whole numbers, or {float: …}")
			}
		}
	}
	p.Fields(n, where, map[string]func(ast.Node){
		"int":   limits(Int),
		"float": limits(Float),
		"values": func(n ast.Node) {
			become(n, Categorical)
			d.Values = p.values(n, where)
		},
		"scale": func(n ast.Node) { log = p.Choice(n, where+".scale", "linear", "log") == "log" },
		"step": func(n ast.Node) {
			if d.Step = p.Number(n, where+".step", 1e-12, 1e12); d.Step != float64(int64(d.Step)) && d.Kind == Int {
				p.Complain(n, where+".step is not whole", "an int parameter moves in whole steps")
			}
		},
		"when": func(n ast.Node) { d.When = p.when(n, where) },
	})
	d.Log = log
	switch {
	case d.Kind == "":
		p.Complain(n, where+" does not say what it can be", "write {values: […]}, {int: [1, 25]} or {float: [0.001, 1]}")
	case log && d.Kind == Categorical:
		p.Complain(n, where+" has a scale without a range", "remove `scale`")
	case log && d.Low <= 0:
		p.Complain(n, fmt.Sprintf("%s is on a logarithmic scale from %v", where, d.Low), "the lower bound must be above zero")
	case log && d.Step > 0:
		p.Complain(n, where+" has a step on a logarithmic scale", "keep one of them")
	}
}

func (p *parsing) when(n ast.Node, where string) map[string]Values {
	out := map[string]Values{}
	for _, e := range p.Mapping(n, where+".when") {
		p.at["when "+where+" "+e.Key] = e.At
		if _, list := p.Resolve(e.Value).(*ast.SequenceNode); list {
			out[e.Key] = p.values(e.Value, where+".when."+e.Key)
		} else if v, ok := p.value(e.Value, where+".when."+e.Key); ok {
			out[e.Key] = Values{v}
		}
	}
	return out
}

func (p *parsing) hypotheses(n ast.Node) {
	p.at["hypotheses"] = n
	for _, item := range p.List(n, "hypotheses") {
		h := Hypothesis{}
		seen := p.Fields(item, "a hypothesis", map[string]func(ast.Node){
			"id": func(n ast.Node) {
				if h.ID = p.Text(n, "id"); !nameForm.allows(h.ID) {
					p.Complain(n, fmt.Sprintf("the hypothesis's id is %q", yamlfile.Shorten(h.ID)), "use up to 40 lower-case letters, digits and hyphens")
				}
			},
			"claim":   func(n ast.Node) { h.Claim = strings.TrimSpace(p.Text(n, "claim")) },
			"compare": func(n ast.Node) { p.compare(n, &h) },
			"expect":  func(n ast.Node) { h.Expect = p.expect(n) },
			"metric":  func(n ast.Node) { h.Metric = p.metricName(n, "metric") },
			"by":      func(n ast.Node) { h.By = p.Number(n, "by", 0, 1e300) },
			"exact":   func(n ast.Node) { h.Exact = p.Choice(n, "exact", "true", "false") == "true" },
		})
		for _, key := range []string{"id", "claim", "compare", "expect"} {
			if !seen[key] {
				p.Complain(item, fmt.Sprintf("the key %q is missing in a hypothesis", key), "write {id: …, claim: …, compare: {a: {…}, b: {…}}, expect: a > b}")
			}
		}
		for _, other := range p.s.Hypotheses {
			if other.ID == h.ID {
				p.Complain(item, fmt.Sprintf("two hypotheses have the id %q", h.ID), "rename one of them")
			}
		}
		p.s.Hypotheses = append(p.s.Hypotheses, h)
	}
}

func (p *parsing) expect(n ast.Node) string {
	switch s := strings.Join(strings.Fields(p.Text(n, "expect")), " "); s {
	case Greater, "b < a":
		return Greater
	case Less, "b > a":
		return Less
	default:
		p.Complain(n, fmt.Sprintf("expect is %q", yamlfile.Shorten(s)), "write `a > b` or `a < b`")
		return Greater
	}
}

func (p *parsing) compare(n ast.Node, h *Hypothesis) {
	side := func(to *Params, what string) func(ast.Node) {
		return func(n ast.Node) {
			*to = Params{}
			for _, e := range p.Mapping(n, what) {
				p.at["side "+h.ID+what+" "+e.Key] = e.Value
				if v, ok := p.value(e.Value, what+"."+e.Key); ok {
					(*to)[e.Key] = v
					p.pending = append(p.pending, later{e, v, "the hypothesis compares"})
				}
			}
		}
	}
	seen := p.Fields(n, "compare", map[string]func(ast.Node){
		"a": side(&h.A, "compare.a"), "b": side(&h.B, "compare.b"),
	})
	if !seen["a"] || !seen["b"] {
		p.Complain(n, "compare needs both sides", "write {a: {name: value}, b: {name: value}}")
		return
	}
	if len(h.A) == 0 && len(h.B) == 0 || h.A.Key() == h.B.Key() {
		p.Complain(n, "the two sides are the same", "give a parameter different values on the two sides")
	}
}

// later holds a check of a value against a parameter until all parameters
// have been read, whatever the order of the file.
type later struct {
	e    yamlfile.Entry
	v    any
	what string // that it is done with the parameter
}

// some reads values of some parameters.
func (p *parsing) some(n ast.Node, where, what string) Params {
	out := Params{}
	for _, e := range p.Mapping(n, where) {
		p.at[where+" "+e.Key] = e.Value
		if v, ok := p.value(e.Value, where+"."+e.Key); ok {
			out[e.Key] = v
			p.pending = append(p.pending, later{e, v, what})
		}
	}
	return out
}
