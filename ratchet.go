// Package ratchet runs studies: from a question to an evidence-backed report,
// unattended, losing nothing when processes, machines or programs fail.
//
// It is what the command of the same name does, for Go programs:
//
//	func main() {
//		ratchet.Main() // first thing: attempts are supervised by this program itself
//		engine, err := ratchet.Open(".ratchet")
//		...
//		results, err := engine.Run(ctx, "study.yaml", ratchet.RunOptions{})
//	}
package ratchet

import (
	"context"
	"fmt"
	"os"

	"ratchet/internal/engine"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/maintenance"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
)

// Release is this release's version.
const Release = home.Release

// Results is what a run found, as in results.json.
type Results = report.Results

// Hypothesis is a claim in Results, with its verdict and where that comes from.
type Hypothesis = report.Hypothesis

// State is a run as its journal made it, and Event what happened in it.
type (
	State = research.State
	Event = research.Payload
)

// Origin is where a fork comes from.
type Origin = research.Origin

// The states of a run in Results.Status.
const (
	Running   = research.Running
	Paused    = research.Paused
	Completed = research.Completed
	Failed    = research.Failed
	Cancelled = research.Cancelled
)

// RunOptions say how a run is made of a study, DriveOptions how it is driven.
type (
	RunOptions   = engine.RunOptions
	DriveOptions = engine.DriveOptions
	ForkOptions  = history.ForkOptions
)

// ErrInterrupted is the error of Run and Resume whose context ended: the run
// can be resumed.
var ErrInterrupted = engine.ErrInterrupted

// Main must be called first thing in main, and in TestMain, of every program
// that runs studies: attempts outlive the engine in processes that are this
// program, executed again, and Main is where those do their work and exit. In
// any other process it returns at once.
func Main() { sandbox.Main() }

// Engine is an open home: a folder with a journal, objects and runs. It is
// safe for concurrent use; several processes may open the same home.
type Engine struct {
	*engine.Engine
	*maintenance.Maintenance
}

func of(e *engine.Engine) *Engine { return &Engine{e, maintenance.Of(e.Home, e.Publisher, e.Executor)} }

// OpenWith opens a home whose parts are replaced.
func OpenWith(home string, o engine.Options) (*Engine, error) {
	e, err := engine.Open(home, o)
	if err != nil {
		return nil, err
	}
	return of(e), nil
}

// Open opens the home in a folder, and creates it if need be.
func Open(home string) (*Engine, error) {
	return OpenWith(home, engine.Options{})
}

// Run makes a run of a study file and drives it to its end. If ctx ends
// before, the error is ErrInterrupted and Resume goes on; attempts that run
// are left to themselves unless the options say otherwise. The results are
// those at the time of return, also with an error that came after the run was
// made; the report is in the folder of the options, results/<run> by default.
func (e *Engine) Run(ctx context.Context, file string, o RunOptions) (*Results, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the study: %w", err)
	}
	run, err := e.Create(ctx, file, data, o)
	if err != nil {
		return nil, err
	}
	return e.Resume(ctx, run, DriveOptions{})
}

// Resume drives a run on from wherever it stands. Nothing that was completed
// is executed again, and attempts that still run are picked up.
func (e *Engine) Resume(ctx context.Context, run string, o DriveOptions) (*Results, error) {
	if _, err := e.Drive(ctx, run, o); err != nil {
		r, resultsErr := e.Results(context.WithoutCancel(ctx), run)
		if resultsErr != nil {
			return nil, err
		}
		return r, err
	}
	return e.Results(ctx, run)
}
