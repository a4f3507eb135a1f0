package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"crypto/rand"
	"encoding/hex"

	"ratchet/internal/environment"
	"ratchet/internal/executor"
	"ratchet/internal/failpoint"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/planted"
	"ratchet/internal/redact"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/watching"
	"ratchet/study"
)

// DriveOptions say how a run is driven.
type DriveOptions struct {
	// Isolation, AllowInputs and Env accept what a run that was restored would do; see
	// arrival.
	Isolation   sandbox.Isolation
	AllowInputs []string
	Env         []string // names of variables that programs get from this process's environment
	// Pricing says, for as long as this process drives the run, what models cost that
	// nothing else has a price of.
	Pricing

	// AcceptInputs names who wants the run to go on although its inputs have
	// changed: with all that was measured rolled back; "": no one.
	AcceptInputs string
	// OnInterrupt says what becomes of running attempts when ctx ends: left
	// to themselves, to be picked up later, or stopped.
	OnInterrupt string
	// MoreTime is added to limits.run.time of a run that paused for it.
	MoreTime time.Duration
	// Observe is told of every step, after it is durable. The state must not
	// be changed, nor kept after Observe returns.
	Observe func(s *research.State, events []research.Payload)
	// Backups makes backups of the home meanwhile; nil: none are made.
	Backups Backups
	// Watch says how the run is watched meanwhile.
	Watch watching.Options
	// Models are the settings of the gateway; nil: the defaults.
	Models *provider.Settings
	// Cost, Tokens and Calls take the place of those limits of the run; zero:
	// they stay.
	Cost   study.Money
	Tokens int64
	Calls  int64
	// Warn is told of what failed without harm to the run.
	Warn func(error)
}

// Backups makes backups while a run is driven.
type Backups interface {
	// Run makes backups until ctx ends.
	Run(ctx context.Context)
	// Committed is called with events that are durable.
	Committed(events []research.Payload)
	// Last is when the last backup was made, zero if that is unknown, and how
	// often one is to be made by time; 0: not by time.
	Last() (made time.Time, every time.Duration)
	// Ended is called when the run has ended and its report is written.
	Ended(ctx context.Context)
}

// What becomes of running attempts when the engine leaves.
const (
	Leave = "leave"
	Stop  = "stop"
)

// ErrInterrupted is the error of Drive when its context ended. The run can be
// driven on.
var ErrInterrupted = errors.New("interrupted")

// FencedError says that another engine has taken the run over, or, without a
// host, that it was rolled back.
type FencedError struct{ Run, Host string }

func (f *FencedError) Error() string {
	if f.Host == "" {
		return fmt.Sprintf("run %s was rolled back while this engine drove it; this one has stopped", f.Run)
	}
	return fmt.Sprintf("run %s was taken over by an engine on %s; this one has stopped", f.Run, f.Host)
}

// Drive carries a run on, from wherever its journal stands, until it ends,
// pauses, or ctx ends. It returns the state it left. Two processes that drive
// the same run: the second gets a DrivenError.
func (e *Engine) Drive(ctx context.Context, run string, o DriveOptions) (*research.State, error) {
	s, err := e.drive(ctx, run, o)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = ErrInterrupted // met while taking the run over, or writing its report
	}
	return s, err
}

func (e *Engine) drive(ctx context.Context, run string, o DriveOptions) (*research.State, error) {
	unlock, err := e.LockRun(run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	done, err := e.LockShared()
	if err != nil {
		return nil, err
	}
	defer done()
	s, head, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	jobs := e.executor(run)
	defer jobs.Close()
	if err := clean(ctx, jobs, s); err != nil {
		return s, err
	}
	if s.Ended() {
		return s, e.Publish(ctx, run)
	}
	if o.AcceptInputs != "" {
		if err := e.acceptInputs(ctx, s, head, o.AcceptInputs); err != nil {
			return s, err
		}
		if s, head, err = e.Load(ctx, run); err != nil {
			return s, err
		}
	}
	inputs, err := e.ready(s, jobs)
	if err != nil {
		return s, err
	}
	env, err := e.environment(s.Created)
	if err == nil {
		err = e.accept(ctx, s, o, &env)
	}
	if err != nil {
		return s, err
	}
	given, err := environment.Given(s.Created.Study)
	if err != nil {
		return s, err
	}
	e.secrets.Learn(redact.SecretsOf(given)...)
	d := &driver{
		engine: e, run: run, state: s, head: head, options: o, study: s.Created.Study, created: s.Created, env: env, inputs: inputs,
		closed:   sandbox.Isolation(s.Created.Isolation).ClosesNetwork(s.Created.Study.Limits.Attempt),
		executor: jobs, clock: history.NewClock(e.Now, s.Time), results: make(chan result), written: make(chan int64), halted: make(chan struct{}),
		flying: map[string]bool{}, missing: map[string]bool{}, handles: map[string]executor.Handle{}, running: map[string]executor.Job{},
	}
	if d.options.Observe == nil {
		d.options.Observe = func(*research.State, []research.Payload) {}
	}
	if d.options.Warn == nil {
		d.options.Warn = func(error) {}
	}
	if e.node != nil {
		defer e.node.Join(run, d.study.Parallel)()
		if d.watch, err = d.newWatcher(); err != nil {
			return s, err
		}
		defer d.watch.Close()
	}
	gap := d.clock.Now().Sub(s.Time)
	crashed := s.Engine.Engine != ""
	if err := d.begin(ctx); err != nil {
		return s, err
	}
	if crashed {
		d.watch.Recovered(gap)
	}
	d.began = true
	if err := d.openModels(ctx); err != nil {
		return d.state, err
	}
	defer d.models.close()
	if err := d.loop(ctx); err != nil {
		return d.state, err
	}
	if !d.state.Ended() {
		return d.state, nil
	}
	err = e.Publish(ctx, run)
	if d.options.Backups != nil {
		d.options.Backups.Ended(ctx)
	}
	return d.state, err
}

// ready refuses to drive what this machine cannot carry on. See checkInputs.
func (e *Engine) ready(s *research.State, x executor.Executor) (*inputs, error) {
	if err := x.Probe(sandbox.Isolation(s.Created.Isolation)); err != nil {
		return nil, err
	}
	return e.checkInputs(s.Created)
}

// driver drives one run. All but the effects happens in its own goroutine.
type driver struct {
	engine   *Engine
	run      string
	id       string // of this engine, in the journal
	began    bool   // its engine.started is there
	state    *research.State
	head     journal.Head
	options  DriveOptions
	study    *study.Study
	created  research.RunCreated // what effects need of it
	closed   bool                // to attempts, the machine's network
	env      environment.Environment
	inputs   *inputs                // nil: there are none
	changed  research.InputsChanged // what makes the attempts that run void; empty: nothing
	executor executor.Executor
	clock    *history.Clock
	watch    *watching.Watcher // nil: jobs do not run here
	models   *door             // nil: the study allows no model calls

	results chan result
	written chan int64      // numbers of records, by any process
	halted  chan struct{}   // closed when attempts are being stopped
	leaving <-chan struct{} // closed when results are no longer read
	effects sync.WaitGroup
	flying  map[string]bool // actions whose effect is under way

	mu       sync.Mutex
	handles  map[string]executor.Handle // of attempts that run
	running  map[string]executor.Job    // those attempts
	stopping string                     // why attempts are being stopped
	missing  map[string]bool            // variables of the environment that were said to be missed
}

// result is what came of an effect.
type result struct {
	action  string
	events  []research.Payload
	done    func() error // once the events are durable
	stopped bool         // it did not come to its own end
	void    string       // an input has changed under it, and how; empty: it counts
	err     error
}

// begin takes the run over.
func (d *driver) begin(ctx context.Context) error {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	d.id = hex.EncodeToString(b[:])
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	events := []research.Payload{research.EngineStarted{Engine: d.id, Host: host, PID: os.Getpid(), Release: home.Release}}
	if d.state.Status == research.Paused {
		o := d.options
		events = append(events, research.RunResumed{MoreTime: study.Duration(o.MoreTime), Cost: o.Cost, Tokens: o.Tokens, Calls: o.Calls})
	}
	return d.commit(ctx, events)
}

// clean ends and removes the jobs that no pending action is about: an engine
// was killed between journaling their outcome and removing them.
func clean(ctx context.Context, x executor.Executor, s *research.State) error {
	jobs, err := x.Jobs()
	if err != nil {
		return fmt.Errorf("looking for attempts of an earlier engine: %w", err)
	}
	wanted := map[string]bool{}
	for _, a := range s.Pending {
		for _, id := range executor.JobsOf(a.ID) {
			wanted[id] = true
		}
	}
	for _, id := range jobs {
		if wanted[id] && !planted.Bug("forgotten-attempts") {
			continue
		}
		if err := x.Clean(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// loop commits, launches and waits until there is nothing left to do.
func (d *driver) loop(ctx context.Context) error {
	effects, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.leaving = effects.Done()
	defer d.effects.Wait()
	defer cancel()
	if d.options.Backups != nil {
		d.effects.Go(func() { d.options.Backups.Run(effects) })
	}
	if d.watch != nil {
		d.effects.Go(func() { d.watch.Run(effects) })
	}
	from := d.head.Seq + 1
	d.effects.Go(func() { d.listen(effects, from) })
	for {
		if err := d.commit(ctx, nil); err != nil {
			return d.leave(ctx, err)
		}
		if d.state.Ended() || d.state.Status == research.Paused {
			return d.stopped(ctx, string(d.state.Status))
		}
		if d.state.Cancel != "" {
			d.stopAll("the run was cancelled")
		}
		d.launch(effects)
		wake := make(<-chan time.Time)
		if now := d.clock.Now(); !d.state.Wake(now).IsZero() {
			wake = time.After(d.state.Wake(now).Sub(now))
		}
		select {
		case r := <-d.results:
			if err := d.commitResult(ctx, r); err != nil {
				return d.leave(ctx, err)
			}
			if err := d.voided(ctx); err != nil {
				return d.leave(ctx, err)
			}
		case <-wake:
		case seq := <-d.written:
			if seq <= d.head.Seq {
				continue // by this engine
			}
			if err := d.reload(ctx); err != nil {
				return d.leave(ctx, err)
			}
			d.options.Observe(d.state, nil)
		case b := <-d.models.blocked():
			// Nothing that runs gets anywhere now; it begins anew when the run is
			// resumed, and gets what it has paid for out of the record.
			if err := d.discard(ctx); err != nil {
				return d.leave(ctx, err)
			}
			if err := d.commit(ctx, []research.Payload{b}); err != nil {
				return d.leave(ctx, err)
			}
		case <-ctx.Done():
			return d.leave(ctx, ErrInterrupted)
		}
	}
}

// voided stops the run where an input has changed under it.
func (d *driver) voided(ctx context.Context) error {
	if d.changed.What == "" {
		return nil
	}
	changed := d.changed
	if err := d.discard(ctx); err != nil {
		return err
	}
	d.changed = research.InputsChanged{}
	if err := d.forget(); err != nil {
		return err
	}
	return d.commit(ctx, []research.Payload{changed})
}

// forget removes what the trials that are under way keep for their next attempts.
func (d *driver) forget() error {
	var trials []string
	for _, a := range d.state.Pending {
		trials = append(trials, a.Trial)
	}
	return d.executor.Forget(func(trial string) bool { return slices.Contains(trials, trial) })
}

// commitResult commits what came of an effect.
func (d *driver) commitResult(ctx context.Context, r result) error {
	delete(d.flying, r.action)
	if r.void != "" {
		d.changed = research.InputsChanged{Attempt: r.action, What: r.void}
		return d.cleanAll(context.WithoutCancel(ctx), r.action)
	}
	if r.err != nil {
		return r.err
	}
	failpoint.Hit("outcome.before")
	if planted.Bug("cleaned-first") && r.done != nil {
		if err := r.done(); err != nil {
			return err
		}
	}
	if err := d.commit(ctx, r.events); err != nil {
		return err
	}
	failpoint.Hit("outcome.after")
	if r.done != nil {
		d.effects.Go(func() {
			if err := r.done(); err != nil {
				d.answer(result{err: err})
			}
		})
	}
	return nil
}

// launch begins the effects of the pending actions that are not under way.
func (d *driver) launch(ctx context.Context) {
	for _, a := range d.state.Pending {
		if d.flying[a.ID] {
			continue
		}
		d.flying[a.ID] = true
		effect := d.effect(a)
		d.effects.Go(func() {
			r := effect(ctx)
			r.action = a.ID
			d.answer(r)
		})
	}
}

// answer hands a result to the driver.
func (d *driver) answer(r result) {
	select {
	case d.results <- r:
	case <-d.leaving:
	}
}
