package view

import (
	"context"
	"iter"

	"ratchet/internal/engine"
	"ratchet/internal/journal"
)

// Record is a record of a run's journal: an element of `ratchet events --json`.
type Record struct {
	journal.Record
	Superseded bool   `json:"superseded,omitempty"` // the run was rolled back behind it
	Text       string `json:"text,omitempty"`       // with --audit: what it says
}

// Records are the records of a run from one number to another, both included; to
// is 0 for the last. What is superseded is as of to.
func Records(ctx context.Context, e *engine.Engine, run string, from, to int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		superseded, err := e.Superseded(ctx, run, to)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for r, err := range e.Journal.Read(ctx, journal.Of(run), max(1, from)) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if to > 0 && r.Seq > to || !yield(Record{Record: r, Superseded: superseded(r.Seq)}, nil) {
				return
			}
		}
	}
}
