package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// Request journals a person's wish, for the process that drives the run.
func (h *History) Request(ctx context.Context, run string, wish research.Payload) error {
	for {
		s, head, err := h.Load(ctx, run)
		if err != nil {
			return err
		}
		if s.Ended() {
			return fmt.Errorf("run %s has ended: %s", run, s.Status)
		}
		err = h.AppendTo(ctx, run, head, s.Time, wish)
		if !errors.As(err, new(*journal.ConflictError)) {
			return err
		}
	}
}

// AppendTo appends events that a person asked for, not before a time. They are
// durable on return.
func (h *History) AppendTo(ctx context.Context, run string, head journal.Head, last time.Time, events ...research.Payload) error {
	c := NewClock(h.home.Now, last)
	entries := make([]journal.Entry, len(events))
	for i, p := range events {
		var err error
		if entries[i], err = Encode(p, c.Now()); err != nil {
			return err
		}
	}
	_, err := h.home.Journal.Append(ctx, journal.Of(run), head, entries...)
	return err
}

// Encode is an event as an entry of a journal.
func Encode(p research.Payload, t time.Time) (journal.Entry, error) {
	b, err := research.Encode(p)
	return journal.Entry{Time: t, Type: p.Type(), Version: p.Version(), Payload: b}, err
}
