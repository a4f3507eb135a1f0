package study

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/configfile"
	"ratchet/internal/untrusted"
	"ratchet/internal/yamlfile"
)

// Written is a file of the working folder that is made for each trial.
type Written struct {
	Path string `json:"path"` // where the program finds it
	From string `json:"from"` // a file of the program
}

// Render is a file of program.render: template, with the values of a trial in the
// places of its names. path is its name in the working folder.
func Render(path string, template []byte, p Params, seed int64) ([]byte, error) {
	t, err := configfile.Parse(configfile.FormatOf(path), template, nil)
	if err != nil {
		return nil, err
	}
	return t.Fill(func(name string) *configfile.Value { return valueIn(name, p, seed) })
}

// Configure is a file of program.config: base, with the values of a trial in the
// places of those of the keys that parameters name, and the seed in the place of
// each value "{seed}". path is its name in the working folder.
func Configure(path string, base []byte, p Params, seed int64) ([]byte, error) {
	b, err := configfile.ParseBase(configfile.FormatOf(path), base)
	if err != nil {
		return nil, err
	}
	laid := map[string]configfile.Value{}
	for _, key := range b.With("{seed}") {
		laid[key] = *valueIn("seed", p, seed)
	}
	for name := range p {
		if b.Has(name) {
			laid[name] = *valueIn(name, p, seed)
		}
	}
	return b.Lay(laid)
}

// valueIn is a parameter's value, or the seed, for a file; nil: it has none.
func valueIn(name string, p Params, seed int64) *configfile.Value {
	if name == "seed" {
		text := fmt.Sprint(seed)
		return &configfile.Value{JSON: text, Text: text}
	}
	v, ok := p[name]
	if !ok {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // values always encode
	return &configfile.Value{JSON: b.String(), Text: FormatValue(v)}
}

// written reads program.render or program.config.
func (p *parsing) written(n ast.Node, where string) (out []Written) {
	for _, e := range p.Mapping(n, where) {
		w := Written{Path: p.inside(e.At, e.Key, "a file's place"), From: p.inside(e.Value, p.Text(e.Value, "a file"), "a program's file")}
		p.at["written "+w.Path] = e.At
		out = append(out, w)
	}
	return out
}

// checkWritten complains about two files in one place.
func (p *parsing) checkWritten() {
	g := &p.s.Program
	all := slices.Concat(g.Render, g.Config)
	for i, w := range all {
		at := p.at["written "+w.Path]
		if slices.ContainsFunc(all[:i], func(o Written) bool { return o.Path == w.Path }) {
			p.Complain(at, fmt.Sprintf("%q is written twice", w.Path), "give each file one place")
		}
		if g.HasInput(w.Path) {
			p.Complain(at, fmt.Sprintf("%q is in an input, which nothing is written to", w.Path), "give it another place")
		}
		if !slices.ContainsFunc(g.Files, func(f string) bool { return within(w.From, f) }) {
			g.Files = append(g.Files, w.From)
		}
	}
}

// checkWrittenOnDisk complains about templates and files that cannot be filled or
// changed with the values that parameters can have, and, where a file is configured by
// its keys, about parameters that reach no file and no argument.
func (p *parsing) checkWrittenOnDisk(dir string) {
	g := p.s.Program
	if len(g.Render)+len(g.Config) == 0 {
		return
	}
	folder, err := untrusted.Open(dir)
	if err != nil {
		return // complained about already
	}
	defer folder.Close()
	before, reached := len(p.Problems), map[string]bool{}
	var keys []string
	for _, w := range g.Render {
		p.checkOne(folder, w, func(content []byte) error {
			t, err := configfile.Parse(configfile.FormatOf(w.Path), content, append(names(p.s.Parameters), "seed"))
			if err != nil {
				return err
			}
			for _, name := range t.Names() {
				reached[name] = true
			}
			for _, values := range p.samples() {
				if _, err := t.Fill(func(name string) *configfile.Value { return valueIn(name, values, 1) }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, w := range g.Config {
		p.checkOne(folder, w, func(content []byte) error {
			b, err := configfile.ParseBase(configfile.FormatOf(w.Path), content)
			if err != nil {
				return err
			}
			keys = append(keys, b.Keys()...)
			for _, d := range p.s.Parameters {
				reached[d.Name] = reached[d.Name] || b.Has(d.Name)
			}
			for _, values := range p.samples() {
				if _, err := Configure(w.Path, content, values, 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if len(g.Config) == 0 || len(p.Problems) > before {
		return
	}
	for _, arg := range g.Command {
		_, _ = Expand(arg, func(name string) (string, bool) { reached[name] = true; return "", true })
	}
	for _, d := range p.s.Parameters {
		if reached[d.Name] {
			continue
		}
		remedy := fmt.Sprintf("add the key to %s, or take {%s} into the command", g.Config[0].From, d.Name)
		if near := yamlfile.Nearest(d.Name, keys); near != "" {
			remedy = fmt.Sprintf("did you mean %q? Else %s", near, remedy)
		}
		p.Complain(p.at["parameter "+d.Name], fmt.Sprintf("the parameter %q is no key of %s, and the command does not have it: it would change nothing", d.Name, g.Config[0].From), "%s", remedy)
	}
}

// checkOne reads a file that another is written from, and complains about what check
// finds, at its place there.
func (p *parsing) checkOne(folder *untrusted.Folder, w Written, check func(content []byte) error) {
	if !filepath.IsLocal(w.From) {
		return // complained about already
	}
	f, info, err := folder.Follow(w.From)
	if err != nil {
		return // checkFilesOnDisk has said so
	}
	defer f.Close()
	at := p.at["written "+w.Path]
	if info.Size > configfile.MaxSize {
		p.Complain(at, fmt.Sprintf("the file %q has %s", w.From, Bytes(info.Size)), "at most %s are read", Bytes(configfile.MaxSize))
		return
	}
	content, err := io.ReadAll(io.LimitReader(f, configfile.MaxSize+1))
	if err == nil {
		err = check(content)
	}
	var m *configfile.Mistake
	switch {
	case errors.As(err, &m):
		p.Problems = append(p.Problems, Problem{File: filepath.Join(filepath.Dir(p.File), w.From), Line: m.Line, Column: m.Column, What: m.What, Remedy: m.Remedy})
	case err != nil:
		what, remedy, ok := strings.Cut(err.Error(), "; ")
		if !ok {
			remedy = "correct the file or the parameters"
		}
		p.Complain(at, fmt.Sprintf("%s cannot be written from %s: %s", w.Path, w.From, what), "%s", remedy)
	}
}

// mostSamples bounds how many values of a parameter are tried in a file.
const mostSamples = 50

// samples are configurations in which each parameter has each of the values, as far
// as they can be told apart in a file: the others are as in the first one. In the last
// one those that depend on others do not exist.
func (p *parsing) samples() []Params {
	first, last := Params{}, Params{}
	for _, d := range p.s.Parameters {
		first[d.Name] = d.samples()[0]
		if len(d.When) == 0 {
			last[d.Name] = first[d.Name]
		}
	}
	out := []Params{first}
	for _, d := range p.s.Parameters {
		for _, v := range d.samples()[1:] {
			next := Params{}
			for name, other := range first {
				next[name] = other
			}
			next[d.Name] = v
			out = append(out, next)
		}
	}
	return append(out, last)
}

// samples are values of a parameter: some of each form in which they are written.
func (d Parameter) samples() []any {
	switch {
	case d.Kind == Categorical && len(d.Values) > 0:
		return d.Values[:min(len(d.Values), mostSamples)]
	case d.Kind == Int:
		return []any{d.Low, d.High}
	}
	return []any{d.Low, d.High, d.Low + (d.High-d.Low)/3}
}
