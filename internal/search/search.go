// Package search proposes which configuration a run tries next.
//
// A proposal depends on the run's seed, on the proposals before it, and on the
// outcomes of the experiments up to its index less the parallelism: on nothing
// that timing or a crash could change.
package search

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"ratchet/internal/research"
	"ratchet/study"
)

// Proposal is a configuration to try.
type Proposal struct {
	Arm        int
	Parameters study.Params
	Repeats    string  // the experiment whose configuration it is, with Seeds; empty: it is new
	Seeds      []int64 // of the repetition
	Rungs      []research.Rung
	By         research.Proposer
}

// query is what one proposal is made from.
type query struct {
	s       *research.State
	st      *study.Study
	axes    axes
	r       *rand.Rand
	known   []*research.Experiment // whose outcomes it may know
	pending []*research.Experiment // of which it knows the configurations alone
	steps   []int                  // at which trials are compared, as far as any has come
	obs     observed
	index   int
	arm     int
	fixed   study.Params
}

// Propose gives the configuration with an index, from 0; false if every
// configuration has been tried. The arms take turns: the free search, which
// fixes nothing, and the sides of the hypotheses, which fix their own
// parameters. An arm with nothing left gives its turn to the next.
func Propose(s *research.State, index int) (Proposal, bool) {
	st := s.Created.Study
	at := max(0, index-st.Parallel+1)
	q := query{
		s: s, st: st, index: index, known: s.Experiments[:at], pending: s.Experiments[at:index],
		axes: newAxes(st.Parameters), r: newRand(s.Created.Seed, fmt.Sprintf("propose %d", index)),
	}
	q.steps = q.reachedSteps()
	if start := q.start(); index < len(start) {
		q.fixed = start[index]
		if p := q.axes.sobol(s.Created.Seed, index, q.fixed); !s.Tried(p) {
			return Proposal{Parameters: p, Rungs: q.rungs(), By: research.Proposer{Method: Start}}, true
		}
	}
	method := q.method()
	if method == study.Open { // the start; the others come from outside
		p := q.axes.sobol(s.Created.Seed, index, nil)
		return Proposal{Parameters: p, By: research.Proposer{Method: Start}}, true
	}
	switch method {
	case study.GP, study.TPE, study.Halving:
		if st.Weighs() {
			break
		}
		if st.Search.Stops() != "" {
			q.axes = q.axes.withSteps()
		}
		if n := len(s.Prior); n > 0 {
			q.axes = q.axes.withSources(n)
		}
		q.obs = q.observe()
	}
	for turn := range s.Plan.Arms {
		q.arm = (index + turn) % len(s.Plan.Arms)
		q.fixed = s.Plan.Arms[q.arm]
		if p, by, ok := q.next(method); ok {
			out := Proposal{Arm: q.arm, Parameters: p, Rungs: q.rungs(), By: by}
			if out.Repeats = s.First(p); out.Repeats != "" {
				out.Seeds = s.AgainSeeds(index)
			}
			return out, true
		}
	}
	return Proposal{}, false
}

// Start is the method of a configuration that the study names.
const Start = "start"

// calm is how many proposals in a row must expect too little before the search ends.
const calm = 10

// Enough says why the search ends before its plan does; empty: it goes on. It ends when the
// last proposals, as many as calm, have each been expected to improve the objective by less
// than search.enough.
func Enough(s *research.State, index int) string {
	bar := s.Created.Study.Search.Enough
	if bar == 0 || index < calm {
		return ""
	}
	for _, x := range s.Experiments[index-calm : index] {
		if x.By == nil || x.By.Gain == nil || *x.By.Gain >= bar {
			return ""
		}
	}
	return fmt.Sprintf("no experiment of the last %d was expected to improve %s by %g (search.enough)", calm, s.Created.Study.Objective.Metric, bar)
}

// Expectation is what a search expects of another experiment.
type Expectation struct {
	// Gain is the improvement of the objective, in its units; of several, the share that is
	// added to the hypervolume.
	Gain float64 `json:"gain"`
	// Hours is what an experiment took lately: hours of its attempts, times their GPUs.
	Hours float64 `json:"hours,omitempty"`
}

// Text is the expectation in words: of a metric, or of the hypervolume of several.
func (e *Expectation) Text(metric string, several bool) string {
	amount := func(v float64) string { return fmt.Sprintf("%.3g", v) }
	text := fmt.Sprintf("another experiment improves %s by %s", metric, amount(e.Gain))
	if several {
		amount = func(v float64) string { return fmt.Sprintf("%.2g %%", 100*v) }
		text = fmt.Sprintf("another experiment adds %s to the hypervolume", amount(e.Gain))
	}
	if e.Hours > 0 {
		text += fmt.Sprintf(", %s an hour of its trials", amount(e.Gain/e.Hours))
	}
	return text
}

// recent is how many experiments say what one takes.
const recent = 20

// Expected is what the last proposal that a model made was expected to gain; nil: there is
// none.
func Expected(s *research.State) *Expectation {
	for i := len(s.Experiments) - 1; i >= max(0, len(s.Experiments)-recent); i-- {
		x := s.Experiments[i]
		if x.By == nil || x.By.Gain == nil {
			continue
		}
		e := &Expectation{Gain: *x.By.Gain}
		hours, n := 0.0, 0
		for _, done := range s.Experiments[max(0, s.Frontier-recent):s.Frontier] {
			n++
			for _, t := range done.Trials {
				for _, a := range t.Attempts {
					if t.Purpose == research.ForSearch {
						hours += a.Usage.Wall / 3600
					}
				}
			}
		}
		if n > 0 {
			e.Hours = hours / float64(n) * max(1, s.Created.Study.Limits.Attempt.GPUs)
		}
		return e
	}
	return nil
}

// method is the run's; where the study left it open, later on one whose cost grows less with
// what is known.
func (q query) method() string {
	m := q.s.SearchMethod()
	if m == study.Auto { // no plan has chosen
		m = study.GP
	}
	if m == study.GP && q.st.Search.Method == study.Auto && len(q.known) > research.MostModelled {
		return research.Unmodelled(q.st)
	}
	return m
}

// firstOfPrior is how many of the best configurations of each source are tried first.
const firstOfPrior = 2

// start are the configurations to begin with: those that the study names, and the best of
// each source that it learns from.
func (q query) start() []study.Params {
	out := slices.Clone(q.st.Search.Start)
	for _, p := range q.s.Prior {
		best := slices.Clone(p.Outcomes)
		slices.SortStableFunc(best, func(a, b research.Outcome) int { return cmp.Compare(q.lower(a.Value), q.lower(b.Value)) })
		for _, o := range best[:min(len(best), firstOfPrior)] {
			out = append(out, o.Parameters)
		}
	}
	return out
}

// startup is how many outcomes a model needs before it proposes: fewer where it learns from
// earlier ones. A population needs a quarter of all experiments, and no more than it holds.
func (q query) startup() int {
	if q.method() == study.NSGA {
		return min(mostParents, max(10, q.s.Plan.Experiments/4))
	}
	if len(q.s.Prior) > 0 {
		return 3
	}
	return min(max(len(q.st.Parameters)+2, 5), 10)
}

// resamplings are enough before a space is taken to be almost used up.
const resamplings = 64

// next is the next configuration of an arm that was not tried; false: there is none.
func (q query) next(method string) (study.Params, research.Proposer, bool) {
	by := research.Proposer{Method: method}
	switch method {
	case study.Grid:
		p, ok := q.axes.first(q.fixed, q.s.Proposed(q.arm), true, q.s.Tried)
		return p, by, ok
	case study.GP, study.TPE, study.CMA, study.Halving, study.NSGA:
		if q.valued() < q.startup() {
			by.Method = study.Sobol
			break
		}
		if method == study.GP || method == study.Halving {
			propose := q.bayes
			if q.st.Weighs() {
				propose = q.extend
			}
			if p, ok := propose(&by); ok {
				return p, by, true
			}
			by.Method = study.Random
		}
	}
	for try := range resamplings {
		var p study.Params
		switch {
		case by.Method == study.LatinHypercube && try == 0:
			p = q.axes.latin(q.s.Created.Seed, q.index, q.s.Plan.Experiments, q.r, q.fixed)
		case by.Method == study.Sobol && try == 0:
			p = q.axes.sobol(q.s.Created.Seed, q.index, q.fixed)
		case by.Method == study.TPE:
			p = q.obs.tpe(q.r, q.fixed)
		case by.Method == study.CMA:
			p = q.evolve()
		case by.Method == study.NSGA:
			p = q.breed()
		default:
			p = q.axes.random(q.r, q.fixed)
		}
		if !q.s.Tried(p) {
			return p, by, true
		}
	}
	p, ok := q.axes.first(q.fixed, 0, false, q.s.Tried)
	by.Method = study.Grid
	return p, by, ok
}

// valued is how many of the known experiments have a value, at the end or on the way.
func (q query) valued() (n int) {
	for _, x := range q.known {
		if _, _, ok := q.deepest(x); ok && !x.Outside {
			n++
		}
	}
	return n
}

// last are the parameters of the last proposal's model; nil: it had none.
func (q query) last() []float64 {
	if q.index == 0 || q.s.Experiments[q.index-1].By == nil {
		return nil
	}
	return q.s.Experiments[q.index-1].By.Model
}

// newRand is a source of randomness that depends on the run's seed and on
// what it is for.
func newRand(seed int64, purpose string) *rand.Rand {
	h := sha256.Sum256(fmt.Appendf(nil, "search %d %s", seed, purpose))
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:16])))
}
