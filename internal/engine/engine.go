package engine

import (
	"cmp"
	"os"

	"ratchet/internal/executor"
	"ratchet/internal/executor/local"
	"ratchet/internal/guard"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/publish"
	"ratchet/internal/redact"
)

// Engine drives the runs of a home. It is safe for concurrent use.
type Engine struct {
	*home.Home
	*history.History
	*publish.Publisher
	jobs func(run string) Jobs
	// sandboxed: jobs run in sandboxes on this machine.
	sandboxed bool
	// secrets takes out of what programs wrote what nobody should read.
	secrets *redact.Redactor
	deps    *guard.Dependencies
	room    *room
}

// Jobs executes the attempts of a run.
type Jobs interface {
	executor.Executor
	// Forget removes what trials keep for their next attempts.
	Forget(which func(trial string) bool) error
	// Close lets go of what is kept ready. Jobs that run go on.
	Close()
}

// Options change how runs are driven.
type Options struct {
	home.Options
	// Jobs replaces what executes the attempts of a run.
	Jobs func(run string) Jobs
	// Breakers say when what does not answer is left alone; zero:
	// guard.DefaultPolicy.
	Breakers guard.Policy
	// Report replaces what writes reports.
	Report publish.WriteFunc
}

// Open opens the home in a folder, and creates it if need be.
func Open(folder string, o Options) (*Engine, error) {
	h, err := home.Open(folder, o.Options)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		Home: h, History: history.Of(h), Publisher: publish.Of(h, o.Report),
		jobs: o.Jobs, secrets: redact.OfEnvironment(os.Environ()), deps: guard.NewDependencies(cmp.Or(o.Breakers, guard.DefaultPolicy)),
	}
	e.room = newRoom(e)
	if e.jobs == nil {
		e.sandboxed = true
		e.jobs = func(run string) Jobs { return local.New(e.RunFolder(run)) }
	}
	return e, nil
}

// Secrets takes secrets out of texts: the values of this process's environment
// that are named as such, and whatever has the form of one.
func (e *Engine) Secrets() *redact.Redactor { return e.secrets }

// Dependencies are the breakers of what this process asks of others.
func (e *Engine) Dependencies() *guard.Dependencies { return e.deps }
