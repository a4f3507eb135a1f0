package ratchet

import (
	"context"
	"os"

	"ratchet/internal/attempt"
	"ratchet/internal/backup"
	"ratchet/internal/draft"
	"ratchet/internal/maintenance"
	"ratchet/internal/redact"
	"ratchet/internal/view"
)

// VerifyOptions say what is verified.
type VerifyOptions struct {
	Runs []string // nil: all
	// Heads are hashes of records that were kept elsewhere, or 16 digits of their
	// beginnings or more: such records must still be there.
	Heads []string
}

// Verify checks runs: every record, every object that they need, the published
// results, and hashes that were kept elsewhere. What is damaged is in the verification; the
// error says that it could not be made.
func (e *Engine) Verify(ctx context.Context, o VerifyOptions) (*Verification, error) {
	v, err := e.maintenance.Verify(ctx, o.Runs)
	if err != nil {
		return nil, err
	}
	return v, e.maintenance.VerifyHeads(ctx, v, o.Runs, o.Heads)
}

// Repair mends the home in a folder that no process works in, with what a backup has where
// place says that there is one. Originals that were damaged are kept aside.
func Repair(ctx context.Context, folder string, place BackupPlace) (*Repaired, error) {
	return maintenance.Repair(ctx, folder, place)
}

// RemoveGarbage removes what no record, report or rollback of any run needs: objects,
// and folders of attempts. With dry it removes nothing, and says what it would.
func (e *Engine) RemoveGarbage(ctx context.Context, dry bool) (*Garbage, error) {
	return e.maintenance.GC(ctx, dry)
}

// DiskUse is what a run takes of the disk.
func (e *Engine) DiskUse(ctx context.Context, run string) (DiskUse, error) {
	return e.maintenance.DiskUse(ctx, run)
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

// Backups are the backups in a place. It takes no home to look at them.
type Backups struct{ repository *backup.Repository }

// OpenBackups opens a place of backups. One that is none is a NoBackupsError; one
// whose backups are encrypted and whose place names no fitting identity gives
// ErrBackupLocked, here or on reading.
func OpenBackups(ctx context.Context, place BackupPlace) (*Backups, error) {
	keys, err := backup.ReadKeys(nil, place.Identity)
	if err != nil {
		return nil, err
	}
	r, err := backup.Open(ctx, place.To, keys, "", false)
	if err != nil {
		return nil, err
	}
	return &Backups{r}, nil
}

// Close closes the place.
func (b *Backups) Close() error { return b.repository.Close() }

// List gives the backups, the oldest first, and why others cannot be read.
func (b *Backups) List(ctx context.Context) ([]*BackupManifest, []error) {
	return b.repository.List(ctx)
}

// Verify reads backups to the last byte and checks them: all, if none is named. What
// is damaged is in the verification; the error says that it could not be made.
func (b *Backups) Verify(ctx context.Context, ids ...string) (*BackupVerification, error) {
	var which []*BackupManifest
	for _, id := range ids {
		m, err := b.repository.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		which = append(which, m)
	}
	return b.repository.Verify(ctx, which...)
}

// Prune removes the backups that are not to be kept, and what only they needed. It is
// durable on return; if it is cut short, what is kept is whole.
func (b *Backups) Prune(ctx context.Context, keep BackupKeep) (*Pruned, error) {
	return b.repository.Prune(ctx, keep)
}

// Abilities are what this machine can do for studies, with a home in a folder that
// may not exist yet. Nothing is made. Without the first no program runs.
func Abilities(home string) []Ability { return view.Abilities(home) }

// RunAttempt runs the attempt that job.json in a folder describes to its end, with no
// home and no engine, and leaves its outcome there. Called again it attaches, or says
// what came of it. If ctx ends, the attempt is stopped, with the grace of its limits.
func RunAttempt(ctx context.Context, folder string) (*Outcome, error) {
	return attempt.Run(ctx, folder, redact.OfEnvironment(os.Environ()))
}

// Draft is a study of a command that works already, as far as it is known; see NewDraft.
type Draft = draft.Draft

// DraftFile is a file of a first study.
type DraftFile = draft.File

// NewDraft reads a command, for a study in a folder. Try runs it once, in a sandbox, to
// learn what it reads, prints and takes; Study gives the study's file.
func NewDraft(dir string, command []string) *Draft { return draft.Of(dir, command) }

// FirstStudy is a study with a small program that runs as it is.
func FirstStudy() []DraftFile { return draft.First() }
