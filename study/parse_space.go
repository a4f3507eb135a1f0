package study

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// reserved names have a meaning of their own in a program's arguments.
var reserved = []string{"seed"}

func (p *parsing) parameters(n ast.Node) {
	for _, e := range p.mapping(n, "parameters") {
		d := Parameter{Name: e.key}
		where := "parameters." + e.key
		if !parameterForm.MatchString(e.key) {
			p.complain(e.at, fmt.Sprintf("the parameter's name is %q", shorten(e.key)), "use letters, digits and underscores; it becomes part of an environment variable")
		}
		if slices.Contains(reserved, e.key) {
			p.complain(e.at, fmt.Sprintf("%q is not free as a parameter's name", e.key), "each trial has its own seed already; see `seeds` under search")
		}
		for _, other := range p.s.Parameters {
			if strings.EqualFold(other.Name, d.Name) {
				p.complain(e.at, fmt.Sprintf("%q and %q share the variable $RATCHET_PARAM_%s", other.Name, d.Name, strings.ToUpper(d.Name)), "rename one of them")
			}
		}
		switch v := p.resolve(e.value).(type) {
		case *ast.SequenceNode:
			d.Kind = Categorical
			d.Values = p.values(v, where)
		case *ast.MappingNode, *ast.MappingValueNode:
			p.bounds(v, where, &d)
		case nil:
			continue
		default:
			p.complain(e.value, where+" is "+describe(v), "write a list of values, {int: [1, 25]} or {float: [0.001, 1], scale: log}")
			continue
		}
		p.at["parameter "+d.Name] = e.value
		p.s.Parameters = append(p.s.Parameters, d)
	}
}

func (p *parsing) values(n ast.Node, where string) []any {
	var out []any
	for _, item := range p.list(n, where) {
		v, ok := p.scalar(item, "a value of "+where)
		if ok && slices.Contains(out, v) {
			p.complain(item, fmt.Sprintf("%s has the value %s twice", where, FormatValue(v)), "remove one")
		}
		if ok {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		p.complain(n, where+" has no values", "list at least one")
	}
	return out
}

func (p *parsing) bounds(n ast.Node, where string, d *Parameter) {
	log := false
	limits := func(kind Kind) func(ast.Node) {
		return func(n ast.Node) {
			if d.Kind != "" {
				p.complain(n, where+" has two kinds", "keep one of values, int and float")
			}
			d.Kind = kind
			items := p.list(n, where)
			if len(items) != 2 {
				p.complain(n, fmt.Sprintf("%s has %d bounds", where, len(items)), "write [lowest, highest]")
				return
			}
			low, ok1 := p.float(items[0], where)
			high, ok2 := p.float(items[1], where)
			d.Low, d.High = low, high
			if ok1 && ok2 && low >= high {
				p.complain(n, fmt.Sprintf("%s goes from %v to %v", where, low, high), "put the lower bound first")
			}
			if kind == Int && (low != float64(int64(low)) || high != float64(int64(high))) {
				p.complain(n, where+" has bounds that are not whole", "use whole numbers, or {float: …}")
			}
		}
	}
	p.fields(n, where, map[string]func(ast.Node){
		"int":    limits(Int),
		"float":  limits(Float),
		"values": func(n ast.Node) { d.Kind, d.Values = Categorical, p.values(n, where) },
		"scale":  func(n ast.Node) { log = p.choice(n, where+".scale", "linear", "log") == "log" },
		"step": func(n ast.Node) {
			if d.Step = p.number(n, where+".step", 1e-12, 1e12); d.Step != float64(int64(d.Step)) && d.Kind == Int {
				p.complain(n, where+".step is not whole", "an int parameter moves in whole steps")
			}
		},
		"when": func(n ast.Node) { d.When = p.when(n, where) },
	})
	d.Log = log
	switch {
	case d.Kind == "":
		p.complain(n, where+" does not say what it can be", "write {values: […]}, {int: [1, 25]} or {float: [0.001, 1]}")
	case log && d.Kind == Categorical:
		p.complain(n, where+" has a scale without a range", "remove `scale`")
	case log && d.Low <= 0:
		p.complain(n, fmt.Sprintf("%s is on a logarithmic scale from %v", where, d.Low), "the lower bound must be above zero")
	case log && d.Step > 0:
		p.complain(n, where+" has a step on a logarithmic scale", "keep one of them")
	}
}

func (p *parsing) when(n ast.Node, where string) map[string][]any {
	out := map[string][]any{}
	for _, e := range p.mapping(n, where+".when") {
		p.at["when "+where+" "+e.key] = e.at
		if _, list := p.resolve(e.value).(*ast.SequenceNode); list {
			out[e.key] = p.values(e.value, where+".when."+e.key)
		} else if v, ok := p.scalar(e.value, where+".when."+e.key); ok {
			out[e.key] = []any{v}
		}
	}
	return out
}

func (p *parsing) hypotheses(n ast.Node) {
	for _, item := range p.list(n, "hypotheses") {
		h := Hypothesis{}
		seen := p.fields(item, "a hypothesis", map[string]func(ast.Node){
			"id": func(n ast.Node) {
				if h.ID = p.text(n, "id"); !nameForm.MatchString(h.ID) {
					p.complain(n, fmt.Sprintf("the hypothesis's id is %q", shorten(h.ID)), "use up to 40 lower-case letters, digits and hyphens")
				}
			},
			"claim":   func(n ast.Node) { h.Claim = strings.TrimSpace(p.text(n, "claim")) },
			"compare": func(n ast.Node) { p.compare(n, &h) },
			"expect":  func(n ast.Node) { h.Expect = p.expect(n) },
			"metric":  func(n ast.Node) { h.Metric = p.metricName(n, "metric") },
			"by":      func(n ast.Node) { h.By = p.number(n, "by", 0, 1e300) },
		})
		for _, key := range []string{"id", "claim", "compare", "expect"} {
			if !seen[key] {
				p.complain(item, fmt.Sprintf("the key %q is missing in a hypothesis", key), "write {id: …, claim: …, compare: {a: {…}, b: {…}}, expect: a > b}")
			}
		}
		for _, other := range p.s.Hypotheses {
			if other.ID == h.ID {
				p.complain(item, fmt.Sprintf("two hypotheses have the id %q", h.ID), "rename one of them")
			}
		}
		p.s.Hypotheses = append(p.s.Hypotheses, h)
	}
}

func (p *parsing) expect(n ast.Node) string {
	switch s := strings.Join(strings.Fields(p.text(n, "expect")), " "); s {
	case Greater, "b < a":
		return Greater
	case Less, "b > a":
		return Less
	default:
		p.complain(n, fmt.Sprintf("expect is %q", shorten(s)), "write `a > b` or `a < b`")
		return Greater
	}
}

func (p *parsing) compare(n ast.Node, h *Hypothesis) {
	side := func(to *Params, what string) func(ast.Node) {
		return func(n ast.Node) {
			*to = Params{}
			for _, e := range p.mapping(n, what) {
				p.at["side "+h.ID+what+" "+e.key] = e.value
				if v, ok := p.scalar(e.value, what+"."+e.key); ok {
					(*to)[e.key] = v
					p.sideValue(e, v)
				}
			}
		}
	}
	seen := p.fields(n, "compare", map[string]func(ast.Node){
		"a": side(&h.A, "compare.a"), "b": side(&h.B, "compare.b"),
	})
	if !seen["a"] || !seen["b"] {
		p.complain(n, "compare needs both sides", "write {a: {name: value}, b: {name: value}}")
		return
	}
	if len(h.A) == 0 && len(h.B) == 0 || h.A.Key() == h.B.Key() {
		p.complain(n, "the two sides are the same", "give a parameter different values on the two sides")
	}
}

// later holds a check of a value against a parameter until all parameters
// have been read, whatever the order of the file.
type later struct {
	e entry
	v any
}

func (p *parsing) sideValue(e entry, v any) { p.pending = append(p.pending, later{e, v}) }
