package ratchet

import (
	"context"
	"fmt"
	"iter"
	"time"

	"ratchet/internal/history"
	"ratchet/internal/journal"
	"ratchet/internal/maintenance"
	"ratchet/internal/research"
	"ratchet/internal/view"
)

// Event is what happened in a run: a record of its journal.
type Event struct {
	Seq  int64     // number of the record, from 1, without gaps
	Time time.Time // UTC, to the microsecond
	Data Payload
}

// Subscribe yields the events of a run from a number on, and then those that
// happen, whoever drives the run: each once, in order, when it is durable. What was
// rolled back is among them. It ends with an error: that of ctx, one of reading, or
// a ConflictError where somebody has replaced the run's records.
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
	listed, err := view.List(ctx, e.engine)
	out := make([]Status, 0, len(listed))
	for _, l := range listed {
		out = append(out, l.Status)
	}
	return out, err
}

// Find gives the run that a name means: its id, a prefix that only one has, or
// "latest". A name of none, or of several, is an UnknownRunError.
func (e *Engine) Find(ctx context.Context, name string) (run string, err error) {
	return e.engine.Find(ctx, name, nil)
}

// Status is where a run stands.
func (e *Engine) Status(ctx context.Context, run string) (Status, error) {
	return e.StatusAt(ctx, run, 0)
}

// StatusAt is where a run stood behind the record with a number; 0: the last.
func (e *Engine) StatusAt(ctx context.Context, run string, at int64) (Status, error) {
	s, _, err := view.StatusAt(ctx, e.engine, run, at)
	return s, err
}

// Results are what a run has found so far, as in results.json.
func (e *Engine) Results(ctx context.Context, run string) (*Results, error) {
	return e.engine.Results(ctx, run)
}

// ResultsAt are what a run had found behind the record with a number; 0: the last.
func (e *Engine) ResultsAt(ctx context.Context, run string, at int64) (*Results, error) {
	return e.engine.ResultsAt(ctx, run, at)
}

// Request journals a person's wish, for whoever drives the run: a PauseRequested, a
// CancelRequested or an AlertsSilenced. It is durable on return. A run that has ended
// takes none.
func (e *Engine) Request(ctx context.Context, run string, wish Payload) error {
	switch wish.(type) {
	case PauseRequested, CancelRequested, AlertsSilenced:
		return e.engine.Request(ctx, run, wish)
	}
	return fmt.Errorf("%s is no wish: request a PauseRequested, a CancelRequested or an AlertsSilenced", wish.Type())
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

// Backup makes a backup of runs, of all if none is named. Runs may go on meanwhile.
// It is durable on return.
func (e *Engine) Backup(ctx context.Context, place BackupPlace, runs ...string) (*BackupManifest, error) {
	return e.maintenance.Backup(ctx, place, runs)
}

// Restore brings runs back from a backup, once all of it was read and checked. A run
// that has gone on since is a NewerError.
func (e *Engine) Restore(ctx context.Context, place BackupPlace, o RestoreOptions) (*Restored, error) {
	return e.maintenance.Restore(ctx, place, o)
}

// Verify checks runs, all if none is named: every record, every object that they
// need, and the published results. What is damaged is in the verification; the error
// says that it could not be made.
func (e *Engine) Verify(ctx context.Context, runs ...string) (*Verification, error) {
	return e.maintenance.Verify(ctx, runs)
}

// Repair mends the home in a folder that nobody works in, with what a backup has where
// place says that there is one. Originals that were damaged are kept aside.
func Repair(ctx context.Context, folder string, place BackupPlace) (*Repaired, error) {
	return maintenance.Repair(ctx, folder, place)
}
