package study

import "fmt"

// Warnings are what is allowed and may surprise, a sentence each.
func (s *Study) Warnings() []string {
	var out []string
	for _, p := range s.surprises {
		out = append(out, p.String())
	}
	if n := s.Validation.Seeds; n < enoughSeeds && s.infers() {
		out = append(out, fmt.Sprintf("validation.seeds is %d: a verdict on fewer than six pairs rests on little, and only a large difference can be shown; write 10 or more", n))
	}
	return out
}

// enoughSeeds is below how many fresh seeds validate warns.
const enoughSeeds = 6

// infers reports whether there will be a hypothesis that statistics decide.
func (s *Study) infers() bool {
	for _, h := range s.Hypotheses {
		if !h.Exact {
			return true
		}
	}
	if len(s.Hypotheses) == 0 {
		for _, d := range s.Parameters {
			if d.Kind == Categorical && len(d.Values) > 1 {
				return true
			}
		}
	}
	return false
}
