// Package search proposes which configuration a run tries next.
//
// A proposal depends on the run's seed, on the proposals before it, and on the
// outcomes of the experiments up to its index less the parallelism: on nothing
// that timing or a crash could change.
package search

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"ratchet/internal/research"
	"ratchet/study"
)

// Proposal is a configuration to try.
type Proposal struct {
	Arm        int
	Parameters study.Params
	Rungs      []research.Rung
	By         research.Proposer
}

// enough resamplings before a space is taken to be almost used up.
const resamplings = 64

// Propose gives the configuration with an index, from 0; false if every
// configuration has been tried. The arms take turns: the free search, which
// fixes nothing, and the sides of the hypotheses, which fix their own
// parameters. An arm with nothing left gives its turn to the next.
func Propose(s *research.State, index int) (Proposal, bool) {
	st := s.Created.Study
	r := newRand(s.Created.Seed, fmt.Sprintf("propose %d", index))
	// The outcomes that this proposal may know.
	known := s.Experiments[:max(0, index-st.Parallel+1)]
	pending := s.Experiments[len(known):index]
	space := space{parameters: st.Parameters}
	if st.Search.Method == "gp" {
		return proposeBayes(s, r, known, pending, index)
	}
	for turn := range s.Plan.Arms {
		arm := (index + turn) % len(s.Plan.Arms)
		fixed := s.Plan.Arms[arm]
		p, ok := next(s, space, r, known, index, arm, fixed)
		if ok {
			return Proposal{Arm: arm, Parameters: p, Rungs: rungs(st, known)}, true
		}
	}
	return Proposal{}, false
}

func next(s *research.State, sp space, r *rand.Rand, known []*research.Experiment, index, arm int, fixed study.Params) (study.Params, bool) {
	st := s.Created.Study
	if st.Search.Method != study.Grid {
		for try := range resamplings {
			var p study.Params
			switch {
			case st.Search.Method == study.LatinHypercube && try == 0:
				p = sp.latin(s.Created.Seed, index, s.Plan.Experiments, r, fixed)
			case st.Search.Method == study.TPE:
				p = sp.tpe(r, known, st.Objective, fixed)
			default:
				p = sp.random(r, fixed)
			}
			if !s.Tried(p) {
				return p, true
			}
		}
	}
	return sp.first(fixed, s.Proposed(arm), st.Search.Method == study.Grid, s.Tried)
}

// newRand is a source of randomness that depends on the run's seed and on
// what it is for.
func newRand(seed int64, purpose string) *rand.Rand {
	h := sha256.Sum256(fmt.Appendf(nil, "search %d %s", seed, purpose))
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:16])))
}

func proposeBayes(s *research.State, r *rand.Rand, known, pending []*research.Experiment, index int) (Proposal, bool) {
	st := s.Created.Study
	a := newAxes(st.Parameters)
	startup := min(max(len(st.Parameters)+2, 5), 10)
	var start []float64
	if index > 0 {
		start = s.Experiments[index-1].By.Model
	}
	if len(known) < startup {
		return Proposal{Parameters: a.latin(s.Created.Seed, index, startup+st.Parallel, r, nil), By: research.Proposer{Method: "lhs"}}, true
	}
	p, model := bayes(a, r, known, pending, st.Objective, nil, start)
	if s.Tried(p) {
		p = a.random(r, nil)
	}
	return Proposal{Parameters: p, By: research.Proposer{Method: "gp", Model: model}}, true
}
