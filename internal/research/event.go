package research

import (
	"encoding/json"
	"fmt"
	"time"

	"ratchet/study"
)

// Event is one thing that happened in a run.
type Event struct {
	Seq  int64     // its number in the journal, from 1
	Time time.Time // UTC; never before the event in front of it
	Data Payload
}

// Payload is what happened. A payload's type and version name its form in the
// journal for good: a form is never changed, only superseded by a new version.
type Payload interface {
	Type() string
	Version() int
}

// Encode gives a payload's JSON form.
func Encode(p Payload) (json.RawMessage, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s event: %w", p.Type(), err)
	}
	return b, nil
}

// UnknownEventError says that this release cannot read an event.
type UnknownEventError struct {
	Type    string
	Version int
}

func (e *UnknownEventError) Error() string {
	return fmt.Sprintf("event %s version %d is not known to this release; use the release that wrote it, or a newer one", e.Type, e.Version)
}

// Decode reads a payload back. An unknown type or version is an
// UnknownEventError, never a guess.
func Decode(kind string, version int, payload json.RawMessage) (Payload, error) {
	decode, ok := decoders[form{kind, version}]
	if !ok {
		return nil, &UnknownEventError{kind, version}
	}
	p, err := decode(payload)
	if err != nil {
		return nil, fmt.Errorf("decoding a %s event: %w", kind, err)
	}
	return p, nil
}

// v1 gives a payload type its version; a form that supersedes another embeds
// a v2.
type v1 struct{}

func (v1) Version() int { return 1 }

// RunCreated begins every journal.
type RunCreated struct {
	v1
	Run       string       `json:"run"`
	Study     *study.Study `json:"study"`
	StudyFile string       `json:"study_file"` // digest of the file as it was given
	Folder    string       `json:"folder"`     // the study file's folder, absolute
	Snapshot  string       `json:"snapshot"`   // digest of the manifest of the program's files
	Inputs    string       `json:"inputs,omitempty"`
	// Evaluation is the digest of the manifest of the evaluation's files; empty:
	// there is none.
	Evaluation  string `json:"evaluation,omitempty"`
	Environment string `json:"environment"` // digest of environment.json
	Seed        int64  `json:"seed"`
	// Draw is how seeds are drawn and trials named; empty: as up to release 0.2.
	Draw      string `json:"draw,omitempty"`
	Isolation string `json:"isolation"`
	Output    string `json:"output"` // folder of the report, absolute
	// Prices are what the command line said of models' prices, and AllowUnpriced that
	// models without one may be called.
	Prices        map[string]study.ModelPrice `json:"prices,omitempty"`
	AllowUnpriced bool                        `json:"allow_unpriced,omitempty"`
	// Prior are earlier results that the search learns from.
	Prior   []Prior `json:"prior,omitempty"`
	Machine Machine `json:"machine"`
	Release string  `json:"release"`
}

// Machine is what attempts can use where the run was created.
type Machine struct {
	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"` // bytes
	GPUs   int   `json:"gpus"`
}

// EngineStarted says which process drives the run from here on. An engine
// that sees another's EngineStarted behind its own stops.
type EngineStarted struct {
	v1
	Engine  string `json:"engine"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Release string `json:"release"`
}

// EngineStopped says that the engine left the run on purpose.
type EngineStopped struct {
	v1
	Engine string `json:"engine"`
	Reason string `json:"reason"`
}

// StageStarted and StageCompleted bound a stage.
type StageStarted struct {
	v1
	Stage string `json:"stage"`
}

// StageCompleted ends a stage. Cut says why it ended before its plan did.
type StageCompleted struct {
	v1
	Stage string `json:"stage"`
	Cut   string `json:"cut,omitempty"`
}

// HypothesisStated puts a claim into the run before anything was measured.
// Derived names the parameter of a claim that the study did not state; its
// sides are fixed when the search is over.
type HypothesisStated struct {
	v1
	Hypothesis study.Hypothesis `json:"hypothesis"`
	Derived    string           `json:"derived,omitempty"`
}

// PlanMade is the design of the run.
type PlanMade struct {
	v1
	Plan Plan `json:"plan"`
}

// ActionDecided asks for an effect. It is in the journal before the effect
// begins.
type ActionDecided struct {
	v1
	Action Action `json:"action"`
}

// ProgramBuilt is the outcome of a Build action.
type ProgramBuilt struct {
	v1
	Action   string `json:"action"`
	Snapshot string `json:"snapshot,omitempty"` // digest of the manifest of the built files
	Failure  string `json:"failure,omitempty"`
	Log      string `json:"log,omitempty"` // digest
}

// EvaluationChecked is the outcome of a CheckEvaluation action: what the evaluation
// says of nothing. Refused says why it measures nothing; empty: it may.
type EvaluationChecked struct {
	v1
	Action  string     `json:"action"`
	Checks  []NullTest `json:"checks"`
	Refused string     `json:"refused,omitempty"`
}

// NullTest is how the evaluation of nothing ended.
type NullTest struct {
	Of      string             `json:"of"` // what was evaluated
	Class   Class              `json:"class"`
	Message string             `json:"message,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
}

// AttemptEnded is the outcome of a Try action.
type AttemptEnded struct {
	v1
	Action  string  `json:"action"`
	Attempt Attempt `json:"attempt"`
}

// AttemptCheckpointed says that what a trial keeps for its next attempt was
// stored: the newest of them is what the next attempt begins with.
type AttemptCheckpointed struct {
	v1
	Trial    string `json:"trial"`
	Attempt  string `json:"attempt"`
	Snapshot string `json:"snapshot"` // digest of the manifest of the files
	Size     int64  `json:"size"`     // bytes, of all files
}

// TrialCompleted says that a trial has no further attempt. Which attempt
// counts, and as what, is settled here for good.
type TrialCompleted struct {
	v1
	Trial   string `json:"trial"`
	Outcome Class  `json:"outcome"`
	Why     string `json:"why,omitempty"`
}

// ValidationDesigned fixes, before any validating trial, what is compared.
type ValidationDesigned struct {
	v1
	Best        string       `json:"best,omitempty"`
	Front       []string     `json:"front,omitempty"` // see BestChosen
	Seeds       []int64      `json:"seeds"`
	Comparisons []Comparison `json:"comparisons"`
}

// Comparison is a hypothesis with each side's tuned experiment.
type Comparison struct {
	Hypothesis string       `json:"hypothesis"`
	A          study.Params `json:"a"`
	B          study.Params `json:"b"`
	// ExperimentA and ExperimentB are empty where a side has no configuration
	// that succeeded.
	ExperimentA string `json:"experiment_a,omitempty"`
	ExperimentB string `json:"experiment_b,omitempty"`
	TunedOver   int    `json:"tuned_over"` // configurations tried for each side
}

// HypothesisJudged is the verdict on one hypothesis.
type HypothesisJudged struct {
	v1
	Action   string   `json:"action"`
	Judgment Judgment `json:"judgment"`
}

// ReproductionChecked compares a trial with its repetition from the record.
type ReproductionChecked struct {
	v1
	Reproduction Reproduction `json:"reproduction"`
}

// GateEvaluated says whether a gate holds.
type GateEvaluated struct {
	v1
	Gate   study.Gate `json:"gate"`
	Passed bool       `json:"passed"`
	Why    string     `json:"why,omitempty"`
}

// ReviewCompleted is the checklist that ends reporting.
type ReviewCompleted struct {
	v1
	Checks []Check `json:"checks"`
}

// Check is one line of the review.
type Check struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail"`
}

// PauseRequested and CancelRequested come from a person, by another process.
type PauseRequested struct {
	v1
	By string `json:"by"`
}

// CancelRequested asks to end the run for good.
type CancelRequested struct {
	v1
	By string `json:"by"`
}

// RunPaused says that nothing is in flight and why the run waits.
type RunPaused struct {
	v1
	Reason string `json:"reason"`
}

// RunResumed ends a pause. MoreTime is added to limits.run.time; Cost, Tokens
// and Calls, where they are not zero, take the place of those limits of the run.
type RunResumed struct {
	v1
	MoreTime study.Duration `json:"more_time,omitempty"`
	Cost     study.Money    `json:"cost,omitempty"`
	Tokens   int64          `json:"tokens,omitempty"`
	Calls    int64          `json:"calls,omitempty"`
}

// ModelsBlocked says that the run's model calls cannot go on before a person
// has mended something: a spent budget, a key that is refused. The attempts
// that were running were stopped before; they begin anew when the run is
// resumed.
type ModelsBlocked struct {
	v1
	Class Class  `json:"class"`
	Why   string `json:"why"`
}

// InputsChanged says that an input was not any more what the run's record has of
// it when an attempt ended: what the attempt measured is void and is nowhere. All
// that were running were stopped; they begin anew, without their checkpoints, when
// the run is resumed.
type InputsChanged struct {
	v1
	Attempt string `json:"attempt"`
	What    string `json:"what"` // which input, and how it differs
}

// InputsAccepted says that a person wants the run to go on with inputs that have
// changed. Nothing was measured yet on its timeline: what was is rolled back, so
// that nothing is compared across the change.
type InputsAccepted struct {
	v1
	Inputs string `json:"inputs"` // digest of their record
	What   string `json:"what"`
	By     string `json:"by"`
}

// RunCompleted ends a run for good.
type RunCompleted struct {
	v1
	Status Status `json:"status"`
	Why    string `json:"why,omitempty"`
	// Models is what all model calls were, with those that were in flight when
	// an engine died and that no attempt made again; nil: none were allowed.
	Models *ModelUse `json:"models,omitempty"`
}

func (RunCreated) Type() string          { return "run.created" }
func (CheckpointMade) Type() string      { return "checkpoint.made" }
func (RolledBack) Type() string          { return "run.rolled_back" }
func (RunForked) Type() string           { return "run.forked" }
func (AttemptCheckpointed) Type() string { return "attempt.checkpointed" }
func (EngineStarted) Type() string       { return "engine.started" }
func (EngineStopped) Type() string       { return "engine.stopped" }
func (StageStarted) Type() string        { return "stage.started" }
func (StageCompleted) Type() string      { return "stage.completed" }
func (HypothesisStated) Type() string    { return "hypothesis.stated" }
func (PlanMade) Type() string            { return "plan.made" }
func (ActionDecided) Type() string       { return "action.decided" }
func (ProgramBuilt) Type() string        { return "program.built" }
func (AttemptEnded) Type() string        { return "attempt.ended" }
func (TrialCompleted) Type() string      { return "trial.completed" }
func (ValidationDesigned) Type() string  { return "validation.designed" }
func (HypothesisJudged) Type() string    { return "hypothesis.judged" }
func (ReproductionChecked) Type() string { return "reproduction.checked" }
func (GateEvaluated) Type() string       { return "gate.evaluated" }
func (ReviewCompleted) Type() string     { return "review.completed" }
func (PauseRequested) Type() string      { return "pause.requested" }
func (CancelRequested) Type() string     { return "cancel.requested" }
func (RunPaused) Type() string           { return "run.paused" }
func (RunResumed) Type() string          { return "run.resumed" }
func (RunCompleted) Type() string        { return "run.completed" }
func (ModelsBlocked) Type() string       { return "models.blocked" }
func (InputsChanged) Type() string       { return "inputs.changed" }
func (EvaluationChecked) Type() string   { return "evaluation.checked" }
func (InputsAccepted) Type() string      { return "inputs.accepted" }

// form is how the payload of a type is written in a journal. Each type has
// versions of its own: a type whose form is superseded is here with both.
type form struct {
	kind    string
	version int
}

var decoders = func() map[form]func(json.RawMessage) (Payload, error) {
	m := map[form]func(json.RawMessage) (Payload, error){}
	decodes[RunCreated](m)
	decodes[CheckpointMade](m)
	decodes[RolledBack](m)
	decodes[RunForked](m)
	decodes[AttemptCheckpointed](m)
	decodes[EngineStarted](m)
	decodes[EngineStopped](m)
	decodes[StageStarted](m)
	decodes[StageCompleted](m)
	decodes[HypothesisStated](m)
	decodes[PlanMade](m)
	decodes[ActionDecided](m)
	decodes[ProgramBuilt](m)
	decodes[ExperimentProposed](m)
	decodes[SearchExhausted](m)
	decodes[AttemptEnded](m)
	decodes[TrialCompleted](m)
	decodes[TrialsRetried](m)
	decodes[PriorLearned](m)
	decodes[BestChosen](m)
	decodes[ExperimentWeighed](m)
	decodes[NoteMade](m)
	decodes[ExperimentVetoed](m)
	decodes[CloseRequested](m)
	decodes[AblationsMade](m)
	decodes[ValidationDesigned](m)
	decodes[HypothesisJudged](m)
	decodes[ReproductionChecked](m)
	decodes[GateEvaluated](m)
	decodes[ReviewCompleted](m)
	decodes[AlertRaised](m)
	decodes[AlertResolved](m)
	decodes[AlertsSilenced](m)
	decodes[PauseRequested](m)
	decodes[CancelRequested](m)
	decodes[RunPaused](m)
	decodes[RunResumed](m)
	decodes[RunCompleted](m)
	decodes[ModelsBlocked](m)
	decodes[InputsChanged](m)
	decodes[EvaluationChecked](m)
	decodes[InputsAccepted](m)
	return m
}()

func decodes[P Payload](m map[form]func(json.RawMessage) (Payload, error)) {
	var p P
	m[form{p.Type(), p.Version()}] = decode[P]
}

func decode[P Payload](b json.RawMessage) (Payload, error) {
	var p P
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, err
	}
	return p, nil
}
