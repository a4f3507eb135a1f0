package engine

import (
	"cmp"
	"os"

	"ratchet/internal/breaker"
	"ratchet/internal/executor"
	"ratchet/internal/executor/local"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/node"
	"ratchet/internal/publish"
	"ratchet/internal/redact"
)

// Engine drives the runs of a home. It is safe for concurrent use.
type Engine struct {
	*home.Home
	*history.History
	*publish.Publisher
	executor func(run string) executor.Executor
	node     *node.Node // nil: jobs do not run here
	// secrets takes out of what programs wrote what must stay secret.
	secrets *redact.Redactor
	deps    *breaker.Dependencies
}

// Options change how runs are driven.
type Options struct {
	home.Options
	// Node says how this machine is used.
	Node node.Options
	// Executor replaces what executes the jobs of a run: this machine.
	Executor func(run string) executor.Executor
	// Breakers say when what does not answer is left alone; zero:
	// failure.DefaultPolicy.
	Breakers breaker.Policy
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
		executor: o.Executor, secrets: redact.OfEnvironment(os.Environ()), deps: breaker.NewDependencies(cmp.Or(o.Breakers, breaker.DefaultPolicy)),
	}
	if e.executor == nil {
		e.node = node.New(h, e.deps, o.Node)
		e.executor = func(run string) executor.Executor { return local.New(h, run, e.node, e.secrets) }
	}
	return e, nil
}

// Secrets takes secrets out of texts: the values of this process's environment
// that are named as such, and whatever has the form of one.
func (e *Engine) Secrets() *redact.Redactor { return e.secrets }

// Dependencies are the breakers of what this process asks of others.
func (e *Engine) Dependencies() *breaker.Dependencies { return e.deps }

// Executor executes the jobs of a run. It is to be closed.
func (e *Engine) Executor(run string) executor.Executor { return e.executor(run) }
