package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ratchet/internal/history"
	"ratchet/internal/journal"
	"ratchet/internal/planted"
	"ratchet/internal/research"
)

// commit folds events, decides all that follows, and journals the whole in
// one append. Nothing is acted on before. If another process wrote to the journal
// meanwhile, the run is folded anew and decided again.
func (d *driver) commit(ctx context.Context, events []research.Payload) error {
	outcomes := events
	for {
		marks := len(d.state.Checkpoints)
		all, entries, err := d.follow(context.WithoutCancel(ctx), outcomes)
		if err != nil || len(entries) == 0 {
			return err
		}
		if planted.Bug("launched-first") && d.leaving != nil {
			d.launch(context.WithoutCancel(ctx))
		}
		// An append that was handed over is not taken back by an interrupt.
		began := time.Now()
		head, err := d.engine.Journal.Append(context.WithoutCancel(ctx), journal.Of(d.run), d.head, entries...)
		d.watch.Appended(time.Since(began))
		switch {
		case errors.As(err, new(*journal.ConflictError)):
			if conflict := new(journal.ConflictError); planted.Bug("stale-state") && errors.As(err, &conflict) {
				d.head = conflict.Actual
				continue
			}
			if err := d.reload(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("journaling: %w", err)
		}
		d.head = head
		if len(d.state.Checkpoints) > marks {
			d.engine.KeepState(d.run, d.state, head)
		}
		d.models.committed(d.state.Stage)
		d.options.Observe(d.state, all)
		d.watch.Committed(d.state, all)
		if d.options.Backups != nil {
			d.options.Backups.Committed(all)
		}
		return nil
	}
}

// follow applies events and everything that the core decides from them to the
// state in memory, and gives their journal entries. What follows from
// the journal alone, a proposal or a verdict, is there at once: the decision and its
// outcome are in one append.
func (d *driver) follow(ctx context.Context, events []research.Payload) ([]research.Payload, []journal.Entry, error) {
	var all []research.Payload
	var entries []journal.Entry
	for len(events) > 0 || all == nil {
		for _, p := range events {
			if end, ok := p.(research.RunCompleted); ok {
				end.Models = d.models.usage("")
				p = end
			}
			now := d.clock.Now()
			entry, err := history.Encode(p, now)
			if err != nil {
				return nil, nil, err
			}
			if err := d.state.Apply(research.Event{Seq: d.state.Seq + 1, Time: now, Data: p}); err != nil {
				return nil, nil, fmt.Errorf("run %s: %w", d.run, err)
			}
			all, entries = append(all, p), append(entries, entry)
		}
		var err error
		if events, err = d.computed(ctx); err != nil {
			return nil, nil, err
		}
		if len(events) > 0 {
			continue
		}
		if events = research.Decide(d.state, d.clock.Now()); len(events) == 0 {
			break
		}
	}
	return all, entries, nil
}

// reload folds the run anew after another process wrote to its journal, and
// stops if that was another engine.
func (d *driver) reload(ctx context.Context) error {
	s, head, err := d.engine.Load(context.WithoutCancel(ctx), d.run)
	if err != nil {
		return err
	}
	d.state, d.head = s, head
	d.clock.NotBefore(s.Time)
	if d.began && s.Engine.Engine != d.id {
		return &FencedError{d.run, s.Engine.Host}
	}
	return nil
}

// listen tells the driver of records from a number on, as they are written,
// until ctx ends.
func (d *driver) listen(ctx context.Context, from int64) {
	for r, err := range d.engine.Journal.Subscribe(ctx, journal.Of(d.run), from) {
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, new(*journal.ConflictError)): // the records are others now: folding them says which
			r.Seq = math.MaxInt64
		case err != nil:
			d.answer(result{err: err})
			return
		}
		select {
		case d.written <- r.Seq:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
