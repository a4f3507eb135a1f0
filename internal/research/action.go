package research

import (
	"time"

	"ratchet/study"
)

// ActionKind is the kind of an effect.
type ActionKind string

// The effects that a run asks for.
const (
	Build ActionKind = "build" // build the program's files
	// CheckEvaluation has the evaluation measure what a program leaves that does
	// nothing.
	CheckEvaluation ActionKind = "check-evaluation"
	Propose         ActionKind = "propose" // ask the search for the next configuration
	Try             ActionKind = "try"     // execute an attempt of a trial
	Weigh           ActionKind = "weigh"   // ask the statistics whether an experiment is kept
	Ablate          ActionKind = "ablate"  // take changes back from the best, one by one
	Choose          ActionKind = "choose"  // ask the search which experiment is the best
	Judge           ActionKind = "judge"   // ask the statistics for the verdicts
)

// Action is an effect that was decided. Its ID is derived from what it does,
// so that carrying it out again is recognised.
type Action struct {
	ID         string     `json:"id"`
	Kind       ActionKind `json:"kind"`
	Index      int        `json:"index,omitempty"`      // Propose: of the experiment, from 0
	Experiment string     `json:"experiment,omitempty"` // Try, Weigh
	Trial      string     `json:"trial,omitempty"`      // Try
	Seed       int64      `json:"seed,omitempty"`       // Try
	Purpose    string     `json:"purpose,omitempty"`    // Try
	Attempt    int        `json:"attempt,omitempty"`    // Try: from 1
	NotBefore  time.Time  `json:"not_before,omitzero"`  // Try: end of the back-off
	Remedy     *Remedy    `json:"remedy,omitempty"`     // Try: of an attempt after the first
	// Parameters and Limits are of a Try where on_resource has changed them.
	Parameters study.Params         `json:"parameters,omitempty"`
	Limits     *study.AttemptLimits `json:"limits,omitempty"`
}
