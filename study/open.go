package study

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Keep is the rule by which an open run keeps an experiment: it must beat the best so far, on
// the same seeds.
type Keep struct {
	Seeds int     `json:"seeds"`        // of each of the two, at most
	By    float64 `json:"by,omitempty"` // the least gain that counts, in the objective's units
	Alpha float64 `json:"alpha"`        // the chance to keep one that is no better, at most
}

// Open reports whether the study's run waits for proposals from outside.
func (s *Study) Open() bool { return s.Search.Method == Open }

// Edits reports whether proposals may change a file of the program.
func (p Program) Edits(file string) bool {
	return slices.ContainsFunc(p.Editable, func(e string) bool { return covers(e, file) })
}

// covers reports whether a name of files, a folder or a pattern has a file.
func covers(name, file string) bool {
	if name == "." || name == file || strings.HasPrefix(file, name+"/") {
		return true
	}
	matches, err := path.Match(name, file)
	return err == nil && matches
}

// Of an open run, where the study leaves them open.
const (
	openExperiments = 200
	keepSeeds       = 12
	keepAlpha       = 0.1
)

func (p *parsing) keep(n ast.Node) {
	p.at["keep"] = n
	k := &Keep{}
	p.s.Keep = k
	p.Fields(n, "keep", map[string]func(ast.Node){
		"seeds": func(n ast.Node) { k.Seeds = p.Whole(n, "keep.seeds", 2, 1000) },
		"by":    func(n ast.Node) { k.By = p.Number(n, "keep.by", 0, 1e300) },
		"alpha": func(n ast.Node) { k.Alpha = p.Number(n, "keep.alpha", 0.0001, 0.5) },
	})
}

// checkOpen looks at what an open run needs, and what it cannot have.
func (p *parsing) checkOpen() {
	s := p.s
	if !s.Open() {
		const remedy = "set search.method to open, or remove it"
		if at, ok := p.at["keep"]; ok {
			p.Complain(at, "keep is the rule of an open run", remedy)
		}
		if at, ok := p.at["editable"]; ok {
			p.Complain(at, "program.editable is what proposals to an open run may change", remedy)
		}
		return
	}
	if s.Keep == nil {
		s.Keep = &Keep{}
	}
	if s.Keep.Seeds == 0 {
		s.Keep.Seeds = keepSeeds
	}
	if s.Keep.Alpha == 0 {
		s.Keep.Alpha = keepAlpha
	}
	if !s.asked["search.experiments"] {
		s.Search.Experiments = openExperiments
	}
	at := p.at["search"]
	for _, c := range []struct {
		is         bool
		at         ast.Node
		what, then string
	}{
		{s.Several(), p.at["objectives"], "proposals are kept by one objective, and the study has several", "keep one, and make the others constraints"},
		{len(s.Hypotheses) > 0, p.at["hypotheses"], "the hypotheses of an open run come with its proposals", "remove them, or choose another search method"},
		{s.Search.Stop != "" || s.Search.Enough != 0 || len(s.Search.LearnFrom) > 0, at, "an open run searches for nothing itself", "remove stop, enough and learn_from"},
		{s.asked["search.seeds"], at, "search.seeds has no meaning in an open run", "say under keep with how many seeds a proposal is compared"},
		{len(s.Program.Build) > 0 && len(s.Program.Editable) > 0, p.at["build"], "a program that is built cannot be edited by proposals in this release", "let the command build what it needs, or remove editable"},
		{len(s.Program.Editable) == 0 && len(s.Parameters) == 0, at, "there is nothing that a proposal could change", "name files under program.editable, or declare parameters"},
	} {
		if c.is {
			p.Complain(c.at, c.what, "%s", c.then)
		}
	}
	for _, e := range s.Program.Editable {
		if !slices.ContainsFunc(s.Program.Files, func(f string) bool { return covers(f, e) || covers(e, f) }) {
			p.Complain(p.at["editable"], fmt.Sprintf("program.editable has %q, and program.files does not", e), "add it to program.files")
		}
	}
}
