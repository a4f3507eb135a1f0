package research

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Reference is an object that an event speaks of.
type Reference struct {
	What   string // for a person: "what attempt e0001-1b2a90c7d4-a1 left"
	Digest string
	Tree   bool // the object is a manifest of others
}

// references are the objects that an event speaks of: without them the run is
// not whole.
func references(p Payload) []Reference {
	var out []Reference
	add := func(what, digest string, tree bool) {
		if digest != "" {
			out = append(out, Reference{what, digest, tree})
		}
	}
	switch d := p.(type) {
	case RunCreated:
		add("its study file", d.StudyFile, false)
		add("its program's files", d.Snapshot, true)
		add("its environment", d.Environment, false)
		add("its inputs' record", d.Inputs, false)
		add("its evaluation's files", d.Evaluation, true)
	case InputsAccepted:
		add("its changed inputs' record", d.Inputs, false)
	case TrialsRetried:
		add("the record of the inputs of trials that were tried again", d.Inputs, false)
	case RunForked:
		add("its changed study file", d.StudyFile, false)
	case ExperimentProposed:
		add("the code of experiment "+d.Experiment, d.Code, true)
	case ProgramBuilt:
		add("its built program", d.Snapshot, true)
		add("the log of its build", d.Log, false)
	case AttemptCheckpointed:
		add("the checkpoint of attempt "+d.Attempt, d.Snapshot, true)
	case AttemptEnded:
		add("what attempt "+d.Attempt.ID+" left", d.Attempt.Evidence, true)
	}
	return out
}

// The names of what is kept of an attempt begin so, where it was in its output
// folder, or in its working folder.
const (
	OutputFiles = "output/"
	WorkFiles   = "work/"
)

// CallRecords begins the types of the records of model calls, which lie in a
// chain beside their run's own.
const CallRecords = "call."

// ReferencesIn are the objects that a record speaks of, of a run or of its
// model calls. A record that this release cannot read is an error.
func ReferencesIn(kind string, version int, payload json.RawMessage) ([]Reference, error) {
	if !strings.HasPrefix(kind, CallRecords) {
		p, err := Decode(kind, version, payload)
		if err != nil {
			return nil, err
		}
		return references(p), nil
	}
	if version != 1 {
		return nil, &UnknownEventError{kind, version}
	}
	type body struct {
		Object string `json:"object"`
	}
	var c struct {
		Call    string `json:"call"`
		Request body   `json:"request"`
		Answer  body   `json:"answer"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("decoding a %s record: %w", kind, err)
	}
	var out []Reference
	for what, b := range map[string]body{"the request of call ": c.Request, "the answer of call ": c.Answer} {
		if b.Object != "" {
			out = append(out, Reference{what + c.Call, b.Object, false})
		}
	}
	return out, nil
}
