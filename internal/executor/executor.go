// Package executor is where attempts run: what a job is, and what is known of
// it when it has ended. Package local runs jobs on this machine.
package executor

import (
	"context"

	"ratchet/internal/sandbox"
	"ratchet/study"
)

// Job is an attempt to be executed.
type Job struct {
	ID         string // the attempt's; names the job for good
	Run        string
	Experiment string
	Trial      string
	Attempt    int
	Command    []string
	Parameters study.Params
	Seed       int64
	Limits     study.AttemptLimits
	Isolation  sandbox.Isolation
	Inputs     []sandbox.Bind
	ReadOnly   []string // folders of this machine that the program needs
	Path       string   // PATH for the program
	GPUs       []int    // the devices it gets, by their numbers; nil: all there are, if Limits asks for any
	Halt       *sandbox.Halt
	// Door leads to the gateway; nil: there is none for this job.
	Door *sandbox.Door
	// CheckpointAt is where in the working folder the checkpoint folder is seen,
	// besides its own place; "": nowhere.
	CheckpointAt string
	// Evaluated fills a folder that the command finds by $RATCHET_EVALUATED; nil:
	// there is none. Such a job keeps nothing for another.
	Evaluated func(dir string) error
	// Fill puts the program's files into the working folder. It is called
	// only where the job has not been started before.
	Fill func(dir string) error
	// Restore puts what the trial's earlier attempts stored into the folder
	// that the attempt finds its checkpoint in. It is called only where there
	// is no such folder yet; nil: nothing was stored.
	Restore func(dir string) error
}

// Outcome is how a job ended and where it left what it left. The files stay
// until Clean.
type Outcome struct {
	sandbox.Ending
	Lost bool // it is gone without an ending
	Host string
	// Box is the folder that the job's command wrote to, with the names of
	// package sandbox in it. It may be gone, and anything may be in it: package
	// untrusted reaches into it.
	Box    string
	Stdout string // file
	Stderr string // file
	// Diagnosis is a file that says what a stalled job was doing; "": none.
	Diagnosis string
	// Checkpoint is the folder with what the trial keeps for its next attempt.
	// It outlives Clean, and is no more to be trusted than Box.
	Checkpoint string
}

// Executor runs jobs. Its methods are safe for concurrent use.
type Executor interface {
	// Start starts a job, or attaches to it if a job of that id was started
	// before, by this process or another, running or ended.
	Start(ctx context.Context, job Job) (Handle, error)
	// Clean removes everything of a job, and ends it first if it still runs.
	// Cleaning twice, or what was never started, does nothing.
	Clean(ctx context.Context, id string) error
	// Jobs lists the ids of the jobs that were started and not cleaned.
	Jobs() ([]string, error)
}

// Handle is a job that was started.
type Handle interface {
	// Wait waits for the job's end. Giving up by ctx leaves the job running.
	Wait(ctx context.Context) (Outcome, error)
	// Stop ends the job: gracefully, or at once. Stopping a job that has
	// ended does nothing.
	Stop(atOnce bool) error
	// Checkpoint is Outcome.Checkpoint, while the job runs.
	Checkpoint() string
	// Using is what the job uses now; false where that is not known.
	Using() (sandbox.Usage, bool)
}
