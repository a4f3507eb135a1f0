package research

import (
	"time"

	"ratchet/study"
)

// Status is where a run stands.
type Status string

// The states of a run. The last three are final.
const (
	Running   Status = "running"
	Paused    Status = "paused"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// The five stages, in their order.
const (
	Ideation        = "ideation"
	Planning        = "planning"
	Experimentation = "experimentation"
	Validation      = "validation"
	Reporting       = "reporting"
)

// Stages are the stages of every run, in their order.
var Stages = []string{Ideation, Planning, Experimentation, Validation, Reporting}

// State is a run as its events made it. Only Apply changes it.
type State struct {
	Seq     int64      // of the last event
	Time    time.Time  // of the last event
	Created RunCreated // the first event, with what a fork has changed in the study
	Began   time.Time  // time of the first event

	Status   Status
	Why      string // of a paused, failed or cancelled run
	Engine   EngineStarted
	Driven   time.Duration // time during which an engine drove the run
	MoreTime time.Duration // added to limits.run.time by resuming
	// RolledBack is the time during which an engine drove what was rolled back.
	// It was spent: limits.run.time counts it.
	RolledBack time.Duration
	Origin     *Origin // of a fork
	WantPause  string  // by whom
	Cancel     string  // by whom
	// Blocked is what a person has to mend before the run can go on; empty:
	// nothing.
	Blocked string
	// Idle: what is blocked is the models, and nothing runs; pending attempts
	// wait for the run to be resumed.
	Idle bool `json:",omitempty"`
	// Spend are the limits of model calls that were set when resuming; zero:
	// the study's.
	Spend study.RunLimits `json:",omitzero"`
	// Doubted: the run has paused once since it seems not to work at all.
	Doubted bool `json:",omitempty"`
	// Accepted are the changes of inputs that were accepted, before anything
	// that counts was measured.
	Accepted []string `json:",omitempty"`
	// Retried says which trials had failed and were tried again, by whose wish.
	Retried []string `json:",omitempty"`
	// Alerts are those that are raised, in their order; Silent is until when
	// a rule is muted.
	Alerts []Alert
	Silent map[string]time.Time `json:",omitempty"`

	Stage       string
	StageRecord []StageRecord
	Plan        *Plan
	Snapshot    string // of the files that attempts get; the built ones if there is a build
	BuildFailed string
	NullTests   *EvaluationChecked // nil: the evaluation was not checked yet, or there is none

	// Prior are earlier outcomes that the search learns from.
	Prior []Prior `json:",omitempty"`

	Hypotheses  []*Hypothesis
	Experiments []*Experiment // in the order of their proposals
	Exhausted   bool          // the search found nothing more to try
	Enough      string        `json:",omitempty"` // why it ended before every configuration was tried
	Chosen      *BestChosen   `json:",omitempty"` // nil: by the means alone, or not yet
	// Weighed is how many experiments of an open run have a verdict, Closing who has closed
	// it, and Notes what people and agents said.
	Weighed int    `json:",omitempty"`
	Closing string `json:",omitempty"`
	Notes   []Note `json:",omitempty"`
	// Ablations are the best without each of its changes; nil: none were made.
	Ablations []Ablation `json:",omitempty"`
	Designed  *ValidationDesigned
	Again     *Reproduction
	Gates     []GateEvaluated
	Review    []Check

	// Pending are the decided actions without an outcome, in their order.
	Pending []Action
	// Frontier is the index of the first experiment whose search is not over.
	Frontier int
	// Open are the trials that are not complete, in their order.
	Open []*Trial
	// Tally counts attempts and complete trials, so that callers need not.
	Tally Tally
	// Checkpoints are the named positions, in their order.
	Checkpoints []Checkpoint
	Marked      Marked

	experiments map[string]*Experiment
	trials      map[string]*Trial
	tried       map[string]string // by parameters' keys: the first experiment with them
	perArm      map[int]int
	repeats     map[string][]*Experiment // by the experiment that they repeat
}

// Tally are counts over the whole run.
type Tally struct {
	Attempts  int
	Trials    int // complete ones
	Succeeded int
	Failed    int
	Wall      float64 // seconds of wall time over all attempts
	CPU       float64 // seconds of processor time over all attempts
	Memory    int64   // bytes, the most that any attempt used
	Disk      int64   // bytes, the most that any attempt left
	GPUMemory int64   // bytes, the most of a device that any attempt held
	Models    ModelUse
	// Recent says of the attempts that ended last whether each succeeded.
	Recent []bool
}

// StageRecord is when a stage was.
type StageRecord struct {
	Name    string
	Started time.Time
	Ended   time.Time // zero: not yet
	Seq     int64     // of the event that ended it
	Cut     string
	Driven  time.Duration // of the run, when the stage began
}

// Plan is the design that planning made.
type Plan struct {
	Experiments int            `json:"experiments"` // at most
	Seeds       []int64        `json:"seeds"`       // of each experiment's search trials
	Fresh       []int64        `json:"fresh"`       // of validation
	Arms        []study.Params `json:"arms"`        // what proposals fix in turn; the first fixes nothing
	// Search is how the experiments are searched for; nil: by the study's method.
	Search           *SearchPlan `json:"search,omitempty"`
	SearchTrials     int         `json:"search_trials"`
	ValidationTrials int         `json:"validation_trials"` // at most
	// Longest is the time the plan takes if every attempt uses all of its own.
	Longest study.Duration `json:"longest"`
	Refused string         `json:"refused,omitempty"` // why the plan cannot be carried out
}

// SearchPlan is the method of a search and why it was chosen.
type SearchPlan struct {
	Method string `json:"method"`
	Why    string `json:"why"`
}

// Hypothesis is a claim on its way to a verdict.
type Hypothesis struct {
	study.Hypothesis
	Derived    string
	Added      int64 // seq of the fork that added it; 0: it was stated before anything was measured
	Comparison *Comparison
	Judgment   *Judgment
}

// Experiment is one configuration.
type Experiment struct {
	ExperimentProposed
	Index  int
	Trials []*Trial
	// Value is the mean of the objective, or of the first of several, over the search's seeds;
	// nil unless every one of these trials succeeded, ran to its end and has every metric that
	// the study needs.
	Value *float64
	// Means has the same mean for every metric that all these trials have.
	Means map[string]float64
	// Outside: a fork has changed the parameters' ranges, and its configuration is in them no
	// more. It stands for nothing.
	Outside bool `json:",omitempty"`
	// Weighing is of an open run: how it compares with the best before it; nil: not yet.
	Weighing *Weighing         `json:",omitempty"`
	Vetoed   *ExperimentVetoed `json:",omitempty"`
	// Learned is what the remedies of the search trials of this experiment and
	// of those before it did, by class and remedy; nil: nothing yet.
	Learned map[string]RemedyStats `json:",omitempty"`
	waiting int                    // search trials that are not complete
	sum     []byte                 // digest of all this, where it has not changed since; see State.Digest
}

// Ended reports whether the run has come to its final state.
func (s *State) Ended() bool { return s.Status.Ended() }

// Ended reports whether it is the last status of a run.
func (s Status) Ended() bool { return s == Completed || s == Failed || s == Cancelled }

// Experiment looks an experiment up; nil if there is none of that id.
func (s *State) Experiment(id string) *Experiment { return s.experiments[id] }

// Trial looks a trial up; nil if there is none of that id.
func (s *State) Trial(id string) *Trial { return s.trials[id] }

// Tried reports whether a configuration was proposed already.
func (s *State) Tried(p study.Params) bool { return s.First(p) != "" }

// First is the experiment that was the first with a configuration; "" if there is none.
func (s *State) First(p study.Params) string { return s.tried[p.Key()] }

// Proposed is how many configurations an arm has proposed.
func (s *State) Proposed(arm int) int { return s.perArm[arm] }

// Best is the experiment that was chosen, or the one with the best value of the objective; see
// BestOf. nil: none keeps to the constraints, or there are several objectives and nothing was
// chosen yet.
func (s *State) Best() *Experiment {
	if s.Created.Study.Open() {
		return s.Standing()
	}
	if s.Chosen != nil {
		return s.experiments[s.Chosen.Experiment]
	}
	st := s.Created.Study
	if st.Several() {
		return nil
	}
	if x := s.BestOf(s.Experiments, st.Objective.Metric, st.Objective); x != nil && s.Excess(x) == 0 {
		return x
	}
	return nil
}

// mostExcess is the most that breaking one constraint counts.
const mostExcess = 1e9

// Excess is by how much the means of an experiment break the study's constraints, each as a
// part of its bound; 0: it keeps to all of them.
func (s *State) Excess(x *Experiment) (sum float64) {
	for _, c := range s.Created.Study.Constraints {
		sum += min(c.Excess(x.Means[c.Metric])/c.Scale(), mostExcess)
	}
	return sum
}
