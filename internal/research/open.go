package research

import (
	"fmt"
	"time"

	"ratchet/study"
)

// In an open run, experiments are proposed from outside: each is an ExperimentProposed that
// whoever proposes appends. The first is the start, the program as the study has it. Each
// other is weighed against the best so far, on the same seeds, in the order of the proposals:
// so what is kept depends on what was proposed and on what the trials gave, not on which of
// them ended first.

// Weighing is what came of comparing an experiment with the best so far.
type Weighing struct {
	Experiment string `json:"experiment"`
	Against    string `json:"against,omitempty"` // the best so far; empty: there was none
	N          int    `json:"n"`                 // seeds that both have a value for
	// Gain is by how much it is better, the mean over the seeds, in the objective's units.
	Gain     *float64    `json:"gain,omitempty"`
	Interval *[2]float64 `json:"interval,omitempty"` // of it, at 1 − 2·alpha
	P        *float64    `json:"p,omitempty"`        // one-sided, as if the number of seeds had been fixed
	// Evidence is the e-value against the claim that it is no better.
	Evidence float64 `json:"evidence,omitempty"`
	// Verdict is Kept, Reverted or FailedVerdict; empty: both are measured on Seeds next.
	Verdict string  `json:"verdict,omitempty"`
	Why     string  `json:"why,omitempty"`
	Seeds   []int64 `json:"seeds,omitempty"`
}

// What becomes of a proposal.
const (
	Kept          = "kept"
	Reverted      = "reverted"
	FailedVerdict = "failed"
)

// ExperimentWeighed is the outcome of a Weigh action.
type ExperimentWeighed struct {
	v1
	Action string `json:"action"`
	Weighing
}

// NoteMade is a person's or an agent's word, on an experiment or on the run.
type NoteMade struct {
	v1
	By         string `json:"by"`
	Text       string `json:"text"`
	Experiment string `json:"experiment,omitempty"`
}

// ExperimentVetoed takes an experiment out of what may be the best, whatever it measured.
type ExperimentVetoed struct {
	v1
	Experiment string `json:"experiment"`
	By         string `json:"by"`
	Why        string `json:"why,omitempty"`
}

// CloseRequested ends proposing: what was proposed is weighed to its end, and validated.
type CloseRequested struct {
	v1
	By string `json:"by"`
}

// Type implements Payload.
func (ExperimentWeighed) Type() string { return "experiment.weighed" }

// Type implements Payload.
func (NoteMade) Type() string { return "note.made" }

// Type implements Payload.
func (ExperimentVetoed) Type() string { return "experiment.vetoed" }

// Type implements Payload.
func (CloseRequested) Type() string { return "close.requested" }

// Note is a NoteMade with its place in the journal.
type Note struct {
	NoteMade
	Seq  int64
	Time time.Time
}

// Taking says why a run takes no proposals; empty: it does.
func (s *State) Taking() string {
	switch {
	case !s.Created.Study.Open():
		return "its search proposes on its own; a study with `search: {method: open}` waits for proposals"
	case s.Ended():
		return fmt.Sprintf("it has ended: %s", s.Status)
	case s.Closing != "":
		return "it was closed by " + s.Closing
	case s.Stage != Experimentation || len(s.Experiments) == 0:
		return "its engine has not begun to measure the start yet"
	case len(s.Experiments) >= s.Plan.Experiments:
		return fmt.Sprintf("all %d experiments were proposed (search.experiments); `ratchet close` validates what was found", s.Plan.Experiments)
	}
	return ""
}

// Waits reports whether an open run has nothing to do until somebody proposes.
func (s *State) Waits() bool {
	return s.Taking() == "" && len(s.Pending) == 0 && len(s.Open) == 0 && s.unweighed() == nil
}

// FirstSeeds are the seeds that an experiment of an open run begins with.
func (s *State) FirstSeeds() []int64 {
	n := min(len(s.Plan.Seeds), max(2, s.Created.Study.Parallel))
	return s.Plan.Seeds[:n:n]
}

// unweighed is the first experiment without a verdict; nil: there is none.
func (s *State) unweighed() *Experiment {
	if s.Weighed < len(s.Experiments) {
		return s.Experiments[s.Weighed]
	}
	return nil
}

// pass counts an experiment as weighed, and those behind it that are not weighed at all.
func (s *State) pass() {
	for s.Weighed++; s.Weighed < len(s.Experiments) && s.Experiments[s.Weighed].Verdict() == Ablated; s.Weighed++ {
	}
}

// Standing is the best so far of an open run: the last that was kept, and not vetoed; nil:
// there is none.
func (s *State) Standing() *Experiment {
	for i := s.Weighed - 1; i >= 0; i-- {
		if x := s.Experiments[i]; x.Verdict() == Kept {
			return x
		}
	}
	return nil
}

// Verdict is what became of a proposal; empty: it is open.
func (x *Experiment) Verdict() string {
	switch {
	case x.Weighing == nil:
		return ""
	case x.Vetoed != nil:
		return Reverted
	}
	return x.Weighing.Verdict
}

// openSearch has the start measured, weighs what was proposed, and waits for more until the
// run is closed.
func (s *State) openSearch(now time.Time) []Payload {
	if out := s.advance(); len(out) > 0 {
		return out
	}
	cut := s.stageOver(now)
	if cut == "" {
		if len(s.Experiments) == 0 && len(s.Pending) == 0 {
			return []Payload{ActionDecided{Action: Action{ID: "propose-1", Kind: Propose}}}
		}
		if x := s.unweighed(); x != nil && s.measured(x) {
			return []Payload{ActionDecided{Action: Action{ID: fmt.Sprintf("weigh-%s-%d", x.Experiment, len(x.Trials)), Kind: Weigh, Experiment: x.Experiment}}}
		}
		if out, _ := s.schedule(); len(out) > 0 {
			return out
		}
	}
	if len(s.Pending) > 0 || cut == "" && (len(s.Open) > 0 || s.Closing == "" || s.unweighed() != nil) {
		return nil
	}
	if s.Ablations == nil && cut == "" && len(s.Changed()) > 1 {
		return []Payload{ActionDecided{Action: Action{ID: string(Ablate), Kind: Ablate}}}
	}
	return []Payload{StageCompleted{Stage: Experimentation, Cut: cut}}
}

// measured reports whether all trials that an experiment is weighed by are complete.
func (s *State) measured(x *Experiment) bool {
	if x.waiting > 0 {
		return false
	}
	best := s.Standing()
	return best == nil || best.waiting == 0
}

// weigh folds what came of a Weigh action.
func (s *State) weigh(d ExperimentWeighed) error {
	x := s.experiments[d.Experiment]
	if x == nil || x != s.unweighed() {
		return fmt.Errorf("experiment %s is not the next to be weighed", d.Experiment)
	}
	x.Weighing, x.sum = &d.Weighing, nil
	if d.Verdict != "" {
		s.pass()
		return nil
	}
	for _, side := range []*Experiment{x, s.experiments[d.Against]} {
		if side == nil {
			continue
		}
		for _, seed := range d.Seeds {
			if id := s.TrialID(side.Experiment, seed); s.trials[id] == nil {
				s.open(side, id, seed, ForSearch)
				side.waiting++
			}
		}
	}
	return nil
}

// unweigh takes back what became of an experiment of an open run and of those behind it.
func (s *State) unweigh(index int) {
	for _, x := range s.Experiments[min(index, s.Weighed):] {
		if x.Weighing != nil && x.Verdict() != Ablated {
			x.Weighing, x.sum = nil, nil
		}
	}
	s.Weighed = min(s.Weighed, index)
}

// veto folds a person's word against an experiment.
func (s *State) veto(d ExperimentVetoed) error {
	x := s.experiments[d.Experiment]
	if x == nil {
		return fmt.Errorf("there is no experiment %s", d.Experiment)
	}
	x.Vetoed, x.sum = &d, nil
	return nil
}

// openComparisons are those of an open run: its best with its start, and each experiment that
// was kept with what it was kept against. Each is a claim that was made before any of the
// fresh seeds was used.
func (s *State) openComparisons() (out []Payload, comparisons []Comparison) {
	st := s.Created.Study
	expect := study.Greater
	if st.Objective.Goal == study.Minimize {
		expect = study.Less
	}
	state := func(id, claim string, a, b *Experiment) {
		out = append(out, HypothesisStated{Hypothesis: study.Hypothesis{ID: id, Claim: claim, A: a.Parameters, B: b.Parameters, Expect: expect}})
		comparisons = append(comparisons, Comparison{Hypothesis: id, A: a.Parameters, B: b.Parameters, ExperimentA: a.Experiment, ExperimentB: b.Experiment})
	}
	best := s.Standing()
	if best == nil || best.Index == 0 {
		return nil, nil
	}
	start := s.Experiments[0]
	if start.Verdict() == Kept {
		state("best-beats-start", "The best that was kept, "+best.Experiment+", is better than the start", best, start)
	}
	for _, x := range s.Experiments[1:] {
		against := s.experiments[x.against()]
		if x.Verdict() != Kept || against == nil || x == best && against == start {
			continue
		}
		state(x.Experiment, x.claim(), x, against)
	}
	for _, a := range s.Ablations {
		// Where the last change is taken back, that is what it was kept against: asked already.
		if without := s.experiments[a.Experiment]; without != nil && without != start && a.Experiment != best.against() {
			state("without-"+a.Of, fmt.Sprintf("The best needs the change of %s: it is better with it than without", a.Of), best, without)
		}
	}
	return out, comparisons
}

func (x *Experiment) against() string {
	if x.Weighing == nil {
		return ""
	}
	return x.Weighing.Against
}

// claim is what its proposer says of an experiment.
func (x *Experiment) claim() string {
	switch {
	case x.Hypothesis != "":
		return x.Hypothesis
	case x.Why != "":
		return x.Why
	}
	return x.Experiment + " is better than " + x.against()
}
