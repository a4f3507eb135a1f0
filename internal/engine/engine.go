package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/executor/local"
	"ratchet/internal/gateway"
	"ratchet/internal/guard"
	"ratchet/internal/journal"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// Release is this release's version.
const Release = "0.2.0"

// Engine is an open home. It is safe for concurrent use.
type Engine struct {
	home    string
	journal journal.Journal
	objects *objects.Store
	now     func() time.Time
	jobs    func(run string) Jobs
	// sandboxed: jobs run in sandboxes on this machine.
	sandboxed bool
	report    func(dir string, r *report.Results, src report.Sources) error
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

// Options change how a home is opened.
type Options struct {
	// Journal replaces the journal in the home; the engine closes it.
	Journal journal.Journal
	// Now replaces the clock.
	Now func() time.Time
	// Objects replaces the store in the home.
	Objects *objects.Store
	// Jobs replaces what executes the attempts of a run.
	Jobs func(run string) Jobs
	// Breakers say when what does not answer is left alone; zero:
	// guard.DefaultPolicy.
	Breakers guard.Policy
	// Report replaces what writes reports.
	Report func(dir string, r *report.Results, src report.Sources) error
}

// Open opens the home in a folder, and creates it if need be.
func Open(home string, o Options) (*Engine, error) {
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(home, "runs"), 0o700); err != nil {
		return nil, fmt.Errorf("opening the home: %w", err)
	}
	e := &Engine{home: home, journal: o.Journal, objects: o.Objects, now: o.Now, jobs: o.Jobs, report: o.Report, secrets: redact.OfEnvironment(os.Environ())}
	e.deps = guard.NewDependencies(cmp.Or(o.Breakers, guard.DefaultPolicy))
	e.room = newRoom(e)
	if e.now == nil {
		e.now = time.Now
	}
	if e.jobs == nil {
		e.sandboxed = true
		e.jobs = func(run string) Jobs { return local.New(e.folder(run)) }
	}
	if e.report == nil {
		e.report = report.Write
	}
	if e.objects == nil {
		if e.objects, err = objects.Open(filepath.Join(home, "objects")); err != nil {
			return nil, err
		}
	}
	if e.journal == nil {
		if e.journal, err = sqlite.Open(filepath.Join(home, "journal.db")); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Close closes the journal. Nobody drives a run by then.
func (e *Engine) Close() error { return e.journal.Close() }

// Home is the home's folder.
func (e *Engine) Home() string { return e.home }

// Objects is the store of artifacts and code snapshots.
func (e *Engine) Objects() *objects.Store { return e.objects }

// Secrets takes secrets out of texts: the values of this process's environment
// that are named as such, and whatever has the form of one.
func (e *Engine) Secrets() *redact.Redactor { return e.secrets }

// Dependencies are what this process asks of others.
func (e *Engine) Dependencies() []guard.DependencyState { return e.deps.States() }

// Journal is the journal of all runs in this home.
func (e *Engine) Journal() journal.Journal { return e.journal }

// folder is where a run keeps its files while it runs.
func (e *Engine) folder(run string) string { return filepath.Join(e.home, "runs", untrusted.Name(run)) }

// UnknownRunError says that a name stands for no run, or for several.
type UnknownRunError struct {
	Name    string
	Matches []string // of several
	Known   []string
}

func (u *UnknownRunError) Error() string {
	switch {
	case len(u.Matches) > 1:
		return fmt.Sprintf("%q could be %s; give more of its name", u.Name, strings.Join(u.Matches, " or "))
	case len(u.Known) == 0:
		return "there are no runs here yet; `ratchet run STUDY.yaml` starts one, and --home names another home"
	case u.Name == "":
		return fmt.Sprintf("which run? There are %d: name one, or write latest", len(u.Known))
	}
	return fmt.Sprintf("there is no run %q here; `ratchet list` shows them all", u.Name)
}

// Find resolves a name of a run: the whole of it, a prefix that only one run
// has, "latest" for the one with the newest record, or "" where there is only one that fits. prefer says which
// runs "" may mean; nil: any.
func (e *Engine) Find(ctx context.Context, name string, prefer func(*research.State) bool) (string, error) {
	runs, err := e.Runs(ctx)
	if err != nil {
		return "", err
	}
	var matches []string
	switch name {
	case "latest":
		return e.latest(ctx, runs)
	case "":
		matches = runs
		if len(runs) > 1 && prefer != nil {
			matches = nil
			for _, r := range runs {
				if s, _, err := e.Load(ctx, r); err == nil && prefer(s) {
					matches = append(matches, r)
				}
			}
		}
	default:
		for _, r := range runs {
			if r == name {
				return r, nil
			}
			if strings.HasPrefix(r, name) {
				matches = append(matches, r)
			}
		}
	}
	if len(matches) == 1 {
		return matches[0], nil
	}
	if name == "" {
		return "", &UnknownRunError{Name: name, Known: runs}
	}
	return "", &UnknownRunError{Name: name, Matches: matches, Known: runs}
}

// Runs lists the runs of the home, sorted.
func (e *Engine) Runs(ctx context.Context) ([]string, error) {
	names, err := e.journal.Runs(ctx)
	return slices.DeleteFunc(names, func(n string) bool {
		_, calls := gateway.StreamOf(n)
		return calls
	}), err
}

func (e *Engine) latest(ctx context.Context, runs []string) (string, error) {
	latest, when := "", time.Time{}
	for _, r := range runs {
		head, err := e.journal.Head(ctx, r)
		if err != nil {
			return "", err
		}
		for rec, err := range e.journal.Read(ctx, r, head.Seq) {
			if err != nil {
				return "", err
			}
			if latest == "" || rec.Time.After(when) {
				latest, when = r, rec.Time
			}
		}
	}
	if latest == "" {
		return "", &UnknownRunError{}
	}
	return latest, nil
}

// Request journals a person's wish, for whoever drives the run.
func (e *Engine) Request(ctx context.Context, run string, wish research.Payload) error {
	for {
		s, head, err := e.Load(ctx, run)
		if err != nil {
			return err
		}
		if s.Ended() {
			return fmt.Errorf("run %s has ended: %s", run, s.Status)
		}
		err = e.appendTo(ctx, run, head, s.Time, wish)
		if !errors.As(err, new(*journal.ConflictError)) {
			return err
		}
	}
}

func encode(p research.Payload, t time.Time) (journal.Entry, error) {
	b, err := research.Encode(p)
	return journal.Entry{Time: t, Type: p.Type(), Version: p.Version(), Payload: b}, err
}

// exists reports whether there is something at a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
