package research

import (
	"fmt"
	"math"
	"slices"
	"time"

	"ratchet/study"
)

// mostRecent is of how many attempts Tally.Recent knows.
const mostRecent = 50

// New is the state of a run without events.
func New() *State {
	return &State{experiments: map[string]*Experiment{}, trials: map[string]*Trial{}, tried: map[string]string{}, perArm: map[int]int{}, repeats: map[string][]*Experiment{}}
}

// Fold applies events to the state, in their order.
func (s *State) Fold(events []Event) error {
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return err
		}
	}
	return nil
}

// Apply folds one event into the state. It refuses an event that cannot
// follow the ones before it; the state is then no longer to be used.
func (s *State) Apply(e Event) error {
	if back, ok := e.Data.(RolledBack); ok {
		return s.rollBack(e, back)
	}
	if e.Seq != s.Seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, s.Seq)
	}
	driven := s.Engine.Engine != ""
	created, first := e.Data.(RunCreated)
	if first != (s.Seq == 0) {
		return fmt.Errorf("event %d is %s: run.created is the first event and no other", e.Seq, e.Data.Type())
	}
	if first {
		s.Created, s.Began, s.Status, s.Snapshot = created, e.Time, Running, created.Snapshot
	} else if err := s.apply(e); err != nil {
		return fmt.Errorf("event %d, %s: %w", e.Seq, e.Data.Type(), err)
	}
	s.Seq, s.Time = e.Seq, e.Time
	s.mark(e.Data, driven)
	return nil
}

func (s *State) apply(e Event) error {
	if s.Status == Running && s.Engine.Engine != "" {
		if gap := e.Time.Sub(s.Time); gap > 0 {
			if _, handover := e.Data.(EngineStarted); !handover {
				s.Driven += gap
			}
		}
	}
	switch d := e.Data.(type) {
	case CheckpointMade: // see mark
	case AlertRaised, AlertResolved, AlertsSilenced:
		s.alert(e.Time, d)
	case RunForked:
		s.fork(e.Seq, d)
	case EngineStarted:
		s.Engine = d
	case EngineStopped:
		if s.Engine.Engine == d.Engine {
			s.Engine = EngineStarted{}
		}
	case StageStarted:
		s.Stage = d.Stage
		s.StageRecord = append(s.StageRecord, StageRecord{Name: d.Stage, Started: e.Time, Driven: s.Driven})
	case StageCompleted:
		last := len(s.StageRecord) - 1
		if last < 0 || s.StageRecord[last].Name != d.Stage {
			return fmt.Errorf("stage %s was not begun", d.Stage)
		}
		s.StageRecord[last].Ended, s.StageRecord[last].Cut, s.StageRecord[last].Seq = e.Time, d.Cut, e.Seq
	case HypothesisStated:
		s.Hypotheses = append(s.Hypotheses, &Hypothesis{Hypothesis: d.Hypothesis, Derived: d.Derived})
	case PlanMade:
		s.Plan = &d.Plan
	case ActionDecided:
		return s.decided(d.Action)
	case ProgramBuilt:
		s.BuildFailed = d.Failure
		if d.Failure == "" {
			s.Snapshot = d.Snapshot
		}
		return s.settle(d.Action)
	case EvaluationChecked:
		s.NullTests = &d
		return s.settle(d.Action)
	case ExperimentProposed:
		if d.Action == "" && d.Experiment != s.NextExperiment() {
			return fmt.Errorf("experiment %s is not the next", d.Experiment)
		}
		s.proposed(d)
		if d.Action != "" {
			return s.settle(d.Action)
		}
	case ExperimentWeighed:
		if err := s.weigh(d); err != nil {
			return err
		}
		return s.settle(d.Action)
	case AblationsMade:
		s.ablate(d)
		return s.settle(d.Action)
	case NoteMade:
		s.Notes = append(s.Notes, Note{d, e.Seq, e.Time})
	case ExperimentVetoed:
		return s.veto(d)
	case CloseRequested:
		s.Closing = d.By
	case SearchExhausted:
		s.Exhausted, s.Enough = true, d.Why
		return s.settle(d.Action)
	case BestChosen:
		s.Chosen = &d
		return s.settle(d.Action)
	case AttemptEnded:
		t := s.trials[d.Attempt.Trial]
		if t == nil {
			return fmt.Errorf("there is no trial %s", d.Attempt.Trial)
		}
		s.touch(t)
		a := d.Attempt
		a.Remedy, a.Parameters, a.Limits = t.Remedy, t.Parameters, t.Limits
		t.Attempts = append(t.Attempts, a)
		if a.Class == Quota || a.Class == Auth {
			s.Blocked = fmt.Sprintf("attempt %s: %s: %s; once that is mended, `ratchet resume` goes on", a.ID, a.Class, a.Message)
		}
		s.Tally.Attempts++
		s.Tally.Wall += d.Attempt.Usage.Wall
		s.Tally.CPU += d.Attempt.Usage.CPU
		s.Tally.Memory, s.Tally.Disk = max(s.Tally.Memory, a.Usage.Memory), max(s.Tally.Disk, a.Usage.Disk)
		s.Tally.GPUMemory = max(s.Tally.GPUMemory, a.Usage.GPUMemory)
		s.Tally.Models.add(a.Models)
		s.Tally.Recent = append(s.Tally.Recent[max(0, len(s.Tally.Recent)-mostRecent+1):], a.Class == Succeeded)
		return s.settle(d.Action)
	case AttemptCheckpointed:
		t := s.trials[d.Trial]
		if t == nil {
			return fmt.Errorf("there is no trial %s", d.Trial)
		}
		s.touch(t)
		t.Checkpoint = d.Snapshot
	case TrialCompleted:
		return s.completed(d)
	case PriorLearned:
		s.addPrior(d.Prior)
	case TrialsRetried:
		return s.retried(d)
	case ValidationDesigned:
		s.Designed = &d
		for i := range d.Comparisons {
			for _, h := range s.Hypotheses {
				if h.ID == d.Comparisons[i].Hypothesis {
					h.Comparison = &d.Comparisons[i]
					h.A, h.B = h.Comparison.A, h.Comparison.B
				}
			}
		}
	case HypothesisJudged:
		for _, h := range s.Hypotheses {
			if h.ID == d.Judgment.Hypothesis {
				h.Judgment = &d.Judgment
			}
		}
		if !slices.ContainsFunc(s.Hypotheses, func(h *Hypothesis) bool { return h.Judgment == nil }) {
			return s.settle(d.Action)
		}
	case ReproductionChecked:
		s.Again = &d.Reproduction
	case GateEvaluated:
		s.Gates = append(s.Gates, d)
	case ReviewCompleted:
		s.Review = d.Checks
	case PauseRequested:
		s.WantPause = d.By
	case CancelRequested:
		s.Cancel = d.By
	case RunPaused:
		s.Status, s.Why, s.WantPause = Paused, d.Reason, ""
	case RunResumed:
		// A wish to pause that came while the run was being resumed stands.
		s.Status, s.Why, s.Blocked, s.Idle = Running, "", "", false
		s.spend(d)
		s.settledBy(d)
		s.MoreTime += time.Duration(d.MoreTime)
	case InputsChanged:
		s.inputsChanged(d)
	case InputsAccepted:
		s.Created.Inputs = d.Inputs
		s.Accepted = append(s.Accepted, d.What)
	case ModelsBlocked:
		s.Blocked, s.Idle = d.Why, true
	case RunCompleted:
		s.Status, s.Why = d.Status, d.Why
		if d.Models != nil {
			s.Tally.Models = ModelUse{}
			s.Tally.Models.add(d.Models)
		}
		s.settledBy(d)
	default:
		return fmt.Errorf("the fold has no case for it")
	}
	return nil
}

// inputsChanged stops the run until a person has dealt with its inputs.
func (s *State) inputsChanged(d InputsChanged) {
	s.Blocked = fmt.Sprintf("%s, so attempt %s does not count; put it back and `ratchet resume` goes on, or `ratchet resume --accept-inputs` measures everything anew with it as it is", d.What, d.Attempt)
	s.Idle = true
	for _, a := range s.Pending {
		if t := s.trials[a.Trial]; t != nil {
			s.touch(t)
			t.Checkpoint = "" // it may be of the other input
		}
	}
}

// spend takes over the limits that were raised.
func (s *State) spend(d RunResumed) {
	if d.Cost > 0 {
		s.Spend.Cost = d.Cost
	}
	if d.Tokens > 0 {
		s.Spend.Tokens = d.Tokens
	}
	if d.Calls > 0 {
		s.Spend.Calls = d.Calls
	}
}

// SpendLimit are the run's limits of model calls: the study's, or what took
// their place.
func (s *State) SpendLimit() study.RunLimits {
	l := s.Created.Study.Limits.Run
	if s.Spend.Cost > 0 {
		l.Cost = s.Spend.Cost
	}
	if s.Spend.Tokens > 0 {
		l.Tokens = s.Spend.Tokens
	}
	if s.Spend.Calls > 0 {
		l.Calls = s.Spend.Calls
	}
	return l
}

func (s *State) decided(a Action) error {
	if slices.ContainsFunc(s.Pending, func(p Action) bool { return p.ID == a.ID }) {
		return fmt.Errorf("action %s was decided before", a.ID)
	}
	if a.Kind == Try {
		t := s.trials[a.Trial]
		if t == nil {
			x := s.experiments[a.Experiment]
			if x == nil {
				return fmt.Errorf("there is no experiment %s", a.Experiment)
			}
			t = s.open(x, a.Trial, a.Seed, a.Purpose)
		}
		if a.Attempt != t.Tries+1 {
			return fmt.Errorf("attempt %d of %s follows attempt %d", a.Attempt, t.ID, t.Tries)
		}
		s.touch(t)
		t.Tries, t.Parameters, t.Limits, t.Remedy = a.Attempt, a.Parameters, a.Limits, a.Remedy
	}
	s.Pending = append(s.Pending, a)
	return nil
}

// open adds a trial to an experiment.
func (s *State) open(x *Experiment, id string, seed int64, purpose string) *Trial {
	t := &Trial{ID: id, Experiment: x.Experiment, Seed: seed, Purpose: purpose}
	x.Trials = append(x.Trials, t)
	x.sum = nil
	s.trials[id] = t
	s.Open = append(s.Open, t)
	return t
}

// add adds an experiment that has no trials yet.
func (s *State) add(d ExperimentProposed) *Experiment {
	x := &Experiment{ExperimentProposed: d, Index: len(s.Experiments)}
	s.Experiments = append(s.Experiments, x)
	s.experiments[d.Experiment] = x
	if key := d.key(); s.tried[key] == "" {
		s.tried[key] = d.Experiment
	}
	s.perArm[d.Arm]++
	return x
}

func (s *State) proposed(d ExperimentProposed) {
	x := s.add(d)
	seeds := s.Plan.Seeds
	if d.Repeats != "" {
		seeds = d.Seeds
		s.repeats[d.Repeats] = append(s.repeats[d.Repeats], x)
	} else if len(d.Seeds) > 0 {
		seeds = d.Seeds
	}
	for _, seed := range seeds {
		s.open(x, s.TrialID(d.Experiment, seed), seed, ForSearch)
	}
	x.waiting = len(seeds)
}

// settle takes an action off the pending ones.
func (s *State) settle(id string) error {
	i := slices.IndexFunc(s.Pending, func(a Action) bool { return a.ID == id })
	if i < 0 {
		return fmt.Errorf("action %s is not pending", id)
	}
	s.Pending = slices.Delete(s.Pending, i, i+1)
	return nil
}

func (s *State) completed(d TrialCompleted) error {
	t := s.trials[d.Trial]
	if t == nil || t.Outcome != "" {
		return fmt.Errorf("trial %s is not open", d.Trial)
	}
	s.touch(t)
	t.Outcome, t.Why = d.Outcome, d.Why
	s.Open = slices.DeleteFunc(s.Open, func(o *Trial) bool { return o == t })
	s.Tally.Trials++
	if d.Outcome == Succeeded {
		s.Tally.Succeeded++
	} else {
		s.Tally.Failed++
	}
	x := s.experiments[t.Experiment]
	if t.Purpose != ForSearch {
		return nil
	}
	if x.waiting--; x.waiting == 0 {
		x.summarise(s.Created.Study.Needed())
	}
	for s.Frontier < len(s.Experiments) && s.Experiments[s.Frontier].waiting == 0 {
		var before map[string]RemedyStats
		if s.Frontier > 0 {
			before = s.Experiments[s.Frontier-1].Learned
		}
		done := s.Experiments[s.Frontier]
		done.learn(before)
		done.sum = nil
		s.Frontier++
	}
	return nil
}

// summarise computes the experiment's means. A failed or halted trial leaves
// the experiment without them: a gap is not filled.
func (x *Experiment) summarise(needed []string) {
	sums, n := map[string]float64{}, 0
	count := map[string]int{}
	for _, t := range x.Trials {
		if t.Purpose != ForSearch {
			continue
		}
		if t.Outcome != Succeeded || t.Last().Halted > 0 {
			return
		}
		n++
		for name, v := range t.Metrics() {
			sums[name] += v
			count[name]++
		}
	}
	x.Means = map[string]float64{}
	for name, sum := range sums {
		if count[name] == n && !math.IsInf(sum, 0) {
			x.Means[name] = sum / float64(n)
		}
	}
	for _, name := range needed {
		if _, ok := x.Means[name]; !ok {
			return
		}
	}
	if len(needed) > 0 {
		v := x.Means[needed[0]]
		x.Value = &v
	}
}
