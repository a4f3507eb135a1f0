package ratchet

import (
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/engine"
	"ratchet/internal/environment"
	"ratchet/internal/executor"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/maintenance"
	"ratchet/internal/monitor"
	"ratchet/internal/objects"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/settings"
	"ratchet/internal/shim"
	"ratchet/internal/view"
	"ratchet/internal/watching"
	"ratchet/study"
)

// RunOptions say how a run is made of a study.
type RunOptions = engine.RunOptions

// Pricing is what a person says of the prices of models.
type Pricing = engine.Pricing

// Isolation is how much stands between a program and the machine.
type Isolation = sandbox.Isolation

// The levels of isolation: walls and limits, or limits alone.
const (
	Strict  = sandbox.Strict
	Process = sandbox.Process
)

// DriveOptions say how a run is driven.
type DriveOptions struct {
	// OnInterrupt says what becomes of running attempts when ctx ends: Leave, the
	// default, to be picked up later, or Stop.
	OnInterrupt string
	MoreTime    time.Duration // added to limits.run.time of a run that paused for it
	// Cost, Tokens and Calls take the place of those limits of the run; 0: they stay.
	Cost   study.Money
	Tokens int64
	Calls  int64
	// AcceptInputs names who wants the run to go on although its inputs have changed,
	// with all that was measured rolled back; "": no one.
	AcceptInputs string
	// Isolation, AllowInputs and Env accept what a run that was restored would do. Env
	// are names of variables that its programs get from this process's environment.
	Isolation   Isolation
	AllowInputs []string
	Env         []string
	// Pricing says, for as long as this process drives the run, what models cost that
	// nothing else has a price of.
	Pricing
	// Warn is called with what failed without harm to the run, without secrets; nil:
	// they are dropped.
	Warn func(error)
	// Observe is called with every step of the run once it is durable, one at a time;
	// the run waits for it. nil: steps are not reported.
	Observe func(Progress)
}

// ParseIsolation reads a level of isolation; "" is Strict.
func ParseIsolation(s string) (Isolation, error) { return sandbox.ParseIsolation(s) }

// What becomes of running attempts when the engine leaves.
const (
	Leave = engine.Leave
	Stop  = engine.Stop
)

// The states of a run.
const (
	Running   = research.Running
	Paused    = research.Paused
	Completed = research.Completed
	Failed    = research.Failed
	Cancelled = research.Cancelled
)

// Damaged is the status, in a list, of a run that cannot be read.
const Damaged = view.Damaged

// What is known of runs.
type (
	Status       = view.Status         // where a run stands
	FrontPoint   = view.FrontPoint     // an experiment of a Pareto front
	Progress     = view.Progress       // a step of a run that is driven
	Record       = view.Record         // a record of a run's journal
	LogLine      = view.LogLine        // a line that an attempt wrote
	Exposure     = view.Exposure       // what stands open to a run's programs
	Outside      = environment.Outside // what a run's programs see from outside
	Results      = report.Results      // what a run found
	Hypothesis   = report.Hypothesis   // a claim in Results, with its verdict and where that comes from
	Checkpoint   = history.Checkpoint
	Origin       = research.Origin // where a fork comes from
	Alert        = research.Alert
	AlertRecord  = history.AlertRecord // an alert, and when it was over
	Health       = view.Health         // how well a run and its machine are
	HealthScore  = monitor.Health
	Costs        = report.Costs
	Calls        = view.Calls // the model calls of a run
	Call         = view.Call
	CallDiff     = ledger.Diff
	Ability      = shim.Ability     // something that this machine can do, or cannot
	Outcome      = executor.Outcome // what an attempt left
	Garbage      = maintenance.Garbage
	DiskUse      = maintenance.DiskUse
	ModelSummary = ledger.Summary // what model calls come to
	Refusal      = ledger.Refusal // what programs asked for and did not get
)

// Backups and verification.
type (
	BackupPlace        = maintenance.BackupPlace
	BackupPolicy       = maintenance.BackupPolicy // where, how often, and how many stay
	BackupManifest     = backup.Manifest
	RestoreOptions     = maintenance.RestoreOptions
	Restored           = maintenance.Restored
	Verification       = maintenance.Verification
	Repaired           = maintenance.Repaired
	BackupKeep         = backup.Keep // how many backups are kept
	BackupVerification = backup.Verification
	Pruned             = backup.Pruned
)

// Wrap says how a command becomes the study of a run of its own, as `ratchet wrap`
// makes it.
type Wrap = view.Wrap

// ErrInterrupted is the error of Run and Resume whose context ended: the run
// can be resumed.
var ErrInterrupted = engine.ErrInterrupted

// ErrBackupLocked is the error of reading a backup that is encrypted for another
// else.
var ErrBackupLocked = backup.ErrLocked

// Errors, as errors.As finds them. Mistakes in a study are study.Problems.
type (
	UnknownRunError    = home.UnknownRunError // a name stands for no run, or for several
	DrivenError        = home.DrivenError     // another process drives the run
	FencedError        = engine.FencedError   // another engine has taken the run over
	PositionError      = history.PositionError
	AmendError         = history.AmendError         // a fork's changes cannot be made
	NotYetError        = engine.NotYetError         // this release or this machine cannot do what a study asks for
	SecretError        = engine.SecretError         // there is a secret in a study file
	VariableError      = environment.VariableError  // a study's programs are to get a variable that is not granted, or not set
	KeysError          = environment.KeysError      // a study shows its programs a place of keys
	ArrivedError       = engine.ArrivedError        // a run that was restored would do what has not been accepted
	InputsError        = engine.InputsError         // inputs are not what they were
	NewerError         = maintenance.NewerError     // a restore would undo what a run has done since
	ConflictError      = journal.ConflictError      // another process has written to the journal
	RecordDamageError  = journal.RecordDamageError  // a record is not what was written
	ObjectDamageError  = objects.ObjectDamageError  // an object is not what was stored
	UnknownEventError  = research.UnknownEventError // this release cannot read an event
	UnknownTrialError  = view.UnknownTrialError
	UnknownRuleError   = watching.UnknownRuleError
	NeverDrivenError   = view.NeverDrivenError
	SettingsError      = settings.Error // settings contradict each other
	NoBackupsError     = backup.NoBackupsError
	UnknownBackupError = backup.UnknownBackupError
	BackupHeldError    = backup.HeldError // another process works on the backups in a place
	BackupDamageError  = backup.BackupDamageError
)

// Payload is what happened, in an Event: one of the types below.
type Payload = research.Payload

// What happens in a run; see docs/journal.md.
type (
	RunCreated          = research.RunCreated
	CheckpointMade      = research.CheckpointMade
	RolledBack          = research.RolledBack
	RunForked           = research.RunForked
	AttemptCheckpointed = research.AttemptCheckpointed
	EngineStarted       = research.EngineStarted
	EngineStopped       = research.EngineStopped
	StageStarted        = research.StageStarted
	StageCompleted      = research.StageCompleted
	HypothesisStated    = research.HypothesisStated
	PlanMade            = research.PlanMade
	ActionDecided       = research.ActionDecided
	ProgramBuilt        = research.ProgramBuilt
	ExperimentProposed  = research.ExperimentProposed
	SearchExhausted     = research.SearchExhausted
	AttemptEnded        = research.AttemptEnded
	TrialCompleted      = research.TrialCompleted
	ValidationDesigned  = research.ValidationDesigned
	HypothesisJudged    = research.HypothesisJudged
	ReproductionChecked = research.ReproductionChecked
	GateEvaluated       = research.GateEvaluated
	ReviewCompleted     = research.ReviewCompleted
	AlertRaised         = research.AlertRaised
	AlertResolved       = research.AlertResolved
	AlertsSilenced      = research.AlertsSilenced
	PauseRequested      = research.PauseRequested
	CancelRequested     = research.CancelRequested
	RunPaused           = research.RunPaused
	RunResumed          = research.RunResumed
	RunCompleted        = research.RunCompleted
	ModelsBlocked       = research.ModelsBlocked
	InputsChanged       = research.InputsChanged
	EvaluationChecked   = research.EvaluationChecked
	InputsAccepted      = research.InputsAccepted
	TrialsRetried       = research.TrialsRetried
	PriorLearned        = research.PriorLearned
	BestChosen          = research.BestChosen
	ExperimentWeighed   = research.ExperimentWeighed
	NoteMade            = research.NoteMade
	ExperimentVetoed    = research.ExperimentVetoed
	CloseRequested      = research.CloseRequested
	AblationsMade       = research.AblationsMade
)
