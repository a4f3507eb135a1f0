package maintenance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/breaker"
	"ratchet/internal/research"
)

// Schedule makes backups while a run is driven, as a policy says. A backup that
// fails does not harm the run: warn is called, and the next backup is tried.
type Schedule struct {
	of     *Maintenance
	policy BackupPolicy
	deps   *breaker.Dependencies
	warn   func(error)
	stage  chan struct{} // a stage has ended

	mu   sync.Mutex
	made time.Time // when the last backup was made; zero: unknown
}

// Schedule returns the schedule of a policy. deps has the breaker of the place
// with backups.
func (m *Maintenance) Schedule(policy BackupPolicy, deps *breaker.Dependencies, warn func(error)) *Schedule {
	if warn == nil {
		warn = func(error) {}
	}
	return &Schedule{of: m, policy: policy, deps: deps, warn: warn, stage: make(chan struct{}, 1)}
}

// Committed is called with events that are durable.
func (b *Schedule) Committed(events []research.Payload) {
	for _, p := range events {
		if _, ended := p.(research.StageCompleted); ended && b.policy.AfterStage {
			select {
			case b.stage <- struct{}{}:
			default: // one is asked for already
			}
		}
	}
}

// Run makes backups until ctx ends.
func (b *Schedule) Run(ctx context.Context) {
	if b.policy.To == "" {
		return
	}
	due := make(<-chan time.Time)
	if b.policy.Every > 0 {
		last := b.last(ctx)
		b.note(last)
		due = time.After(max(0, last.Add(b.policy.Every).Sub(b.of.home.Now())))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
		case <-b.stage:
		}
		b.make(ctx)
		if b.policy.Every > 0 {
			due = time.After(b.policy.Every)
		}
	}
}

// last is when this home was backed up last; zero: never, or unknown.
func (b *Schedule) last(ctx context.Context) (last time.Time) {
	r, err := repository(ctx, b.of.home.Folder, b.policy.BackupPlace, false)
	if err != nil {
		return last // the first backup says what is wrong
	}
	defer r.Close()
	all, _ := r.List(ctx)
	for _, m := range all {
		if m.Home == b.of.home.Folder && m.Time.After(last) {
			last = m.Time
		}
	}
	return last
}

func (b *Schedule) note(made time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = made
}

// Last is when the last backup was made, zero if that is unknown, and how often
// one is to be made by time; 0: not by time.
func (b *Schedule) Last() (made time.Time, every time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made, b.policy.Every
}

// Ended is called when the run has ended and its report is written.
func (b *Schedule) Ended(ctx context.Context) {
	if b.policy.AfterStage {
		b.make(ctx)
	}
}

// make makes one backup.
func (b *Schedule) make(ctx context.Context) {
	var m *backup.Manifest
	err := b.deps.Of("place with backups").Do(ctx, 0, func(ctx context.Context) (err error) {
		m, err = b.of.Backup(ctx, b.policy.BackupPlace, nil)
		return err
	})
	switch {
	case errors.As(err, new(*backup.HeldError)), ctx.Err() != nil:
		return // the holder makes one; or this one was cancelled
	case err != nil:
		b.warn(fmt.Errorf("the backup to %s failed: %w", b.policy.To, err))
		return
	}
	b.note(m.Time)
	for _, d := range m.Damaged {
		b.warn(fmt.Errorf("backup %s is without what is damaged: %s", m.ID, d))
	}
	if b.policy.Keep == (backup.Keep{}) {
		return
	}
	if _, err := b.of.Prune(ctx, b.policy.BackupPlace, b.policy.Keep); err != nil && ctx.Err() == nil {
		b.warn(fmt.Errorf("removing old backups from %s failed: %w", b.policy.To, err))
	}
}
