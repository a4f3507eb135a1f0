package study

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func (p *parsing) evaluation(n ast.Node) {
	e := &Evaluation{Limits: defaults().Limits.Attempt}
	p.s.Evaluation = e
	p.at["evaluation"] = n
	seen := p.Fields(n, "evaluation", map[string]func(ast.Node){
		"command": func(n ast.Node) { e.Command = p.Texts(n, "evaluation.command") },
		"files": func(n ast.Node) {
			for _, item := range p.List(n, "evaluation.files") {
				e.Files = append(e.Files, p.inside(item, p.Text(item, "a file"), "an evaluation's file"))
			}
		},
		"inputs": func(n ast.Node) { e.Inputs = p.inputs(n, "evaluation.inputs") },
		"limits": func(n ast.Node) { p.attemptLimits(n, "evaluation.limits", &e.Limits) },
		"null":   func(n ast.Node) { e.Null = p.Texts(n, "evaluation.null") },
	})
	if len(e.Command) == 0 || e.Command[0] == "" {
		p.Complain(n, "the evaluation has no command", "add `command: [python3, evaluate.py]`")
	}
	if seen["null"] && (len(e.Null) == 0 || e.Null[0] == "") {
		p.Complain(n, "evaluation.null is empty", "give a command, or remove it")
	}
}

// checkEvaluation complains about an evaluation that the program would see, or
// that could not be the only measure.
func (p *parsing) checkEvaluation(seen map[string]bool) {
	e := p.s.Evaluation
	if e == nil {
		return
	}
	at := p.at["evaluation"]
	if !seen["objective"] && !seen["objectives"] {
		p.Complain(at, "there is an evaluation, and no objective", "add `objective: {metric: accuracy, goal: maximize}`, of a metric that the evaluation reports")
	}
	if p.s.Search.Stops() != "" {
		p.Complain(at, "trials are stopped by what the program itself reports", "remove search.stop, or choose another method than halving, or remove the evaluation")
	}
	for _, file := range e.Files {
		for _, f := range p.s.Program.Files {
			if within(file, f) {
				p.Complain(p.at["file "+file], fmt.Sprintf("the evaluation's file %q is among the program's files, as %q", file, f), "take it out of there: a program that reads how it is measured measures nothing")
			}
		}
	}
	for _, in := range e.Inputs {
		place := p.at["input "+in.Path]
		for _, f := range p.s.Program.Files {
			if in.Source != "" && !filepath.IsAbs(in.Source) && within(filepath.Clean(in.Source), f) {
				p.Complain(place, fmt.Sprintf("the evaluation's input %q is among the program's files, as %q", in.Source, f), "take it out of there: the program would see what it is measured by")
			}
		}
		for _, of := range p.s.Program.Inputs {
			if in.Source != "" && of.Source != "" && within(Resolve("", in.Source), Resolve("", of.Source)) {
				p.Complain(place, fmt.Sprintf("the evaluation's input %q is in the program's input %q", in.Source, of.Source), "give the program other files: it would see what it is measured by")
			}
		}
	}
}

// within reports whether a path is another, or below it.
func within(path, folder string) bool {
	path, folder = filepath.Clean(path), filepath.Clean(folder)
	return folder == "." && filepath.IsLocal(path) || path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
}
