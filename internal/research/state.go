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

	Hypotheses  []*Hypothesis
	Experiments []*Experiment // in the order of their proposals
	Exhausted   bool          // the search found nothing more to try
	Designed    *ValidationDesigned
	Again       *Reproduction
	Gates       []GateEvaluated
	Review      []Check

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
	tried       map[string]bool // parameters' keys
	perArm      map[int]int
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
	Experiments      int            `json:"experiments"` // at most
	Seeds            []int64        `json:"seeds"`       // of each experiment's search trials
	Fresh            []int64        `json:"fresh"`       // of validation
	Arms             []study.Params `json:"arms"`        // what proposals fix in turn; the first fixes nothing
	SearchTrials     int            `json:"search_trials"`
	ValidationTrials int            `json:"validation_trials"` // at most
	// Longest is the time the plan takes if every attempt uses all of its own.
	Longest study.Duration `json:"longest"`
	Refused string         `json:"refused,omitempty"` // why the plan cannot be carried out
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
	// Value is the mean of the objective over the search's seeds; nil unless
	// every one of these trials succeeded and ran to its end.
	Value *float64
	// Means has the same mean for every metric that all these trials have.
	Means map[string]float64
	// Learned is what the remedies of the search trials of this experiment and
	// of those before it did, by class and remedy; nil: nothing yet.
	Learned map[string]RemedyStats `json:",omitempty"`
	waiting int                    // search trials that are not complete
	sum     []byte                 // digest of all this, where it has not changed since; see State.Digest
}

// Why a trial is run.
const (
	ForSearch       = "search"
	ForValidation   = "validation"
	ForReproduction = "reproduction"
)

// Trial is one experiment with one seed.
type Trial struct {
	ID         string
	Experiment string
	Seed       int64
	Purpose    string
	Attempts   []Attempt
	Outcome    Class // empty: not complete
	Why        string
	Tries      int // attempts decided so far, the one in flight included
	// Renewed is after how many attempts a person last wanted it tried again: these count
	// no more towards giving up.
	Renewed int `json:",omitempty"`
	// Checkpoint is the digest of the newest stored snapshot of what the trial
	// keeps for its next attempt; empty: none.
	Checkpoint string
	// Remedy is of the newest attempt; nil: it is the first.
	Remedy *Remedy `json:",omitempty"`
	// Parameters and Limits are those of the newest attempt where on_resource
	// has changed them; nil: the experiment's and the study's.
	Parameters study.Params         `json:",omitempty"`
	Limits     *study.AttemptLimits `json:",omitempty"`
}

// Last is the attempt that counts, or nil.
func (t *Trial) Last() *Attempt {
	if len(t.Attempts) == 0 {
		return nil
	}
	return &t.Attempts[len(t.Attempts)-1]
}

// Metrics are the values of a trial that succeeded; nil for any other.
func (t *Trial) Metrics() map[string]float64 {
	if t.Outcome != Succeeded || len(t.Attempts) == 0 {
		return nil
	}
	return t.Last().Metrics
}

// Point is one reported value.
type Point struct {
	Step  int     `json:"step"` // -1 where the line has none
	Value float64 `json:"value"`
}

// Attempt is one process that tried to complete a trial, and how it ended.
type Attempt struct {
	ID     string `json:"id"`
	Trial  string `json:"trial"`
	Number int    `json:"number"` // from 1
	Class  Class  `json:"class"`
	// Pattern is the known text by which its class was recognised; empty: it
	// was by its end alone.
	Pattern string `json:"pattern,omitempty"`
	// Certain says that the same would happen again, whatever the luck.
	Certain bool `json:"certain,omitempty"`
	// Wait is how long a server asked to be left alone, in seconds.
	Wait    float64            `json:"wait_s,omitempty"`
	Message string             `json:"message,omitempty"` // for a person; at most 2 KiB
	Exit    int                `json:"exit"`              // exit status; -1 after a signal
	Signal  string             `json:"signal,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Reported is what the program itself reported where an evaluation measured.
	Reported map[string]float64 `json:"reported,omitempty"`
	// Halted is the step at which successive halving ended it; 0: it ran to
	// its own end.
	Halted int `json:"halted,omitempty"`
	// Rungs are the objective's values at the steps of successive halving.
	Rungs []Point  `json:"rungs,omitempty"`
	Notes []string `json:"notes,omitempty"` // what was cut, skipped or wrong without failing it
	// Words are the last that one that failed wrote; at most 1 KiB.
	Words string `json:"words,omitempty"`
	// Remedy is what was different about it; nil: it is the first.
	Remedy *Remedy `json:"remedy,omitempty"`
	// Parameters and Limits are what it ran with, where on_resource had
	// changed them.
	Parameters study.Params         `json:"parameters,omitempty"`
	Limits     *study.AttemptLimits `json:"limits,omitempty"`
	// GPUs are the devices that it had, by their numbers on its host.
	GPUs    []int     `json:"gpus,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Usage   Usage     `json:"usage"`
	Host    string    `json:"host"`
	// Evidence is the digest of the manifest of everything it left: output,
	// metrics, artifacts.
	Evidence string `json:"evidence,omitempty"`
	// Lost: it vanished with its supervisor, or with the machine.
	Lost bool `json:"lost,omitempty"`
	// Models is what its model calls were; nil: it made none.
	Models *ModelUse `json:"models,omitempty"`
}

// ModelUse is what model calls used.
type ModelUse struct {
	Calls   int     `json:"calls"`              // that were sent to a provider
	Again   int     `json:"replayed,omitempty"` // answered out of the record
	Tokens  int64   `json:"tokens,omitempty"`   // in and out
	USD     float64 `json:"usd,omitempty"`
	Head    string  `json:"head,omitempty"` // hash of the last record of the run's calls
	HeadSeq int64   `json:"head_seq,omitempty"`
}

func (u *ModelUse) add(o *ModelUse) {
	if o == nil {
		return
	}
	u.Calls += o.Calls
	u.Again += o.Again
	u.Tokens += o.Tokens
	u.USD += o.USD
}

// Usage is what an attempt used, its process tree together.
type Usage struct {
	Wall   float64 `json:"wall_s"`                // seconds
	CPU    float64 `json:"cpu_s"`                 // seconds, user and system
	Memory int64   `json:"memory_bytes"`          // at most, at any time
	Disk   int64   `json:"disk_bytes"`            // blocks at the end
	Read   int64   `json:"read_bytes,omitempty"`  // from disks
	Write  int64   `json:"write_bytes,omitempty"` // to disks
	// GPUMemory is what one of its devices held at most, where it had them
	// alone; 0: unknown.
	GPUMemory int64 `json:"gpu_memory_bytes,omitempty"`
}

// Add adds what another process used.
func (u *Usage) Add(o Usage) {
	u.Wall += o.Wall
	u.CPU += o.CPU
	u.Memory = max(u.Memory, o.Memory)
	u.Disk = max(u.Disk, o.Disk)
	u.Read += o.Read
	u.Write += o.Write
}

// Judgment is what the statistics conclude of a hypothesis. How it comes about
// is in docs/statistics.md.
type Judgment struct {
	Hypothesis string      `json:"hypothesis"`
	Verdict    string      `json:"verdict"`
	Why        string      `json:"why"`
	N          int         `json:"n"`        // pairs
	Effect     *float64    `json:"effect"`   // mean of a − b
	Interval   *[2]float64 `json:"interval"` // of it, at the level 1 − alpha
	P          *float64    `json:"p"`        // two-sided
	// PAdjusted is P times alpha over Level.
	PAdjusted *float64 `json:"p_adjusted"`
	Test      string   `json:"test"`
	Pairs     []Pair   `json:"pairs"`
	Grounds
}

// Grounds are what a verdict rests on beside its figures. Verdicts of release 0.2
// and before have none.
type Grounds struct {
	Planned   int      `json:"planned,omitempty"` // pairs
	LostA     int      `json:"lost_a,omitempty"`  // seeds for which a has no value
	LostB     int      `json:"lost_b,omitempty"`
	Statistic *float64 `json:"statistic,omitempty"` // Student's t
	DF        int      `json:"df,omitempty"`
	Skewness  *float64 `json:"skewness,omitempty"`
	Zeros     int      `json:"zeros,omitempty"` // differences that are zero
	Ties      int      `json:"ties,omitempty"`  // others that are as large as another
	// Level is the share of alpha that the decision was made at; Adjusted is the
	// interval at 1 − Level, which the verdict is read off.
	Level    float64     `json:"level,omitempty"`
	Adjusted *[2]float64 `json:"adjusted_interval,omitempty"`
	Second   *Opinion    `json:"second,omitempty"`
	// Earlier are the looks at the claims before this one, in the run itself and
	// in those it shares a past with.
	Earlier []Look `json:"earlier,omitempty"`
	// Replications are verdicts on the same claim in other runs of the home, with
	// other seeds.
	Replications []Look `json:"replications,omitempty"`
}

// Opinion is a second test, which is shown beside the one that decides.
type Opinion struct {
	Test      string  `json:"test"`
	Statistic float64 `json:"statistic"`
	P         float64 `json:"p"`     // two-sided
	Above     int     `json:"above"` // seeds at which a is above b
	Below     int     `json:"below"`
}

// Look is a verdict that was given before.
type Look struct {
	Run      string      `json:"run"`
	Seq      int64       `json:"seq"` // of the record with the verdict
	Verdict  string      `json:"verdict"`
	N        int         `json:"n"`
	Effect   *float64    `json:"effect"`
	P        *float64    `json:"p"`
	Adjusted *[2]float64 `json:"adjusted_interval,omitempty"`
}

// The verdicts.
const (
	Supported = "supported"
	Refuted   = "refuted"
	Undecided = "undecided"
)

// Pair are the two sides' values for one seed.
type Pair struct {
	Seed int64   `json:"seed"`
	A    float64 `json:"a"`
	B    float64 `json:"b"`
}

// Reproduction compares a trial with its repetition from the record alone.
type Reproduction struct {
	Trial      string             `json:"trial"`
	Repetition string             `json:"repetition"`
	Reproduces bool               `json:"reproduces"`
	Why        string             `json:"why"`
	First      map[string]float64 `json:"first,omitempty"`
	Second     map[string]float64 `json:"second,omitempty"`
}

// ActionKind is the kind of an effect.
type ActionKind string

// The effects that a run asks for.
const (
	Build ActionKind = "build" // build the program's files
	// CheckEvaluation has the evaluation measure what a program leaves that does
	// nothing.
	CheckEvaluation ActionKind = "check-evaluation"
	Propose         ActionKind = "propose" // ask the search for the next configuration
	Try             ActionKind = "try"     // execute an attempt of a trial
	Judge           ActionKind = "judge"   // ask the statistics for the verdicts
)

// Action is an effect that was decided. Its ID is derived from what it does,
// so that carrying it out again is recognised.
type Action struct {
	ID         string     `json:"id"`
	Kind       ActionKind `json:"kind"`
	Index      int        `json:"index,omitempty"`      // Propose: of the experiment, from 0
	Experiment string     `json:"experiment,omitempty"` // Try
	Trial      string     `json:"trial,omitempty"`      // Try
	Seed       int64      `json:"seed,omitempty"`       // Try
	Purpose    string     `json:"purpose,omitempty"`    // Try
	Attempt    int        `json:"attempt,omitempty"`    // Try: from 1
	NotBefore  time.Time  `json:"not_before,omitzero"`  // Try: end of the back-off
	Remedy     *Remedy    `json:"remedy,omitempty"`     // Try: of an attempt after the first
	// Parameters and Limits are of a Try where on_resource has changed them.
	Parameters study.Params         `json:"parameters,omitempty"`
	Limits     *study.AttemptLimits `json:"limits,omitempty"`
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
func (s *State) Tried(p study.Params) bool { return s.tried[p.Key()] }

// Proposed is how many configurations an arm has proposed.
func (s *State) Proposed(arm int) int { return s.perArm[arm] }

// Best is the experiment with the best value of the objective, the earliest
// of equals; nil if none has one.
func (s *State) Best() *Experiment {
	var best *Experiment
	for _, e := range s.Experiments {
		if e.Value != nil && (best == nil || s.Created.Study.Objective.Better(*e.Value, *best.Value)) {
			best = e
		}
	}
	return best
}
