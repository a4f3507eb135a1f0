package research

import (
	"fmt"
	"strings"
	"testing"

	"ratchet/study"
)

// failing is a run of which so many configurations have failed, each in its way.
func failing(n int, how func(i int) Attempt) *State {
	s := New()
	s.Created = RunCreated{Study: &study.Study{
		Objective: study.Objective{Metric: "score", Goal: study.Maximize},
		Metrics:   map[string]study.Extract{"score": {Stdout: `score=(\d+)`}},
	}}
	for i := range n {
		a := how(i)
		t := &Trial{ID: fmt.Sprint("t", i), Outcome: a.Class, Attempts: []Attempt{a}}
		s.Experiments = append(s.Experiments, &Experiment{Trials: []*Trial{t}})
		if s.Tally.Trials++; a.Class == Succeeded {
			s.Tally.Succeeded++
		} else {
			s.Tally.Failed++
		}
	}
	return s
}

// TestDoubt: a run pauses once where its first configurations fail alike, and in no
// other case.
func TestDoubt(t *testing.T) {
	alike := func(i int) Attempt {
		return Attempt{Class: InvalidOutput, Message: fmt.Sprintf("it reported no value of the objective, score (%d)", i), Words: "Score is 1\nbye"}
	}
	why := failing(3, alike).doubt()
	for _, want := range []string{"first 3 configurations", "it reported no value", `metrics.score.stdout, score=(\d+), matched nothing`, "Score is 1 / bye", "ratchet resume"} {
		if !strings.Contains(why, want) {
			t.Errorf("no %q in %q", want, why)
		}
	}
	other := func(change func(i int, a *Attempt)) func(int) Attempt {
		return func(i int) Attempt {
			a := alike(i)
			change(i, &a)
			return a
		}
	}
	for name, s := range map[string]*State{
		"two":                 failing(2, alike),
		"one that succeeded":  failing(4, other(func(i int, a *Attempt) { a.Class = map[bool]Class{true: Succeeded, false: a.Class}[i == 2] })),
		"another message":     failing(3, other(func(i int, a *Attempt) { a.Message = strings.Repeat("x", i+1) })),
		"another class":       failing(3, other(func(i int, a *Attempt) { a.Class = []Class{InvalidOutput, ProgramFault, InvalidOutput}[i] })),
		"what may go away":    failing(3, other(func(_ int, a *Attempt) { a.Class = Resource })),
		"one that was a time": failing(3, other(func(i int, a *Attempt) { a.Class = map[bool]Class{true: Timeout, false: a.Class}[i == 0] })),
	} {
		if why := s.doubt(); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
	again := failing(5, alike)
	again.Doubted = true
	if why := again.doubt(); why != "" {
		t.Errorf("it pauses again: %s", why)
	}
}
