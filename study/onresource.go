package study

import (
	"fmt"
	"math"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

// OnResource is what another attempt changes after one that ran out of
// memory, disk or the like: parameters become smaller, or limits wider.
type OnResource struct {
	// Parameters are expressions over the parameters' values, as in
	// `batch_size: batch_size / 2`. Each such attempt applies them once more.
	Parameters map[string]string `json:"parameters,omitempty"`
	Memory     Bytes             `json:"memory,omitempty"`    // 0: as before
	Disk       Bytes             `json:"disk,omitempty"`      // 0: as before
	Processes  int               `json:"processes,omitempty"` // 0: as before
}

// Widen gives limits with what differs after running out.
func (o *OnResource) Widen(l AttemptLimits) AttemptLimits {
	if o.Memory > 0 {
		l.Memory = o.Memory
	}
	if o.Disk > 0 {
		l.Disk = o.Disk
	}
	if o.Processes > 0 {
		l.Processes = o.Processes
	}
	return l
}

// Lessen applies on_resource.parameters to a configuration so many times.
// Whole-numbered parameters are rounded down. It reports false where that
// changes nothing any more or gives a value that a parameter cannot have.
func (s *Study) Lessen(p Params, times int) (Params, bool) {
	now := p
	for range times {
		next := Params{}
		for name, v := range now {
			next[name] = v
		}
		changed := false
		for _, name := range sortedKeys(s.OnResource.Parameters) {
			d, known := s.Parameter(name)
			if _, there := now[name]; !known || !there {
				continue // it does not exist under this configuration
			}
			v, err := evaluate(s.OnResource.Parameters[name], now)
			if err != nil {
				return nil, false
			}
			if x, number := v.(float64); number && d.Kind == Int {
				v = math.Floor(x)
			}
			if !d.Allows(v) {
				return nil, false
			}
			changed = changed || v != now[name]
			next[name] = v
		}
		if !changed {
			return nil, false
		}
		now = next
	}
	return now, true
}

func evaluate(text string, p Params) (any, error) {
	program, err := compileLess(text, p)
	if err != nil {
		return nil, err
	}
	v, err := expr.Run(program, variables(p))
	if err != nil {
		return nil, firstLine(err)
	}
	switch n := v.(type) {
	case int:
		return float64(n), nil
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("%q gives %v", text, n)
		}
	}
	return v, nil
}

// variables are the parameters as an expression has them: by their names, and those
// with dots in their names also as members, as in optimizer.lr / 2.
func variables(p Params) map[string]any {
	out := map[string]any{}
	for _, name := range sortedKeys(p) {
		parts := strings.Split(name, ".")
		at := out
		for _, part := range parts[:len(parts)-1] {
			below, ok := at[part].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[part] = below
			}
			at = below
		}
		at[parts[len(parts)-1]], out[name] = p[name], p[name]
	}
	return out
}

func compileLess(text string, p Params) (*vm.Program, error) {
	program, err := expr.Compile(text, expr.Env(variables(p)))
	if err != nil {
		return nil, firstLine(err)
	}
	return program, nil
}

func (p *parsing) onResource(n ast.Node) {
	o := &OnResource{}
	p.s.OnResource = o
	amount := func(to *Bytes, what string) func(ast.Node) {
		return func(n ast.Node) { *to = yamlfile.Unit(&p.Reader, n, what, ParseBytes) }
	}
	seen := p.Fields(n, "on_resource", map[string]func(ast.Node){
		"parameters": func(n ast.Node) {
			o.Parameters = map[string]string{}
			for _, e := range p.Mapping(n, "on_resource.parameters") {
				o.Parameters[e.Key] = strings.TrimSpace(p.Text(e.Value, "on_resource.parameters."+e.Key))
				p.at["on_resource "+e.Key] = e.Value
			}
		},
		"memory":    amount(&o.Memory, "on_resource.memory"),
		"disk":      amount(&o.Disk, "on_resource.disk"),
		"processes": func(n ast.Node) { o.Processes = p.Whole(n, "on_resource.processes", 1, 1<<20) },
	})
	if len(seen) == 0 {
		p.Complain(n, "on_resource changes nothing", "write {parameters: {batch_size: batch_size / 2}} or {memory: 8GiB}")
	}
}

// checkOnResource tries the expressions on values that the parameters can have.
func (p *parsing) checkOnResource() {
	o := p.s.OnResource
	if o == nil {
		return
	}
	some := Params{}
	for _, d := range p.s.Parameters {
		if some[d.Name] = d.High; d.Kind == Categorical && len(d.Values) > 0 {
			some[d.Name] = d.Values[0]
		}
	}
	for _, name := range sortedKeys(o.Parameters) {
		at := p.at["on_resource "+name]
		d, known := p.s.Parameter(name)
		if !known {
			p.unknownParameter(at, name, fmt.Sprintf("on_resource changes %q, which is not a parameter", name))
			continue
		}
		v, err := evaluate(o.Parameters[name], some)
		if err != nil {
			p.Complain(at, fmt.Sprintf("on_resource.parameters.%s cannot be computed: %v", name, err), "write an expression over the parameters, like %s / 2", name)
			continue
		}
		if x, number := v.(float64); number != (d.Kind != Categorical) && d.Kind != Categorical {
			p.Complain(at, fmt.Sprintf("on_resource.parameters.%s gives no number", name), "write an expression over the parameters, like %s / 2", name)
		} else if number && d.Kind != Categorical && x > d.High {
			p.Complain(at, fmt.Sprintf("on_resource.parameters.%s gives %v, more than %s can be", name, x, name), "make it smaller, like %s / 2", name)
		}
	}
	a := p.s.Limits.Attempt
	for _, w := range []struct {
		name   string
		wider  bool
		is, to fmt.Stringer
	}{{"memory", o.Memory == 0 || o.Memory > a.Memory, a.Memory, o.Memory}, {"disk", o.Disk == 0 || o.Disk > a.Disk, a.Disk, o.Disk}} {
		if !w.wider {
			p.Complain(p.at["on_resource"], fmt.Sprintf("on_resource.%s is %s, and limits.attempt.%s is %s already", w.name, w.to, w.name, w.is), "give more, or remove it")
		}
	}
}
