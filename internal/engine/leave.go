package engine

import (
	"context"
	"errors"

	"ratchet/internal/history"
	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// leave ends the driving for a reason that is not the run's own end.
func (d *driver) leave(ctx context.Context, reason error) error {
	if !errors.Is(reason, ErrInterrupted) {
		return reason
	}
	if d.options.OnInterrupt == Stop {
		if err := d.discard(ctx); err != nil {
			return err
		}
	}
	return errors.Join(reason, d.stopped(ctx, "interrupted"))
}

// stopped journals that this engine leaves on purpose.
func (d *driver) stopped(ctx context.Context, reason string) error {
	if d.state.Ended() {
		return nil // the run's end is the last record
	}
	entry, err := history.Encode(research.EngineStopped{Engine: d.id, Reason: reason}, d.clock.Now())
	if err != nil {
		return err
	}
	d.engine.KeepState(d.run, d.state, d.head)
	_, err = d.engine.Journal.Append(context.WithoutCancel(ctx), journal.Of(d.run), d.head, entry)
	if errors.As(err, new(*journal.ConflictError)) {
		return nil // the last writer knows more
	}
	return err
}

// discard stops all attempts and waits for them. Those that came to their own
// end meanwhile count; the others are removed, to begin anew when the run is
// driven on.
func (d *driver) discard(ctx context.Context) error {
	d.stopAll("the run is being stopped")
	for len(d.flying) > 0 {
		r := <-d.results
		if !r.stopped {
			if err := d.commitResult(ctx, r); err != nil {
				return err
			}
			continue
		}
		delete(d.flying, r.action)
		if err := d.cleanAll(context.WithoutCancel(ctx), r.action); err != nil {
			return err
		}
	}
	return nil
}

// stopAll ends all attempts that run, and keeps others from beginning.
func (d *driver) stopAll(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping != "" {
		return
	}
	d.stopping = why
	close(d.halted)
	for _, h := range d.handles {
		_ = h.Stop(false) // one that cannot be signalled has ended
	}
}
