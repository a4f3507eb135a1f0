package research

// Reference is an object that an event speaks of.
type Reference struct {
	What   string // for a person: "what attempt e0001-s1-a1 left"
	Digest string
	Tree   bool // the object is a manifest of others
}

// References are the objects that an event speaks of: without them the run is
// not whole.
func References(p Payload) []Reference {
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
	case RunForked:
		add("its changed study file", d.StudyFile, false)
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
