package research

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// TrialsRetried says that a person has mended what made trials fail, and wants them
// tried again in the same run. What was concluded with their failures is open again:
// the run goes on from the earliest stage that any of them belongs to.
type TrialsRetried struct {
	v1
	Trials []string `json:"trials"`
	By     string   `json:"by"`
	Why    string   `json:"why,omitempty"`
	// Inputs is the digest of the record of the inputs that they are tried with, and
	// What how these differ from those that the other trials had; empty: they do not.
	Inputs string `json:"inputs,omitempty"`
	What   string `json:"what,omitempty"`
}

// Type implements Payload.
func (TrialsRetried) Type() string { return "trials.retried" }

// retried opens trials that had failed.
func (s *State) retried(d TrialsRetried) error {
	stage := Validation
	for _, id := range d.Trials {
		t := s.trials[id]
		if t == nil || !t.Retriable() {
			return fmt.Errorf("trial %s has not failed", id)
		}
		s.touch(t)
		t.Outcome, t.Why, t.Renewed = "", "", len(t.Attempts)
		s.Open = append(s.Open, t)
		s.Tally.Trials--
		s.Tally.Failed--
		if d.Inputs != "" {
			t.Checkpoint = "" // it may be of the other inputs
		}
		if t.Purpose == ForSearch {
			x := s.experiments[t.Experiment]
			x.waiting++
			x.Value, x.Means = nil, nil
			s.Frontier = min(s.Frontier, x.Index)
			s.unweigh(x.Index)
			stage = Experimentation
		}
	}
	s.settledBy(d)
	s.Engine = EngineStarted{}
	s.reopen(stage)
	if s.Ended() {
		s.Status, s.Why = Running, ""
	}
	if d.Inputs != "" {
		s.Created.Inputs = d.Inputs
	}
	s.Retried = append(s.Retried, d.say())
	return nil
}

func (d TrialsRetried) say() string {
	text := fmt.Sprintf("%s had failed and %s tried again, as %s asked", Counted(len(d.Trials), "trial"), map[bool]string{true: "was", false: "were"}[len(d.Trials) == 1], d.By)
	if d.Why != "" {
		text += ": " + d.Why
	}
	if d.What != "" {
		text += fmt.Sprintf("; %s, and only these (%s) were measured with it as it is now", d.What, strings.Join(d.Trials[:min(len(d.Trials), 10)], ", ")+map[bool]string{true: ", …"}[len(d.Trials) > 10])
	}
	return text
}

// reopen goes back into a stage that the run has been in, and leaves open what that
// stage and those after it concluded.
func (s *State) reopen(stage string) {
	i := slices.IndexFunc(s.StageRecord, func(r StageRecord) bool { return r.Name == stage })
	if i < 0 {
		return // it lies ahead
	}
	s.Stage = stage
	s.StageRecord = s.StageRecord[: i+1 : i+1]
	at := &s.StageRecord[i]
	at.Ended, at.Cut, at.Seq, at.Driven = time.Time{}, "", 0, s.Driven
	s.Again, s.Gates, s.Review = nil, nil, nil
	s.Pending = slices.DeleteFunc(slices.Clone(s.Pending), func(a Action) bool { return a.Kind == Judge || a.Kind == Choose })
	hypotheses := make([]*Hypothesis, len(s.Hypotheses))
	for i, h := range s.Hypotheses {
		open := *h
		open.Judgment = nil
		if stage == Experimentation {
			open.Comparison = nil
		}
		hypotheses[i] = &open
	}
	s.Hypotheses = hypotheses
	if stage == Experimentation && s.Created.Study.Open() {
		s.Hypotheses = nil // they are stated when the run has been weighed anew
	}
	if stage == Experimentation {
		s.Designed, s.Chosen = nil, nil
		s.Ablations = nil
	}
}

// Retriable reports whether the trial is complete and failed.
func (t *Trial) Retriable() bool { return t.Outcome != "" && t.Outcome != Succeeded }

// Failed are the trials that failed, in the order of their experiments.
func (s *State) Failed() (out []*Trial) {
	for _, x := range s.Experiments {
		for _, t := range x.Trials {
			if t.Retriable() {
				out = append(out, t)
			}
		}
	}
	return out
}
