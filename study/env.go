package study

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/redact"
	"ratchet/internal/yamlfile"
)

// EnvVar is a variable of the environment that programs have.
type EnvVar struct {
	Name string `json:"name"`
	// Value is nil where programs get what the environment has that attempts are
	// started from: secrets are in no study.
	Value *string `json:"value,omitempty"`
}

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseEnvVar reads NAME, a variable that programs get from the environment that
// attempts are started from, or NAME=VALUE.
func ParseEnvVar(s string) (EnvVar, error) {
	v := EnvVar{Name: s}
	if name, value, ok := strings.Cut(s, "="); ok {
		v = EnvVar{name, &value}
	}
	return v, v.check()
}

// check says what is wrong with a variable: what, a semicolon, and the remedy.
func (v EnvVar) check() error {
	switch {
	case !variableForm.MatchString(v.Name):
		return fmt.Errorf("%q is no name of a variable; use letters, digits and _", yamlfile.Shorten(v.Name))
	case strings.HasPrefix(v.Name, "RATCHET_"):
		return fmt.Errorf("%s is set by the engine; use another name", v.Name)
	case v.Name == "PATH":
		return fmt.Errorf("PATH is set by the engine; name the program's environment in program.environment, or its files by their paths")
	case v.Value != nil && redact.NamesSecret(v.Name) && len(*v.Value) >= 8:
		return fmt.Errorf("%s has its value with it, and seems to be a secret: it would stand in the journal; give its name alone, and the value in your own environment", v.Name)
	case v.Value != nil && strings.ContainsRune(*v.Value, 0):
		return fmt.Errorf("the value of %s has a zero byte; remove it", v.Name)
	}
	return nil
}

// SetEnv adds a variable to the program's, or replaces the one of that name.
func (g *Program) SetEnv(v EnvVar) {
	if i := slices.IndexFunc(g.Env, func(o EnvVar) bool { return o.Name == v.Name }); i >= 0 {
		g.Env[i] = v
		return
	}
	g.Env = append(g.Env, v)
}

// Wanted are the names of the variables that programs get from the environment that
// attempts are started from.
func (g *Program) Wanted() (out []string) {
	for _, v := range g.Env {
		if v.Value == nil {
			out = append(out, v.Name)
		}
	}
	return out
}

// env reads program.env: a list of NAME and NAME=VALUE, or a mapping.
func (p *parsing) env(n ast.Node) {
	add := func(at ast.Node, v EnvVar) {
		err := v.check()
		if err == nil && slices.ContainsFunc(p.s.Program.Env, func(o EnvVar) bool { return o.Name == v.Name }) {
			err = fmt.Errorf("%s is there twice; give it one value", v.Name)
		}
		if err != nil {
			what, remedy, _ := strings.Cut(err.Error(), "; ")
			p.Complain(at, "program.env: "+what, "%s", remedy)
			return
		}
		p.s.Program.Env = append(p.s.Program.Env, v)
	}
	if _, list := p.Resolve(n).(*ast.SequenceNode); list {
		for _, item := range p.List(n, "program.env") {
			v := EnvVar{Name: p.Text(item, "a variable")}
			if name, value, ok := strings.Cut(v.Name, "="); ok {
				v = EnvVar{name, &value}
			}
			add(item, v)
		}
		return
	}
	for _, e := range p.Mapping(n, "program.env") {
		read, ok := p.Value(e.Value, "program.env."+e.Key)
		if !ok {
			continue
		}
		v := EnvVar{Name: e.Key}
		if read != nil {
			value, err := newValue(read)
			if err != nil {
				p.Complain(e.Value, err.Error(), "write it in quotes")
				continue
			}
			text := FormatValue(value)
			v.Value = &text
		}
		add(e.At, v)
	}
}
