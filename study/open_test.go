package study_test

import (
	"errors"
	"strings"
	"testing"

	"ratchet/study"
)

const open = `version: 1
name: open
program: {command: [python3, train.py], files: [train.py, lib, "*.toml"], editable: [train.py, lib/model.py]}
objective: {metric: loss, goal: minimize}
parameters: {lr: {float: [0.001, 1], scale: log}}
search: {method: open}
keep: {seeds: 8, by: 0.001, alpha: 0.05}
`

func TestOpen(t *testing.T) {
	s, err := study.Parse("study.yaml", []byte(open))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Open() || *s.Keep != (study.Keep{Seeds: 8, By: 0.001, Alpha: 0.05}) || s.Search.Experiments != 200 {
		t.Errorf("got %+v, %+v", s.Keep, s.Search)
	}
	for file, may := range map[string]bool{"train.py": true, "lib/model.py": true, "lib/data.py": false, "train.pyc": false, "a.toml": false} {
		if s.Program.Edits(file) != may {
			t.Errorf("%s may be changed: %v", file, !may)
		}
	}
	least, err := study.Parse("study.yaml", []byte(strings.ReplaceAll(open, "keep: {seeds: 8, by: 0.001, alpha: 0.05}\n", "")))
	if err != nil || *least.Keep != (study.Keep{Seeds: 12, Alpha: 0.1}) {
		t.Errorf("by default it is %+v, %v", least.Keep, err)
	}
}

func TestMistakesOfOpen(t *testing.T) {
	const head = "version: 1\nname: least\nobjective: {metric: m, goal: minimize}\n"
	const program = "program: {command: [./x], files: [x], editable: [x]}\n"
	const method = "search: {method: open}\n"
	for _, c := range []struct{ name, text, says string }{
		{"a rule of none", "program: {command: [./x]}\nkeep: {seeds: 3}", "5:7: keep is the rule of an open run; set search.method to open, or remove it"},
		{"editable of none", program, "program.editable is what proposals to an open run may change"},
		{"nothing to change", "program: {command: [./x]}\n" + method, "there is nothing that a proposal could change"},
		{"not a file", "program: {command: [./x], files: [x], editable: [y]}\n" + method, `program.editable has "y", and program.files does not`},
		{"its own hypotheses", program + method + "parameters: {a: [x, y]}\nhypotheses: [{id: h, claim: c, compare: {a: {a: x}, b: {a: y}}, expect: a > b}]", "the hypotheses of an open run come with its proposals"},
		{"seeds of a search", program + "search: {method: open, seeds: 3}", "search.seeds has no meaning in an open run"},
		{"stopping", program + "search: {method: open, stop: median}", "an open run searches for nothing itself"},
		{"a build", "program: {command: [./x], files: [x], editable: [x], build: [make]}\n" + method, "a program that is built cannot be edited"},
		{"one seed", program + method + "keep: {seeds: 1}", "keep.seeds is 1"},
		{"a place outside", "program: {command: [./x], files: [x], editable: [../x]}\n" + method, "which leaves its folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := study.Parse("study.yaml", []byte(head+c.text+"\n"))
			var problems study.Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("it says\n%v\nand not %q", err, c.says)
			}
			checkForm(t, problems)
		})
	}
}
