package view

import (
	"cmp"
	"context"

	"ratchet/internal/engine"
	"ratchet/internal/patch"
)

// Answer is what became of a proposal: `ratchet tell --json`.
type Answer struct {
	Experiment string `json:"experiment"`
	Again      bool   `json:"again,omitempty"` // it was proposed before
	Verdict    string `json:"verdict"`         // kept, reverted, failed or pending
	// Value is the mean of the objective over the seeds that it was measured with.
	Value *float64 `json:"value"`
	Best  string   `json:"best"` // the best so far
	// Difference is by how much it is better than what it was compared with, Against, over
	// the seeds that both have, and Interval that of it.
	Difference *float64    `json:"difference"`
	Interval   *[2]float64 `json:"interval"`
	Against    string      `json:"against,omitempty"`
	N          int         `json:"n"`
	Why        string      `json:"why"`
	Class      string      `json:"class,omitempty"`      // of a failure
	Words      string      `json:"last_words,omitempty"` // of one that failed
	// Evidence are the manifests of what its attempts left, by trial.
	Evidence map[string]string `json:"evidence"`
	Status   string            `json:"run_status"`
}

// AnswerOf is what became of a proposal so far.
func AnswerOf(ctx context.Context, e *engine.Engine, run, experiment string) (Answer, error) {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return Answer{}, err
	}
	x := s.Experiment(experiment)
	if x == nil {
		return Answer{}, &engine.ProposalError{What: "there is no experiment " + experiment, Remedy: "`ratchet show` lists them"}
	}
	t := tried(s, x)
	a := Answer{
		Experiment: experiment, Verdict: t.Verdict, Value: x.Value, Difference: t.Gain, Interval: t.Interval, Against: t.Against, N: t.N,
		Why: cmp.Or(t.Because, "it is being measured"), Words: t.Words, Evidence: map[string]string{}, Status: string(s.Status),
	}
	if best := s.Standing(); best != nil {
		a.Best = best.Experiment
	}
	for _, trial := range x.Trials {
		last := trial.Last()
		if last == nil {
			continue
		}
		if trial.Retriable() && a.Class == "" {
			a.Class = string(trial.Outcome)
		}
		if last.Evidence != "" {
			a.Evidence[trial.ID] = last.Evidence
		}
	}
	return a, nil
}

// PatchOf is what the code of an experiment changes in that of another, by default the start's.
func PatchOf(ctx context.Context, e *engine.Engine, run, experiment, against string) (string, error) {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return "", err
	}
	code := [2]string{}
	for i, id := range []string{against, experiment} {
		x := s.Experiment(id)
		switch {
		case id == "":
			code[i] = s.Snapshot
		case x == nil:
			return "", &engine.ProposalError{What: "there is no experiment " + id, Remedy: "`ratchet show` lists them"}
		default:
			code[i] = cmp.Or(x.Code, s.Snapshot)
		}
	}
	return patch.Unified(e.Objects, code[0], code[1])
}
