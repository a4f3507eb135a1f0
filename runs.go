package ratchet

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ratchet/internal/engine"
	"ratchet/internal/history"
	"ratchet/internal/journal"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/internal/view"
	"ratchet/internal/watching"
	"ratchet/study"
)

// Event is what happened in a run: a record of its journal.
type Event struct {
	Seq  int64     // number of the record, from 1, without gaps
	Time time.Time // UTC, to the microsecond
	Data Payload
}

// Subscribe yields the events of a run from a number on, and then those that
// happen, whichever process drives the run: each once, in order, when it is durable. What was
// rolled back is among them. It ends with an error: that of ctx, one of reading, or
// a ConflictError if another process has replaced the run's records.
func (e *Engine) Subscribe(ctx context.Context, run string, from int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for r, err := range e.engine.Journal.Subscribe(ctx, journal.Of(run), from) {
			var p Payload
			if err == nil {
				if p, err = research.Decode(r.Type, r.Version, r.Payload); err != nil {
					err = fmt.Errorf("run %s, record %d: %w", run, r.Seq, err)
				}
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			if !yield(Event{r.Seq, r.Time, p}, nil) {
				return
			}
		}
	}
}

// List is where all runs of the home stand, sorted by name. A run that cannot be read
// has the status "damaged", and why.
func (e *Engine) List(ctx context.Context) ([]Status, error) {
	return view.List(ctx, e.engine)
}

// Find gives the run that a name means: its id, a prefix that only one has,
// "latest" for the one with the newest record, or "" where only one can be meant:
// of those that prefer takes; nil: of all. A name of none, or of several, is an
// UnknownRunError.
func (e *Engine) Find(ctx context.Context, name string, prefer func(Status) bool) (run string, err error) {
	if prefer == nil {
		return e.engine.Find(ctx, name, nil)
	}
	preferred := map[string]bool{}
	if name == "" {
		all, err := view.List(ctx, e.engine) // which folds no run again that was listed before
		if err != nil {
			return "", err
		}
		for _, s := range all {
			preferred[s.Run] = s.Status != Damaged && prefer(s)
		}
	}
	return e.engine.Find(ctx, name, func(run string) bool { return preferred[run] })
}

// Records are the events of a run as its journal has them, with their hashes: from
// the record with one number to that with another, both included, those that were
// rolled back too. to is 0 for the last.
func (e *Engine) Records(ctx context.Context, run string, from, to int64) iter.Seq2[Record, error] {
	return view.Records(ctx, e.engine, run, from, to)
}

// Decode is what happened, of a record. A type or a version that this release does
// not know is an UnknownEventError.
func Decode(r Record) (Payload, error) { return research.Decode(r.Type, r.Version, r.Payload) }

// Logs are the lines that the attempts of a run wrote, attempt by attempt: of all
// trials, or of an experiment's, or of those whose ids begin like trial. With follow
// they go on as attempts write, until the run or ctx ends. A name that none has is
// an UnknownTrialError.
func (e *Engine) Logs(ctx context.Context, run, trial string, follow bool) iter.Seq2[LogLine, error] {
	return view.Logs(ctx, e.engine, run, trial, follow)
}

// Driven says which process drives a run now; nil: none of this machine.
func (e *Engine) Driven(run string) *DrivenError { return e.engine.Driven(run) }

// Exposure is what stands open to the programs of a run beyond what is open to every
// program. Show it to whoever asked for the run.
func (e *Engine) Exposure(ctx context.Context, run string) (Exposure, error) {
	return view.ExposureOf(ctx, e.engine, run)
}

// ExposureOf is what will stand open to the programs of a study in a folder.
func ExposureOf(st *study.Study, folder string) Exposure { return view.ExposureOfStudy(st, folder) }

// Health is how well a run and its machine are, as the process that drives it saw it
// last. Of a run that has not been driven yet, that is a NeverDrivenError.
func (e *Engine) Health(ctx context.Context, run string) (Health, error) {
	return view.HealthOf(ctx, e.engine, run)
}

// Alerts are all alerts of a run that count, those that are over included.
func (e *Engine) Alerts(ctx context.Context, run string) ([]AlertRecord, error) {
	return e.engine.Alerts(ctx, run)
}

// Calls are the model calls of a run.
func (e *Engine) Calls(ctx context.Context, run string) (Calls, error) {
	l, err := e.engine.Calls(ctx, run)
	if err != nil {
		return Calls{}, err
	}
	return view.CallsOf(l), nil
}

// CallDiffs say why calls of later attempts were sent although others were on record:
// what made their requests differ from those.
func (e *Engine) CallDiffs(ctx context.Context, run string) ([]CallDiff, error) {
	return e.engine.CallDiffs(ctx, run)
}

// Costs are what a run had used behind the record with a number, 0: the last, and
// what that costs at the prices of the settings.
func (e *Engine) Costs(ctx context.Context, run string, at int64) (Costs, error) {
	prices, err := e.settings.Prices()
	if err != nil {
		return Costs{}, err
	}
	s, _, err := e.engine.LoadAt(ctx, run, at)
	if err != nil {
		return Costs{}, err
	}
	use, err := e.maintenance.DiskUse(ctx, run)
	if err != nil {
		return Costs{}, err
	}
	return report.CostOf(s, use.Stored, prices), nil
}

// Publish writes the report and the results of a run anew into the run's folder for
// them. They are durable on return.
func (e *Engine) Publish(ctx context.Context, run string) error { return e.engine.Publish(ctx, run) }

// Metrics gathers the metrics of runs, of all if none is named, in Prometheus's
// model; promhttp.HandlerFor serves them. Each time they are as the runs stand then.
func (e *Engine) Metrics(ctx context.Context, runs ...string) prometheus.Gatherer {
	return view.Metrics(ctx, e.engine, runs)
}

// Status is where a run stands.
func (e *Engine) Status(ctx context.Context, run string) (Status, error) {
	return e.StatusAt(ctx, run, 0)
}

// StatusAt is where a run stood behind the record with a number; 0: the last.
func (e *Engine) StatusAt(ctx context.Context, run string, at int64) (Status, error) {
	return view.StatusAt(ctx, e.engine, run, at)
}

// Results are what a run has found so far, as in results.json.
func (e *Engine) Results(ctx context.Context, run string) (*Results, error) {
	return e.engine.Results(ctx, run)
}

// ResultsAt are what a run had found behind the record with a number; 0: the last.
func (e *Engine) ResultsAt(ctx context.Context, run string, at int64) (*Results, error) {
	return e.engine.ResultsAt(ctx, run, at)
}

// Request journals a person's wish, for the process that drives the run: a PauseRequested, a
// CancelRequested or an AlertsSilenced; of an open run a NoteMade, an ExperimentVetoed or a
// CloseRequested. It is durable on return. A run that has ended
// takes none. A rule that there is not is an UnknownRuleError.
func (e *Engine) Request(ctx context.Context, run string, wish Payload) error {
	switch wish := wish.(type) {
	case PauseRequested, CancelRequested:
		return e.engine.Request(ctx, run, wish)
	case NoteMade, ExperimentVetoed, CloseRequested:
		return e.engine.Word(ctx, run, wish)
	case AlertsSilenced:
		if err := watching.CheckRule(wish.Rule); err != nil {
			return err
		}
		return e.engine.Request(ctx, run, wish)
	}
	return fmt.Errorf("%s is no wish: see Request", wish.Type())
}

// Checkpoints are the named positions of a run, those that were rolled back
// included.
func (e *Engine) Checkpoints(ctx context.Context, run string) ([]Checkpoint, error) {
	return e.engine.Checkpoints(ctx, run)
}

// MakeCheckpoint names the run's position as of now, durably, and returns the name;
// "": the next number is one.
func (e *Engine) MakeCheckpoint(ctx context.Context, run, name, by string) (string, error) {
	return e.engine.MakeCheckpoint(ctx, run, name, by)
}

// Locate gives the number of the record that is meant: by itself, by a checkpoint's
// name, or by a time. One that there is not is a PositionError.
func (e *Engine) Locate(ctx context.Context, run, at string) (int64, error) {
	return e.engine.Locate(ctx, run, at)
}

// ForkOptions say how a fork differs from its origin.
type ForkOptions struct {
	At     int64    // the record that it goes on behind; 0: the last
	Set    []string // changes of the study, each key=value
	Output string   // folder of the report; default results/RUN in the working folder
	By     string   // who wants it
}

// Fork makes a run that has another's past up to a position, durably, and returns its
// name. It waits to be driven. A change that would make what it shares untrue is an
// AmendError.
func (e *Engine) Fork(ctx context.Context, origin string, o ForkOptions) (run string, err error) {
	return e.engine.Fork(ctx, origin, o.At, history.ForkOptions{Set: o.Set, Output: o.Output, By: o.By})
}

// Rollback makes a run go on from an earlier position; what lies behind it stays in
// the journal. A run that is driven is left alone: the error is a DrivenError.
func (e *Engine) Rollback(ctx context.Context, run string, to int64, by string) error {
	_, err := e.engine.Rollback(ctx, run, to, by)
	return err
}

// RetryOptions say which failed trials are to be tried again, and why.
type RetryOptions struct {
	// Names are experiments, or trials by how their ids begin; empty: all that failed.
	Names []string
	Why   string // what was mended
	By    string // who wants it
	// AcceptInputs has them tried with inputs that are not as recorded any more.
	AcceptInputs bool
}

// Retry opens trials of a run that failed, durably, and returns their ids. When the run
// is driven it goes on with them, and concludes anew what depends on them. A name of no
// failed trial is a PositionError. A run that is driven is left alone: the error is a
// DrivenError.
func (e *Engine) Retry(ctx context.Context, run string, o RetryOptions) ([]string, error) {
	return e.engine.Retry(ctx, run, engine.RetryOptions(o))
}
