// Package executor is where attempts run: what a job is, as data, and what came
// of it. Package local runs jobs on this machine.
package executor

import (
	"context"
	"errors"
	"io"

	"ratchet/internal/metrics"
	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

// Job is a command to be executed, with all that this takes. It is data: any process that
// has it, and the objects that it names, can run it.
type Job struct {
	ID         string              `json:"id"` // the attempt's; names the job for good
	Run        string              `json:"run"`
	Experiment string              `json:"experiment,omitempty"`
	Trial      string              `json:"trial"`
	Attempt    int                 `json:"attempt"`
	Command    []string            `json:"command"`
	Parameters study.Params        `json:"parameters"`
	Seed       int64               `json:"seed"`
	Limits     study.AttemptLimits `json:"limits"`
	Isolation  sandbox.Isolation   `json:"isolation"`
	Inputs     []sandbox.Bind      `json:"inputs,omitempty"`
	ReadOnly   []string            `json:"read_only,omitempty"` // folders of the machine that the program needs
	Path       string              `json:"path"`                // PATH for the program
	Env        []string            `json:"env,omitempty"`       // more variables, NAME=value
	// Wanted are names of variables that the program gets from the environment of the
	// process that starts it. Their values are in no file.
	Wanted []string `json:"wanted,omitempty"`
	// Processors are those that it runs on, by their numbers; nil: any.
	Processors []int         `json:"processors,omitempty"`
	GPUs       []int         `json:"gpus,omitempty"` // the devices it gets, by their numbers; nil: all there are, if Limits asks for any
	Halt       *sandbox.Halt `json:"halt,omitempty"`
	Door       *sandbox.Door `json:"door,omitempty"` // leads to the gateway; nil: this job has none

	// Files is the digest of the manifest of the working folder's files.
	Files string `json:"files"`
	// Render and Config are files of the working folder that are made of others there,
	// with the parameters and the seed; see study.Render and study.Configure.
	Render []study.Written `json:"render,omitempty"`
	Config []study.Written `json:"config,omitempty"`
	// Beside are small files beside the working folder, by their names in the box.
	Beside map[string][]byte `json:"beside,omitempty"`
	// Checkpoint is the digest of the manifest of what the trial's earlier attempts
	// stored; "": nothing. It counts where there is no checkpoint folder yet.
	Checkpoint string `json:"checkpoint,omitempty"`
	// CheckpointAt is where in the working folder the checkpoint folder is seen,
	// besides its own place; "": nowhere.
	CheckpointAt string `json:"checkpoint_at,omitempty"`
	// SnapshotEvery is how often a job that runs alone stores what its trial keeps for
	// the next attempt while it runs; 0: only when it ends without success.
	SnapshotEvery study.Duration `json:"snapshot_every,omitempty"`
	// Evaluated is the digest of the manifest of the files that the command finds by
	// $RATCHET_EVALUATED; "": there are none. Such a job keeps nothing for another.
	Evaluated string `json:"evaluated,omitempty"`

	Keep    Keep                     `json:"keep"`
	Outputs []string                 `json:"outputs,omitempty"` // of the working folder, what is kept
	Metrics map[string]study.Extract `json:"metrics,omitempty"` // what is read from output and files
}

// Keep says what is kept of what a job leaves.
type Keep string

// What is kept, besides what the job printed and reported.
const (
	KeepOutput Keep = "output" // the output folder, and Outputs
	KeepTexts  Keep = "texts"  // nothing more
	KeepWork   Keep = "work"   // the working folder, as the files of later jobs
)

// Outcome is what came of a job. The objects that it names are durable.
type Outcome struct {
	shim.Ending
	Lost bool   `json:"lost,omitempty"` // it is gone without an ending
	Host string `json:"host"`
	// Evidence is the digest of the manifest of what was kept; "" where the job was
	// lost.
	Evidence string `json:"evidence,omitempty"`
	// Work is the digest of the manifest of the working folder, for KeepWork.
	Work string `json:"work,omitempty"`
	// Checkpoint is the digest of the manifest of what the trial keeps for its next
	// attempt, and its size in bytes, of a job that ran alone and did not succeed; else
	// Handle.Snapshot gives it. "": nothing.
	Checkpoint     string `json:"checkpoint,omitempty"`
	CheckpointSize int64  `json:"checkpoint_size,omitempty"`
	// Series is what the job reported.
	Series *metrics.Series `json:"series,omitempty"`
	// Notes say what could not be kept or read.
	Notes []string `json:"notes,omitempty"`
	// LastOut and LastErr are the ends of what the job printed, without secrets.
	LastOut string `json:"last_out,omitempty"`
	LastErr string `json:"last_err,omitempty"`
}

// ErrStopping is the error of Admit where the job is not to begin any more.
var ErrStopping = errors.New("the run stops")

// ErrChanging is the error of Snapshot where a program wrote to its checkpoint
// folder while that was read.
var ErrChanging = errors.New("it changes while it is read")

// Reservation is what a job is to have for itself.
type Reservation struct {
	Memory    int64   // bytes
	GPUMemory int64   // bytes of each of its devices
	Risk      float64 // the chance that the job fails: of those that wait, the least goes first
	// Stopping says that the job is not to begin any more.
	Stopping func() bool
}

// Executor runs the jobs of a run. Its methods are safe for concurrent use.
type Executor interface {
	// Probe says why jobs cannot be isolated so; nil: they can.
	Probe(level sandbox.Isolation) error
	// Admit waits until there is room for a job, and says which processors and GPUs it gets.
	// leave gives the room back.
	Admit(ctx context.Context, job *Job, r Reservation) (leave func(), err error)
	// Started reports whether a job of that id was started before, by this process
	// or another: it may run, have ended, or be lost.
	Started(ctx context.Context, id string) (bool, error)
	// Start starts a job, or attaches to it if it was started before.
	Start(ctx context.Context, job Job) (Handle, error)
	// Clean removes everything of a job, and ends it first if it still runs.
	// Cleaning twice, or what was never started, does nothing.
	Clean(ctx context.Context, id string) error
	// Jobs lists the ids of the jobs that were started and not cleaned.
	Jobs() ([]string, error)
	// Forget removes what trials keep for their next attempts.
	Forget(which func(trial string) bool) error
	// Output opens what a job that was started has printed until now: "stdout" or
	// "stderr". Secrets are in it.
	Output(id, name string) (io.ReadCloser, error)
	// Close lets go of what is kept ready. Jobs that run go on.
	Close()
}

// Handle is a job that was started.
type Handle interface {
	// Wait waits for the job's end and gives its outcome: the same however often,
	// until the job is cleaned. Giving up by ctx leaves the job running.
	Wait(ctx context.Context) (Outcome, error)
	// Stop ends the job: gracefully, or at once. Stopping a job that has
	// ended does nothing.
	Stop(atOnce bool) error
	// Snapshot stores what the trial keeps for its next attempt, as it is at some
	// moment while the job runs, or when it has ended: the digest of its manifest
	// and its size in bytes; "": nothing. It is durable on return.
	Snapshot(ctx context.Context) (digest string, size int64, err error)
	// Using is what the job uses now; false where that is not known.
	Using() (processes.Reading, bool)
}
