package study

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

// check looks at the study as a whole: what its parts say of each other.
func (p *parsing) check(top ast.Node, seen map[string]bool) {
	p.checkWhen()
	p.checkSides()
	p.checkOnResource()
	p.checkCommand(top)
	p.checkFiles()
	p.checkWritten()
	p.checkEvaluation(seen)
	p.checkObjectives(seen)
	p.checkOpen()
	if !seen["gates"] {
		p.s.Gates = []Gate{DefaultGate}
	}
	s := p.s
	if at, ok := p.at["search"]; ok && s.Search.Method == Grid {
		for _, d := range s.Parameters {
			if d.Size() == 0 {
				p.Complain(at, fmt.Sprintf("a grid over %q has no end", d.Name), "give it a step, list its values, or choose another search method")
			}
		}
	}
}

func (p *parsing) checkWhen() {
	s := p.s
	for _, d := range s.Parameters {
		for _, on := range sortedKeys(d.When) {
			at := p.at["when parameters."+d.Name+" "+on]
			other, known := s.Parameter(on)
			switch {
			case !known:
				p.unknownParameter(at, on, fmt.Sprintf("%q depends on %q, which is not a parameter", d.Name, on))
			case on == d.Name || len(other.When) > 0 && p.reaches(on, d.Name, 0):
				p.Complain(at, fmt.Sprintf("%q depends on itself", d.Name), "let it depend on another parameter")
			default:
				for _, v := range d.When[on] {
					if !other.Allows(v) {
						p.Complain(at, fmt.Sprintf("%q is never %s", on, FormatValue(v)), "%s", allowed(other))
					}
				}
			}
		}
	}
	p.s.Parameters = dependencyOrder(p.s.Parameters)
}

func (p *parsing) reaches(from, to string, depth int) bool {
	d, _ := p.s.Parameter(from)
	for on := range d.When {
		if on == to || depth < len(p.s.Parameters) && p.reaches(on, to, depth+1) {
			return true
		}
	}
	return false
}

// dependencyOrder puts every parameter behind those that it depends on and
// leaves the file's order otherwise.
func dependencyOrder(in []Parameter) []Parameter {
	var out []Parameter
	placed := func(name string) bool {
		return slices.ContainsFunc(out, func(d Parameter) bool { return d.Name == name })
	}
	for len(out) < len(in) {
		before := len(out)
		for _, d := range in {
			ready := !placed(d.Name)
			for on := range d.When {
				ready = ready && placed(on)
			}
			if ready {
				out = append(out, d)
			}
		}
		if len(out) == before {
			return in // a cycle, or an unknown name: complained about already
		}
	}
	return out
}

func (p *parsing) checkSides() {
	for _, l := range p.pending {
		d, known := p.s.Parameter(l.e.Key)
		if !known {
			p.unknownParameter(l.e.At, l.e.Key, fmt.Sprintf("%s %q, which is not a parameter", l.what, l.e.Key))
		} else if !d.Allows(l.v) {
			p.Complain(l.e.Value, fmt.Sprintf("%q is never %s", d.Name, FormatValue(l.v)), "%s", allowed(d))
		}
	}
	for _, h := range p.s.Hypotheses {
		for what, side := range map[string]Params{"compare.a": h.A, "compare.b": h.B} {
			p.checkExist(side, "side "+h.ID+what+" ", "remove it from this side")
		}
	}
	for i, start := range p.s.Search.Start {
		p.checkExist(start, fmt.Sprintf("search.start[%d] ", i), "remove it from this configuration")
	}
}

// checkExist complains about parameters that do not exist beside the others. at is how the
// places of their values begin.
func (p *parsing) checkExist(side Params, at, remedy string) {
	for name := range side {
		d, _ := p.s.Parameter(name)
		for on, values := range d.When {
			if v, fixed := side[on]; fixed && !slices.Contains(values, v) {
				p.Complain(p.at[at+name], fmt.Sprintf("%q does not exist where %s is %s", name, on, FormatValue(v)), "%s", remedy)
			}
		}
	}
}

func (p *parsing) unknownParameter(at ast.Node, name, what string) {
	known := names(p.s.Parameters)
	remedy := "this study has none: declare it under `parameters`"
	if len(known) > 0 {
		remedy = "the parameters are " + strings.Join(known, ", ")
	}
	if near := yamlfile.Nearest(name, known); near != "" {
		remedy = fmt.Sprintf("did you mean %q? %s", near, remedy)
	}
	p.Complain(at, what, "%s", remedy)
}

func names(of []Parameter) (out []string) {
	for _, d := range of {
		out = append(out, d.Name)
	}
	return out
}

func allowed(d Parameter) string {
	if d.Kind != Categorical {
		return fmt.Sprintf("it is a number from %s to %s", FormatValue(d.Low), FormatValue(d.High))
	}
	var words []string
	for _, v := range d.Values {
		words = append(words, FormatValue(v))
	}
	return "its values are " + strings.Join(words, ", ")
}

func (p *parsing) checkCommand(top ast.Node) {
	at := p.at["command"]
	if at == nil {
		at = top
	}
	for _, arg := range p.s.Program.Command {
		_, err := Expand(arg, func(name string) (string, bool) {
			_, known := p.s.Parameter(name)
			return "", known || name == "seed"
		})
		if err != nil {
			what, remedy, _ := strings.Cut(err.Error(), "; ")
			p.Complain(at, what, "%s", remedy)
		}
	}
}

func (p *parsing) checkFiles() {
	places := map[string]string{}
	for _, f := range p.s.Program.Files {
		places[f] = "program.files"
	}
	for _, in := range p.s.Program.Inputs {
		if other, taken := places[in.Path]; taken {
			p.Complain(p.at["input "+in.Path], fmt.Sprintf("%q is under %s already", in.Path, other), "give each file one place")
		}
	}
}

// Locate is where the input is on this machine.
func (in Input) Locate(dir string) string { return Resolve(dir, in.Source) }

// Resolve makes a path of the study absolute; dir is the study file's folder.
func Resolve(dir, path string) string {
	if rest, home := strings.CutPrefix(path, "~/"); home {
		if h, err := os.UserHomeDir(); err == nil {
			return filepath.Join(h, rest)
		}
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
