package research

import (
	"fmt"

	"ratchet/study"
)

// When an open run is closed, each change that is in its best is taken back alone: what the
// best is without it is measured on the fresh seeds, beside the best. So each change that was
// kept must show that it still matters among the others.

// Ablated is the verdict of an experiment that is the best without one of its changes: it was
// not proposed, and not weighed.
const Ablated = "ablated"

// AblationsMade is the outcome of an Ablate action.
type AblationsMade struct {
	v1
	Action    string     `json:"action"`
	Ablations []Ablation `json:"ablations"`
}

// Ablation is the best without the change of one experiment.
type Ablation struct {
	Of string `json:"of"` // the experiment whose change is taken back
	// Experiment is the best without it: a new one, or one that was proposed before; empty:
	// it could not be taken back alone, and Why says why.
	Experiment string       `json:"experiment,omitempty"`
	Parameters study.Params `json:"parameters,omitempty"` // of a new one
	Code       string       `json:"code,omitempty"`
	Changes    []Change     `json:"changes,omitempty"`
	Why        string       `json:"why,omitempty"`
}

// Type implements Payload.
func (AblationsMade) Type() string { return "ablations.made" }

// Changed are the experiments whose changes are in the best, the latest first: itself, and its
// parents up to the start, which is not among them.
func (s *State) Changed() (out []*Experiment) {
	for x := s.Standing(); x != nil && x.Index > 0; x = s.experiments[x.Parent] {
		out = append(out, x)
	}
	return out
}

// ablate folds the ablations: their experiments have no trials of the search.
func (s *State) ablate(d AblationsMade) {
	s.Ablations = d.Ablations
	for _, a := range d.Ablations {
		if a.Experiment == "" || s.experiments[a.Experiment] != nil {
			continue
		}
		x := s.add(ExperimentProposed{
			Experiment: a.Experiment, Parent: s.Standing().Experiment, Parameters: a.Parameters, Code: a.Code, Changes: a.Changes,
			Why: fmt.Sprintf("the best without the change of %s", a.Of), By: &Proposer{Method: Ablated},
		})
		x.Weighing = &Weighing{Experiment: a.Experiment, Verdict: Ablated}
		s.Weighed++
		s.Frontier++
	}
}
