// Package ratchet runs studies: from a question to an evidence-backed report,
// unattended, losing nothing when processes, machines or programs fail.
//
// It is what the command of the same name does, for Go programs:
//
//	func main() {
//		ratchet.Main() // first thing: attempts are supervised by this program itself
//		engine, err := ratchet.Open(".ratchet", ratchet.OpenOptions{})
//		...
//		results, err := engine.Run(ctx, "study.yaml", ratchet.RunOptions{})
//	}
package ratchet

import (
	"context"
	"errors"
	"fmt"
	"os"

	"ratchet/internal/engine"
	"ratchet/internal/home"
	"ratchet/internal/maintenance"
	"ratchet/internal/research"
	"ratchet/internal/settings"
	"ratchet/internal/shim"
	"ratchet/internal/view"
	"ratchet/study"
)

// Release is this release's version.
const Release = home.Release

// Main must be called first thing in main, and in TestMain, of every program
// that runs studies: attempts outlive the engine in processes that are this
// program, executed again, and Main is where those do their work and exit. In
// any other process it returns at once.
func Main() { shim.Main() }

// Engine is an open home: a folder with a journal, objects and runs. It is
// safe for concurrent use; several processes may open the same home.
type Engine struct {
	engine      *engine.Engine
	maintenance *maintenance.Maintenance
	settings    *settings.Settings
}

// OpenOptions say how a home is opened. The zero value is right for a home of one's
// own.
type OpenOptions struct {
	// Distrust leaves the home's config.yaml alone, which another user may have
	// written: backups, alerts and model providers' addresses in it are not used.
	Distrust bool
	// SettingsName is how mistakes in config.yaml name that file; "": by its path.
	SettingsName string
	// Announce is told, in words, what takes long on opening, before it begins; nil:
	// it is not announced.
	Announce func(text string)
}

// Open opens the home in a folder, and creates it if need be. It reads the settings
// in the home's config.yaml and in the environment, as the command does; those that
// cannot be are study.Problems, with file, line and remedy.
func Open(folder string, o OpenOptions) (*Engine, error) {
	set, err := settings.Read(folder, settings.Options{Shown: o.SettingsName, Distrust: o.Distrust})
	if err != nil {
		return nil, err
	}
	breakers, err := set.Breakers()
	if err != nil {
		return nil, err
	}
	machine, err := set.Node()
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(folder, engine.Options{Options: home.Options{Announce: o.Announce}, Breakers: breakers, Node: machine})
	if err != nil {
		return nil, err
	}
	return &Engine{e, maintenance.Of(e.Home, e.Publisher, e.Executor), set}, nil
}

// Close closes the home. No run is driven by then.
func (e *Engine) Close() error { return e.engine.Close() }

// Folder is the home's folder, as an absolute path.
func (e *Engine) Folder() string { return e.engine.Folder }

// RunFolder is the folder in the home of what belongs to a run, besides its journal
// and its objects. It may not exist yet.
func (e *Engine) RunFolder(run string) string { return e.engine.RunFolder(run) }

// Check reads a study as Create does, and refuses what Create would refuse: mistakes
// in it are study.Problems. It changes nothing.
func Check(file string, data []byte, o RunOptions) (*study.Study, error) {
	return engine.Check(file, data, o)
}

// Create makes a run of a study. file is the study's path, which its program's files
// are beside, and data its content. When it returns, the run is durable and waits to
// be driven. Mistakes in the study are study.Problems; nothing was made then.
func (e *Engine) Create(ctx context.Context, file string, data []byte, o RunOptions) (run string, err error) {
	return e.engine.Create(ctx, file, data, o)
}

// Run makes a run of a study file and drives it to its end; see Create and Resume.
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

// Resume drives a run from wherever it stands until it ends or pauses. Nothing that
// was completed is executed again, and attempts that still run are picked up. If
// ctx ends before, the error is ErrInterrupted and Resume goes on another time. The
// results are those at the time of return, with an error too if the run could be
// read; the report is in the folder of the run's options, results/RUN by default. A
// run that another process drives is left alone: the error is a DrivenError.
func (e *Engine) Resume(ctx context.Context, run string, o DriveOptions) (*Results, error) {
	warn := func(err error) {
		if o.Warn != nil {
			o.Warn(errors.New(e.engine.Secrets().Text(err.Error())))
		}
	}
	policy, err := e.settings.Backups()
	if err != nil {
		return nil, err
	}
	watch, err := e.settings.Watch()
	if err != nil {
		return nil, err
	}
	d := engine.DriveOptions{
		OnInterrupt: o.OnInterrupt, MoreTime: o.MoreTime, Cost: o.Cost, Tokens: o.Tokens, Calls: o.Calls, AcceptInputs: o.AcceptInputs,
		Isolation: o.Isolation, AllowInputs: o.AllowInputs, Env: o.Env, Pricing: o.Pricing, Warn: warn, Models: e.settings.Models,
		Backups: e.maintenance.Schedule(policy, e.engine.Dependencies(), warn), Watch: watch,
	}
	if o.Observe != nil {
		d.Observe = func(s *research.State, events []research.Payload) { o.Observe(view.ProgressOf(e.engine, s, events)) }
	}
	if _, err := e.engine.Drive(ctx, run, d); err != nil {
		r, resultsErr := e.Results(context.WithoutCancel(ctx), run)
		if resultsErr != nil {
			return nil, err
		}
		return r, err
	}
	return e.Results(ctx, run)
}

// Driving is a run that is driven in the background.
type Driving struct {
	done    chan struct{}
	results *Results
	err     error
}

// Start is Resume in the background. End ctx to leave the run; Wait says what came of
// it.
func (e *Engine) Start(ctx context.Context, run string, o DriveOptions) *Driving {
	d := &Driving{done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.results, d.err = e.Resume(ctx, run, o)
	}()
	return d
}

// Wait waits until the run is not driven any more, and returns what Resume does.
func (d *Driving) Wait() (*Results, error) {
	<-d.done
	return d.results, d.err
}
