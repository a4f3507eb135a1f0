package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/research"
)

// backups makes backups while a run is driven, as its policy says. One that
// fails does the run no harm: somebody is told, and the next one is tried.
type backups struct {
	engine *Engine
	policy BackupPolicy
	warn   func(error)
	stage  chan struct{} // a stage has ended

	mu   sync.Mutex
	made time.Time // when the last backup was made; zero: nobody knows
}

func (e *Engine) backups(o DriveOptions) *backups {
	b := &backups{engine: e, policy: o.Backup, warn: o.Warn, stage: make(chan struct{}, 1)}
	if b.warn == nil {
		b.warn = func(error) {}
	}
	return b
}

// see is told of what was journaled.
func (b *backups) see(events []research.Payload) {
	for _, p := range events {
		if _, ended := p.(research.StageCompleted); ended && b.policy.AfterStage {
			select {
			case b.stage <- struct{}{}:
			default: // one is asked for already
			}
		}
	}
}

// run makes backups until ctx ends.
func (b *backups) run(ctx context.Context) {
	if b.policy.To == "" {
		return
	}
	due := make(<-chan time.Time)
	if b.policy.Every > 0 {
		last := b.last(ctx)
		b.note(last)
		due = time.After(max(0, last.Add(b.policy.Every).Sub(b.engine.now())))
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

// last is when this home was backed up last; zero: never, or nobody knows.
func (b *backups) last(ctx context.Context) (last time.Time) {
	r, err := b.engine.repository(ctx, b.policy.BackupPlace, false)
	if err != nil {
		return last // the first backup says what is wrong
	}
	defer r.Close()
	all, _ := r.List(ctx)
	for _, m := range all {
		if m.Home == b.engine.home && m.Time.After(last) {
			last = m.Time
		}
	}
	return last
}

func (b *backups) note(made time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = made
}

// lastMade is when the last backup was made; zero: nobody knows.
func (b *backups) lastMade() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made
}

// make makes one backup.
func (b *backups) make(ctx context.Context) {
	var m *backup.Manifest
	err := b.engine.deps.Of("place with backups").Do(ctx, 0, func(ctx context.Context) (err error) {
		m, err = b.engine.Backup(ctx, b.policy.BackupPlace, nil)
		return err
	})
	switch {
	case errors.As(err, new(*backup.HeldError)), ctx.Err() != nil:
		return // whoever holds it makes one; or this one was broken off
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
	if _, err := b.engine.Prune(ctx, b.policy.BackupPlace, b.policy.Keep); err != nil && ctx.Err() == nil {
		b.warn(fmt.Errorf("removing old backups from %s failed: %w", b.policy.To, err))
	}
}
