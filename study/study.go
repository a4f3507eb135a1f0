package study

import (
	"fmt"
	"slices"
	"time"

	"ratchet/internal/yamlfile"
)

// Problems is the error of Parse: every mistake, in the order of the file.
type Problems = yamlfile.Problems

// Problem is one mistake in a study file, with its place and its remedy.
type Problem = yamlfile.Problem

// Version is the version of the study file that this package reads.
const Version = 1

// MaxSize is the largest study file that Parse accepts, in bytes. The parsed
// study stands whole in the first record of a run's journal, whose payload is
// limited to 64 KiB.
const MaxSize = 40 << 10

// Study is one study file, checked and with its defaults filled in. It is
// plain data: its JSON form is what the journal keeps.
type Study struct {
	Version  int     `json:"version"`
	Name     string  `json:"name"`
	Question string  `json:"question,omitempty"`
	Program  Program `json:"program"`
	// Evaluation is nil where the program reports its own metrics.
	Evaluation *Evaluation `json:"evaluation,omitempty"`
	// Objective is the first of several, or the only one.
	Objective Objective `json:"objective"`
	// Objectives are all where there are several, and Constraints what else a configuration
	// must keep to.
	Objectives  []Objective        `json:"objectives,omitempty"`
	Constraints []Constraint       `json:"constraints,omitempty"`
	Metrics     map[string]Extract `json:"metrics,omitempty"`
	Parameters  []Parameter        `json:"parameters,omitempty"`
	Hypotheses  []Hypothesis       `json:"hypotheses,omitempty"`
	Search      Search             `json:"search"`
	// Keep is the rule of an open run; nil: it is none.
	Keep       *Keep      `json:"keep,omitempty"`
	Validation Validation `json:"validation"`
	Gates      []Gate     `json:"gates"`
	Limits     Limits     `json:"limits"`
	Retries    Retries    `json:"retries"`
	// OnResource changes what an attempt gets after one that ran out of
	// memory, disk or the like; nil: nothing.
	OnResource *OnResource `json:"on_resource,omitempty"`
	// Checkpoints say when a position of the run gets a name of its own accord,
	// besides each stage's end.
	Checkpoints Checkpoints `json:"checkpoints,omitzero"`
	Executor    string      `json:"executor"`
	Parallel    int         `json:"parallel"`
	Model       string      `json:"model,omitempty"`

	// Models are what programs may ask of language models; nil: nothing.
	Models *Models `json:"models,omitempty"`
	// Tools are what programs may fetch besides; nil: nothing, where they have
	// no network of the machine's.
	Tools *Tools `json:"tools,omitempty"`

	asked     map[string]bool   // keys that the file itself has
	surprises yamlfile.Problems // what is read and may not be meant
}

// Asked reports whether the study file itself has a key, like
// limits.attempt.network, or leaves it to the default. Only a study that was
// parsed from a file knows.
func (s *Study) Asked(key string) bool { return s.asked[key] }

// Once reports whether the study has no objective: its command runs once, to
// its end, and nothing is compared.
func (s *Study) Once() bool { return s.Objective.Metric == "" }

// Models are what programs may ask of language models, through the gateway.
type Models struct {
	// Allow are the models that may be called, provider/model with * and ? for
	// any part; empty: all that there is a provider for.
	Allow  []string `json:"allow,omitempty"`
	Replay string   `json:"replay,omitempty"` // resume (default), strict-replay or off
	// IgnoreFields and IgnoreText say what of a request does not make it
	// another one: places (JSON pointers), and parts of texts (regular
	// expressions).
	IgnoreFields []string `json:"ignore_fields,omitempty"`
	IgnoreText   []string `json:"ignore_text,omitempty"`
	// ClientTools are types of tools in requests that programs run themselves, besides
	// those that are known.
	ClientTools []string `json:"client_tools,omitempty"`
}

// Tools are hosts that programs may reach through the gateway, as a forward
// proxy. With Record, calls that go to the addresses of model providers are
// model calls, too.
type Tools struct {
	Hosts  []string `json:"hosts,omitempty"` // with * and ? for any part
	Record bool     `json:"record,omitempty"`
}

// Spend bounds what model calls cost. Zero means no limit.
type Spend struct {
	Cost   Money `json:"cost,omitempty"`
	Tokens int64 `json:"tokens,omitempty"`
	Calls  int64 `json:"calls,omitempty"`
}

// Program is what an attempt executes.
type Program struct {
	// Command holds the arguments; {name} stands for a parameter, {seed} for
	// the trial's seed, {{ and }} for braces.
	Command []string `json:"command"`
	// Files are copied into each attempt's working folder; paths relative to
	// the study file, below its folder.
	Files []string `json:"files,omitempty"`
	// Editable are those of them that proposals to an open run may change.
	Editable []string `json:"editable,omitempty"`
	// Inputs are seen read-only where the key says; never copied.
	Inputs []Input `json:"inputs,omitempty"`
	// Render are files made for each trial from templates, and Config files of which
	// each trial's parameters override keys.
	Render []Written `json:"render,omitempty"`
	Config []Written `json:"config,omitempty"`
	// Build runs once per code snapshot, before the first attempt.
	Build []string `json:"build,omitempty"`
	// Environment is a virtual environment, conda prefix or the like, seen
	// read-only, its bin folder first in PATH.
	Environment string `json:"environment,omitempty"`
	// Env are variables of its environment.
	Env []EnvVar `json:"env,omitempty"`
	// Outputs are files and folders of the working folder that are kept as
	// artifacts, besides the output folder; . is all that is new or changed.
	Outputs []string `json:"outputs,omitempty"`
	// Checkpoint is a folder of the working folder that survives attempts of
	// the same trial: it is the attempt's checkpoint folder.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// Evaluation measures what a program left, apart from it: a second command, in a
// sandbox of its own, whose files and inputs no program sees. Then only its
// metrics count.
type Evaluation struct {
	Command []string      `json:"command"`
	Files   []string      `json:"files,omitempty"`
	Inputs  []Input       `json:"inputs,omitempty"`
	Limits  AttemptLimits `json:"limits"`
	// Null is a command that does nothing to the purpose, run as the program is:
	// an evaluation that what it leaves passes measures nothing.
	Null []string `json:"null,omitempty"`
}

// AllInputs are the program's inputs and, behind them, the evaluation's.
func (s *Study) AllInputs() []Input {
	if s.Evaluation == nil {
		return s.Program.Inputs
	}
	return slices.Concat(s.Program.Inputs, s.Evaluation.Inputs)
}

// Input is a file or folder that programs may read.
type Input struct {
	Path   string `json:"path"`           // where the program sees it, relative to its working folder
	Source string `json:"source"`         // where it is, relative to the study file, or absolute
	Hash   string `json:"hash,omitempty"` // "full": digest the content whatever its size
}

// Extract says where to read a metric of a program that writes none itself.
type Extract struct {
	Stdout string `json:"stdout,omitempty"` // regular expression with one group; its last match counts
	File   string `json:"file,omitempty"`   // JSON file, relative to the working folder
	Key    string `json:"key,omitempty"`    // path into File, names separated by dots
	Use    string `json:"use,omitempty"`    // last (default), best or mean
}

// Hypothesis is a falsifiable claim: under A the metric stands in the stated
// relation to what it is under B.
type Hypothesis struct {
	ID     string  `json:"id"`
	Claim  string  `json:"claim"`
	A      Params  `json:"a"`
	B      Params  `json:"b"`
	Expect string  `json:"expect"`           // Greater or Less
	Metric string  `json:"metric,omitempty"` // default: the objective's
	By     float64 `json:"by,omitempty"`     // smallest difference that matters, in the metric's unit
	// Exact says that the values do not depend on the seed: they are compared as
	// they are, without statistics.
	Exact bool `json:"exact,omitempty"`
}

// The two relations that a hypothesis can expect.
const (
	Greater = "a > b"
	Less    = "a < b"
)

// Search says how parameters are proposed.
type Search struct {
	Method      string `json:"method"`
	Experiments int    `json:"experiments"` // configurations to try
	Seeds       int    `json:"seeds"`       // trials of each
	// Stop is the rule by which trials that fall behind are stopped; empty: none is, unless
	// Method is Halving.
	Stop string `json:"stop,omitempty"`
	// At the steps MinStep·Eta^k trials are compared. By successive halving one goes on only
	// if it is among the best 1/Eta; of Brackets groups of experiments, each begins to compare
	// one such step later than the one before.
	Eta      int `json:"eta,omitempty"`
	MinStep  int `json:"min_step,omitempty"`
	Brackets int `json:"brackets,omitempty"`
	// Error is the chance that a trial is stopped which would have become the best, by the
	// rule StopCurve.
	Error float64 `json:"error,omitempty"`
	// Enough ends the search when no experiment is expected to improve the objective by as
	// much; 0: never.
	Enough float64 `json:"enough,omitempty"`
	// Start are configurations, or parts of some, to try first.
	Start []Params `json:"start,omitempty"`
	// LearnFrom names earlier results that the search learns from: runs of this home, and
	// results.json and tables in CSV, relative to the study file's folder.
	LearnFrom []string `json:"learn_from,omitempty"`
}

// Stops is the rule by which trials are stopped; empty: none is.
func (s Search) Stops() string {
	if s.Method == Halving && s.Stop == "" {
		return StopHalving
	}
	return s.Stop
}

// The rules by which trials are stopped.
const (
	StopHalving = "halving"
	StopMedian  = "median"
	StopCurve   = "curve"
)

// The search methods.
const (
	Auto           = "auto" // the plan chooses one of the others
	Grid           = "grid"
	Random         = "random"
	LatinHypercube = "lhs"
	Sobol          = "sobol"
	TPE            = "tpe"
	GP             = "gp"
	CMA            = "cma"
	NSGA           = "nsga"
	Halving        = "halving"
	Tree           = "tree"
	Open           = "open" // proposals come from outside
)

// Validation says how hypotheses are judged.
type Validation struct {
	Seeds      int     `json:"seeds"` // fresh ones, for each side
	Alpha      float64 `json:"alpha"`
	Correction string  `json:"correction"` // holm, bonferroni or none
	// Front is how many configurations of the Pareto front are measured on the fresh seeds, at
	// most; 0: there is one objective.
	Front int `json:"front,omitempty"`
}

// Limits bound what an attempt, a stage and a run may use.
type Limits struct {
	Attempt AttemptLimits `json:"attempt"`
	Stage   StageLimits   `json:"stage,omitzero"`
	Run     RunLimits     `json:"run,omitzero"`
	// Model bounds the calls of single models, by provider/model.
	Model map[string]Spend `json:"model,omitempty"`
}

// AttemptLimits bound one attempt, its whole process tree together.
type AttemptLimits struct {
	Time   Duration `json:"time"`   // wall time
	Grace  Duration `json:"grace"`  // between SIGTERM and SIGKILL
	Stall  Duration `json:"stall"`  // without output and without CPU use; 0: never
	Memory Bytes    `json:"memory"` // of all its processes
	CPUs   float64  `json:"cpus"`
	GPUs   float64  `json:"gpus"`
	// GPUMemory is what it needs of each of its GPUs; 0: unspecified.
	GPUMemory Bytes  `json:"gpu_memory,omitempty"`
	Disk      Bytes  `json:"disk"`   // blocks below its folders
	Output    Bytes  `json:"output"` // kept of each of stdout and stderr
	Processes int    `json:"processes"`
	Network   string `json:"network"` // NetworkNone or NetworkHost
}

// What of the network an attempt sees.
const (
	NetworkNone = "none"
	NetworkHost = "host"
)

// StageLimits bound one stage.
type StageLimits struct {
	Time Duration `json:"time,omitempty"`
	Spend
}

// RunLimits bound a run. Zero means no limit.
type RunLimits struct {
	Time        Duration `json:"time,omitempty"`
	Cost        Money    `json:"cost,omitempty"`
	Tokens      int64    `json:"tokens,omitempty"`
	Calls       int64    `json:"calls,omitempty"`
	Experiments int      `json:"experiments,omitempty"`
}

// Retries bound the attempts of a trial.
type Retries struct {
	Max int `json:"max"` // after the first attempt
}

// Checkpoints are intervals. Zero means none of that kind.
type Checkpoints struct {
	Experiments int      `json:"experiments,omitempty"` // done since the last one
	Every       Duration `json:"every,omitempty"`       // driven since the last one
	// Attempt is how often what a running attempt keeps in its own checkpoint
	// folder is stored.
	Attempt Duration `json:"attempt,omitempty"`
}

// Parameter looks up a parameter of the study by name.
func (s *Study) Parameter(name string) (Parameter, bool) {
	for _, p := range s.Parameters {
		if p.Name == name {
			return p, true
		}
	}
	return Parameter{}, false
}

// Fit is the part of a configuration that the study's space has, or why it has none: a
// parameter is missing, or has a value that it cannot take.
func (s *Study) Fit(p Params) (fits Params, why string) {
	fits = Params{}
	for _, d := range s.Parameters {
		if !d.Active(fits) {
			continue
		}
		v, ok := p[d.Name]
		switch {
		case !ok:
			return nil, "it has no " + d.Name
		case !d.Allows(v):
			return nil, fmt.Sprintf("its %s is %s", d.Name, FormatValue(v))
		}
		fits[d.Name] = v
	}
	return fits, ""
}

// MetricOf is the metric that h is about.
func (s *Study) MetricOf(h Hypothesis) string {
	if h.Metric != "" {
		return h.Metric
	}
	return s.Objective.Metric
}

// UseOf says which of a metric's reported values counts: last, best or mean.
func (s *Study) UseOf(metric string) string {
	if e, ok := s.Metrics[metric]; ok && e.Use != "" {
		return e.Use
	}
	if o := s.GoalOf(metric); o.Metric == metric && o.Use != "" {
		return o.Use
	}
	return "last"
}

// defaults is the study that a file's keys are laid over.
func defaults() *Study {
	return &Study{
		Version: Version, asked: map[string]bool{},
		Search: Search{Method: Auto, Experiments: 20, Seeds: 1},
		Validation: Validation{
			Seeds: 10, Alpha: 0.05, Correction: "holm",
		},
		Limits: Limits{Attempt: AttemptLimits{
			Time: Duration(time.Hour), Grace: Duration(10 * time.Second),
			Memory: 4 << 30, CPUs: 1, Disk: 1 << 30, Output: 4 << 20, Processes: 256,
			Network: NetworkNone,
		}},
		Retries:     Retries{Max: 3},
		Checkpoints: Checkpoints{Experiments: 50, Every: Duration(30 * time.Minute), Attempt: Duration(10 * time.Minute)},
		Executor:    "local",
		Parallel:    1,
	}
}
