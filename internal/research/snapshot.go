package research

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Digest is the SHA-256 of the whole state, in hexadecimal: equal states have
// equal digests, wherever and by whatever journal they were folded. What it
// covers is the JSON form of the state, with the digest of each experiment's
// JSON form in the experiment's place.
func (s *State) Digest() string {
	whole := sha256.New()
	enc := json.NewEncoder(whole)
	encode := func(v any) {
		if err := enc.Encode(v); err != nil {
			panic(fmt.Sprintf("research: a state always marshals: %v", err)) // its numbers are finite
		}
	}
	rest := *s
	rest.Experiments, rest.Open = nil, nil
	encode(&rest)
	encode(s.OpenTrials())
	for _, x := range s.Experiments {
		if x.sum == nil {
			b, err := json.Marshal(x)
			if err != nil {
				panic(fmt.Sprintf("research: an experiment always marshals: %v", err))
			}
			sum := sha256.Sum256(b)
			x.sum = sum[:]
		}
		whole.Write(x.sum)
	}
	return hex.EncodeToString(whole.Sum(nil))
}

// touch says that a trial is about to change.
func (s *State) touch(t *Trial) { s.experiments[t.Experiment].sum = nil }

// OpenTrials are the ids of the trials that are not complete, in their order.
func (s *State) OpenTrials() []string {
	ids := make([]string, len(s.Open))
	for i, t := range s.Open {
		ids[i] = t.ID
	}
	return ids
}

// Restored makes a state that was kept as data whole again: the exported
// fields but Open are there, open has the ids of the open trials. The state
// is not to be used without.
func (s *State) Restored(open []string) error {
	n := 0
	for _, x := range s.Experiments {
		n += len(x.Trials)
	}
	s.experiments, s.trials = make(map[string]*Experiment, len(s.Experiments)), make(map[string]*Trial, n)
	s.tried, s.perArm, s.repeats = make(map[string]string, len(s.Experiments)), map[int]int{}, map[string][]*Experiment{}
	for _, x := range s.Experiments {
		s.experiments[x.Experiment] = x
		if key := x.key(); s.tried[key] == "" {
			s.tried[key] = x.Experiment
		}
		s.perArm[x.Arm]++
		if x.Repeats != "" {
			s.repeats[x.Repeats] = append(s.repeats[x.Repeats], x)
		}
		for _, t := range x.Trials {
			s.trials[t.ID] = t
			if t.Purpose == ForSearch && t.Outcome == "" {
				x.waiting++
			}
		}
	}
	for _, id := range open {
		t := s.trials[id]
		if t == nil {
			return fmt.Errorf("there is no trial %s", id)
		}
		s.Open = append(s.Open, t)
	}
	return nil
}
