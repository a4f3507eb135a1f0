package research

import "ratchet/study"

// ExperimentProposed is the outcome of a Propose action.
type ExperimentProposed struct {
	v1
	Action     string       `json:"action"`
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
	// By is how it was found; nil in runs of earlier releases.
	By *Proposer `json:"by,omitempty"`
}

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
