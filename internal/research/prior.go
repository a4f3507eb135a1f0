package research

import "ratchet/study"

// Prior are outcomes of earlier work, in one source. They tell the search where to look, and
// are no evidence of this run.
type Prior struct {
	From     string    `json:"from"`   // as the study names it
	Digest   string    `json:"digest"` // SHA-256 of the file; of a run its name, and its last record with its hash
	Outcomes []Outcome `json:"outcomes"`
	Left     int       `json:"left,omitempty"` // outcomes that were left out, since they do not fit or are too many
}

// Outcome is the value of the objective with a configuration.
type Outcome struct {
	Parameters study.Params `json:"parameters"`
	Value      float64      `json:"value"`
}

// PriorLearned gives a search earlier outcomes to learn from. One source can have several:
// its outcomes behind each other.
type PriorLearned struct {
	v1
	Prior
}

// Type implements Payload.
func (PriorLearned) Type() string { return "prior.learned" }

func (s *State) addPrior(p Prior) {
	if n := len(s.Prior); n > 0 && s.Prior[n-1].From == p.From {
		s.Prior[n-1].Outcomes = append(s.Prior[n-1].Outcomes, p.Outcomes...)
		return
	}
	s.Prior = append(s.Prior, p)
}
