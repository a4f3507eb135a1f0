package study_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ratchet/study"
)

const weighed = `version: 1
name: weighed
program: {command: [./x]}
objectives:
  - {metric: error, goal: minimize, use: best}
  - {metric: recall, goal: maximize}
constraints:
  - {metric: latency_ms, at_most: 50}
  - {metric: size, at_least: -1, at_most: 2000000000}
parameters: {a: {float: [0, 1]}}
`

func TestObjectives(t *testing.T) {
	s, err := study.Parse("study.yaml", []byte(weighed))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"error", "recall", "latency_ms", "size"}; !cmp.Equal(s.Needed(), want) || s.Objective.Metric != "error" || len(s.Goals()) != 2 || s.Validation.Front != 8 {
		t.Errorf("got %+v, needed %v", s, s.Needed())
	}
	if s.UseOf("error") != "best" || s.UseOf("recall") != "last" || s.GoalOf("recall").Goal != study.Maximize || s.GoalOf("other").Metric != "error" {
		t.Errorf("the objectives are %+v", s.Objectives)
	}
	size := s.Constraints[1]
	if size.Excess(3e9) != 1e9 || size.Excess(-3) != 2 || size.Excess(0) != 0 || size.String() != "-1 ≤ size ≤ 2e+09" {
		t.Errorf("%v: %v, %v, %v", size, size.Excess(3e9), size.Excess(-3), size.Excess(0))
	}
	one, err := study.Parse("study.yaml", []byte("version: 1\nname: one\nprogram: {command: [./x]}\nobjectives: [{metric: m, goal: minimize}]\n"))
	if err != nil || one.Objective.Metric != "m" || one.Objectives != nil || one.Weighs() || one.Validation.Front != 0 {
		t.Errorf("a list of one is %+v, %v", one, err)
	}
}

func TestMistakesOfObjectives(t *testing.T) {
	const head = "version: 1\nname: least\nprogram: {command: [./x]}\n"
	const one, two = "objective: {metric: m, goal: minimize}\n", "objectives: [{metric: m, goal: minimize}, {metric: n, goal: minimize}]\n"
	for _, c := range []struct{ name, text, says string }{
		{"both keys", one + two, "5:13: the study has both objective and objectives; list all of them under objectives"},
		{"none", "objectives: []", "objectives is empty"},
		{"twice", "objectives: [{metric: m, goal: minimize}, {metric: m, goal: maximize}]", "4:43: m is an objective twice"},
		{"too many", "objectives: [{metric: a, goal: minimize}, {metric: b, goal: minimize}, {metric: c, goal: minimize}, {metric: d, goal: minimize}, {metric: e, goal: minimize}]", "there are 5 objectives; keep at most 4"},
		{"half of one", "objectives: [{metric: m, goal: minimize}, {metric: n}]", "4:43: the objective is not whole"},
		{"another word", "objectives: [{metric: m, goal: lower}]", `goal is "lower"`},
		{"without an objective", "constraints: [{metric: m, at_most: 1}]", `the key "objective" is missing`},
		{"without a bound", one + "constraints: [{metric: n}]", "5:15: the constraint is not whole"},
		{"impossible", one + "constraints: [{metric: n, at_most: 1, at_least: 2}]", "5:15: n is to be at least 2 and at most 1"},
		{"two of a metric", one + "constraints: [{metric: n, at_most: 1}, {metric: n, at_least: 0}]", "n has two constraints; write one with at_least and at_most"},
		{"a method for one", two + "search: {method: tpe}", "5:9: tpe goes by one metric, and the study has several objectives; set method to auto, gp or nsga"},
		{"a method for one without constraints", one + "constraints: [{metric: n, at_most: 1}]\nsearch: {method: cma}", "cma goes by one metric, and the study has constraints"},
		{"a method for several", one + "search: {method: nsga}", "nsga weighs several objectives, and there is one"},
		{"stopping", two + "search: {stop: median}", "trials are stopped by one metric"},
		{"learning", two + "search: {learn_from: [old]}", "earlier results are learned of one metric"},
		{"a front of one", one + "validation: {front: 3}", "validation.front says how much of a Pareto front is validated, and there is one objective"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := study.Parse("study.yaml", []byte(head+c.text+"\n"))
			var problems study.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says\n%v\nand not %q", err, c.says)
			}
			checkForm(t, problems)
		})
	}
}
