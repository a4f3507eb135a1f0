package research

import (
	"fmt"

	"ratchet/study"
)

// ExperimentProposed is the outcome of a Propose action, or a proposal from outside.
type ExperimentProposed struct {
	v1
	Action     string       `json:"action,omitempty"` // empty: it was proposed from outside
	Experiment string       `json:"experiment"`
	Arm        int          `json:"arm"` // 0 is the free search; others are sides of hypotheses
	Parent     string       `json:"parent,omitempty"`
	Parameters study.Params `json:"parameters"`
	// Repeats is the experiment whose configuration is measured again, with Seeds; empty:
	// it is a configuration of its own, with the plan's seeds.
	Repeats string  `json:"repeats,omitempty"`
	Seeds   []int64 `json:"seeds,omitempty"`
	// Rungs are where successive halving stops a trial that falls behind.
	Rungs []Rung `json:"rungs,omitempty"`
	// Code is the digest of the manifest of the program's files, where they are not the
	// study's. Why, Hypothesis and Who are its proposer's words, and who that is.
	Code       string `json:"code,omitempty"`
	Why        string `json:"why,omitempty"`
	Hypothesis string `json:"hypothesis,omitempty"`
	Who        string `json:"who,omitempty"`
	// Changes are the files in which its code differs from its parent's.
	Changes []Change `json:"changes,omitempty"`
	// By is how it was found; nil in runs of earlier releases.
	By *Proposer `json:"by,omitempty"`
}

// Change is how many lines of a file a proposal adds and removes.
type Change struct {
	File    string `json:"file"`
	Added   int    `json:"added"`
	Removed int    `json:"removed"`
}

// key tells configurations, with their code, apart.
func (d ExperimentProposed) key() string {
	if d.Code == "" {
		return d.Parameters.Key()
	}
	return d.Code + " " + d.Parameters.Key()
}

// TriedAs is the experiment that has a configuration with that code already; "": none has.
func (s *State) TriedAs(p study.Params, code string) string {
	return s.tried[ExperimentProposed{Parameters: p, Code: code}.key()]
}

// NextExperiment is the id of the next experiment.
func (s *State) NextExperiment() string { return fmt.Sprintf("e%04d", len(s.Experiments)+1) }

// Proposer is how the search found a configuration.
type Proposer struct {
	Method string `json:"method"`
	// Model are the parameters of the model of the outcomes that it was found by. The fit
	// of the next proposal's begins there.
	Model []float64 `json:"model,omitempty"`
	// Gain is by how much it was expected to improve the objective, in its units; where there
	// are several, what share of the hypervolume it was expected to add. nil: there was no
	// model.
	Gain *float64 `json:"gain,omitempty"`
	// Without are sources of earlier outcomes that were left out, since they disagree with
	// this run's.
	Without []string `json:"without,omitempty"`
}

// Rung stops a trial at Step when its objective there is worse than Bar.
type Rung struct {
	Step int     `json:"step"`
	Bar  float64 `json:"bar"`
}

// SearchExhausted is the outcome of a Propose action that proposed nothing: every
// configuration was tried, or enough was found.
type SearchExhausted struct {
	v1
	Action string `json:"action"`
	Why    string `json:"why,omitempty"` // empty: every configuration was tried
}

// BestChosen is the outcome of a Choose action: where trials of one configuration differ, the
// best by all that the search knows, not by its own trials alone.
type BestChosen struct {
	v1
	Action     string `json:"action"`
	Experiment string `json:"experiment"` // empty: none has a value, or none keeps to the constraints
	// Front are, where there are several objectives, the experiments of the Pareto front that
	// are measured on the fresh seeds: each adds the most to what those before it dominate.
	Front []string `json:"front,omitempty"`
}

// Type implements Payload.
func (ExperimentProposed) Type() string { return "experiment.proposed" }

// Type implements Payload.
func (SearchExhausted) Type() string { return "search.exhausted" }

// Type implements Payload.
func (BestChosen) Type() string { return "best.chosen" }
