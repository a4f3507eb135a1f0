// Package maintenance looks after a home: it verifies and repairs it, removes
// garbage, makes backups and restores them.
package maintenance

import (
	"context"
	"path/filepath"
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/executor"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/publish"
)

// BackupPlace says where backups are kept, and with which keys.
type BackupPlace struct {
	To         string   // a folder, or a URL as gocloud.dev/blob has them
	Recipients []string // age recipients; none: backups are not encrypted
	Identity   string   // file with the age identity that opens them; empty: none
}

// BackupPolicy makes backups while runs are driven. The zero policy makes none.
type BackupPolicy struct {
	BackupPlace
	Every      time.Duration // since the last one; 0: not by time
	AfterStage bool          // at each stage's end
	Keep       backup.Keep   // what stays of older ones; zero: all
}

func repository(ctx context.Context, home string, p BackupPlace, create bool) (*backup.Repository, error) {
	keys, err := backup.ReadKeys(p.Recipients, p.Identity)
	if err != nil {
		return nil, err
	}
	return backup.Open(ctx, p.To, keys, filepath.Join(home, "backups"), create)
}

// Maintenance looks after a home.
type Maintenance struct {
	home      *home.Home
	history   *history.History
	publisher *publish.Publisher
	executor  func(run string) executor.Executor
}

// Of is the maintenance of a home. executor executes the jobs of a run; only GC
// needs it.
func Of(h *home.Home, publisher *publish.Publisher, executor func(run string) executor.Executor) *Maintenance {
	return &Maintenance{h, history.Of(h), publisher, executor}
}

// Backup makes a backup of runs, of all if none is named. See
// backup.Repository.Create.
func (m *Maintenance) Backup(ctx context.Context, p BackupPlace, runs []string) (*backup.Manifest, error) {
	done, err := m.home.LockShared()
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := repository(ctx, m.home.Folder, p, true)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Create(ctx, backup.Source{Journal: m.home.Journal, Objects: m.home.Objects, Chains: chainsOf(runs), Home: m.home.Folder, Release: home.Release, Now: m.home.Now()})
}

// Prune removes old backups. See backup.Repository.Prune.
func (m *Maintenance) Prune(ctx context.Context, p BackupPlace, keep backup.Keep) (*backup.Pruned, error) {
	r, err := repository(ctx, m.home.Folder, p, false)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Prune(ctx, keep)
}
