package maintenance_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/journal"
	"ratchet/internal/maintenance"
	"ratchet/internal/research"
)

func restore(t *testing.T, e *enginetest.Engine, l *enginetest.Lab, o maintenance.RestoreOptions) *maintenance.Restored {
	t.Helper()
	r, err := e.Restore(context.Background(), l.Place(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRestoreElsewhere: a run that was backed up in its middle goes on in
// another home, to the same end.
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	var m *backup.Manifest
	_, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(s *research.State, _ []research.Payload) {
		if m == nil && s.Tally.Trials == 3 {
			m = l.BackUp(e) // while it is driven
		}
	}})
	if err != nil || m == nil {
		t.Fatal(err)
	}
	want := l.Digest(e, run)
	other := enginetest.Open(t, filepath.Join(l.Dir, "another-home"), engine.Options{})
	r := restore(t, other, l, maintenance.RestoreOptions{Output: t.TempDir(), Backup: m.ID})
	if len(r.Runs) != 1 || r.Runs[0].Was != 0 || r.Objects < 5 {
		t.Errorf("%+v", r)
	}
	if err := os.RemoveAll(filepath.Join(l.Dir, "out")); err != nil { // the report is not of this home
		t.Fatal(err)
	}
	l.Whole(other)
	s, _, err := other.Load(context.Background(), run)
	if err != nil || s.Ended() || s.Tally.Trials < 3 {
		t.Fatalf("restored: %+v (%v)", s.Tally, err)
	}
	l.Drive(other, run)
	if got := l.Digest(other, run); got != want {
		t.Errorf("it comes to %s, and came to %s", got, want)
	}
}

// TestRestoreHere: what is newer is left alone, what is older goes on, and
// what is replaced is kept aside.
func TestRestoreHere(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	first := l.BackUp(e)
	l.Drive(e, run)
	want := l.Digest(e, run)
	last := l.BackUp(e)
	if r := restore(t, e, l, maintenance.RestoreOptions{Output: t.TempDir(), Backup: last.ID}); r.Objects != 0 || r.Runs[0].Was != r.Runs[0].Seq {
		t.Errorf("restoring what is here: %+v", r)
	}
	var newer *maintenance.NewerError
	if _, err := e.Restore(context.Background(), l.Place(), maintenance.RestoreOptions{Output: t.TempDir(), Backup: first.ID}); !errors.As(err, &newer) || newer.Other {
		t.Errorf("restoring something older: %v", err)
	}
	r := restore(t, e, l, maintenance.RestoreOptions{Output: t.TempDir(), Backup: first.ID, Force: true})
	if r.Runs[0].Aside == "" || r.Runs[0].Seq != 1 {
		t.Fatalf("%+v", r)
	}
	// Forward again, twice: with the backup, and from what was kept aside.
	if r := restore(t, e, l, maintenance.RestoreOptions{Output: t.TempDir(), Backup: last.ID}); r.Runs[0].Was != 1 || r.Runs[0].Aside != "" {
		t.Errorf("%+v", r)
	}
	if got := l.Digest(e, run); got != want {
		t.Errorf("restored it is %s, was %s", got, want)
	}
	restore(t, e, l, maintenance.RestoreOptions{Output: t.TempDir(), Backup: last.ID, At: "stage-planning", Force: true})
	s, _, err := e.Load(context.Background(), run)
	if err != nil || s.Stage != research.Planning {
		t.Errorf("restored up to planning it is in %s (%v)", s.Stage, err)
	}
	if _, err := e.Restore(context.Background(), maintenance.BackupPlace{To: r.Runs[0].Aside}, maintenance.RestoreOptions{Output: t.TempDir(), Backup: "latest"}); err != nil {
		t.Error(err)
	}
	if got := l.Digest(e, run); got != want {
		t.Errorf("restored from aside it is %s, was %s", got, want)
	}
	// Another way: rolled back and gone on.
	if _, err := e.Rollback(context.Background(), run, 10, "me"); err != nil {
		t.Fatal(err)
	}
	restore(t, e, l, maintenance.RestoreOptions{Output: t.TempDir(), Backup: first.ID, Force: true})
	if err := e.Request(context.Background(), run, research.CheckpointMade{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Restore(context.Background(), l.Place(), maintenance.RestoreOptions{Output: t.TempDir(), Backup: last.ID}); !errors.As(err, &newer) || !newer.Other {
		t.Errorf("restoring over something else: %v", err)
	}
}

// TestRestoreOfADamagedBackup touches nothing.
func TestRestoreOfADamagedBackup(t *testing.T) {
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	m := l.BackUp(e)
	files, err := filepath.Glob(filepath.Join(l.Dir, "backups", "packs", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], enginetest.Flipped(b, len(b)-1), 0o600); err != nil {
		t.Fatal(err)
	}
	other := enginetest.Open(t, filepath.Join(l.Dir, "another-home"), engine.Options{})
	if _, err := other.Restore(context.Background(), l.Place(), maintenance.RestoreOptions{Output: t.TempDir(), Backup: m.ID}); err == nil || !strings.Contains(err.Error(), "cannot be restored") {
		t.Errorf("restoring a damaged backup: %v", err)
	}
	runs, err := other.Runs(context.Background())
	if err != nil || len(runs) > 0 || l.Count(other) > 0 {
		t.Errorf("there are runs %v and %d objects (%v)", runs, l.Count(other), err)
	}
}

// TestAutomaticBackups: after each stage, with what is old removed; one that
// fails harms nothing.
func TestAutomaticBackups(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	policy := maintenance.BackupPolicy{BackupPlace: l.Place(), AfterStage: true, Every: time.Hour, Keep: backup.Keep{Last: 2}}
	o := engine.DriveOptions{Backups: e.Schedule(policy, e.Dependencies(), func(err error) { t.Error(err) })}
	if _, err := e.Drive(context.Background(), run, o); err != nil {
		t.Fatal(err)
	}
	want := l.Digest(e, run)
	r, err := backup.Open(context.Background(), policy.To, backup.Keys{}, "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, bad := r.List(context.Background())
	head, err := e.Journal.Head(context.Background(), journal.Of(run))
	if err != nil || len(bad) > 0 || len(all) == 0 || len(all) > 2 || all[len(all)-1].Runs[0].Seq != head.Seq {
		t.Errorf("%d backups, %v (%v)", len(all), bad, err)
	}
	l = enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e = l.Open(engine.Options{})
	run = l.Create(e)
	var warned []error
	policy.To = "/proc/no/such/place"
	o = engine.DriveOptions{Backups: e.Schedule(policy, e.Dependencies(), func(err error) { warned = append(warned, err) })}
	if _, err := e.Drive(context.Background(), run, o); err != nil || len(warned) == 0 || !strings.Contains(warned[0].Error(), "/proc/no/such/place") {
		t.Errorf("warned of %v (%v)", warned, err)
	}
	if got := l.Digest(e, run); got != want {
		t.Errorf("it came to %s, want %s", got, want)
	}
}

// repair closes the engine, mends the home, and opens it again.
func repair(l *enginetest.Lab, e *enginetest.Engine, place maintenance.BackupPlace) (*maintenance.Repaired, *enginetest.Engine) {
	l.T.Helper()
	if e != nil {
		if err := e.Close(); err != nil {
			l.T.Fatal(err)
		}
	}
	r, err := maintenance.Repair(context.Background(), l.Home(), place)
	if err != nil {
		l.T.Fatal(err)
	}
	return r, l.Open(engine.Options{})
}

// TestRepairObjects: what a backup has is put back, the rest is named.
func TestRepairObjects(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	if r, opened := repair(l, e, maintenance.BackupPlace{}); len(r.Mended)+len(r.Lost) > 0 || r.Aside != "" {
		t.Errorf("of a whole home: %+v", r)
	} else {
		e = opened
	}
	l.BackUp(e)
	files, err := filepath.Glob(filepath.Join(l.Home(), "objects", "??", "*"))
	if err != nil || len(files) < 5 {
		t.Fatal(err)
	}
	flip := func(path string) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, enginetest.Flipped(b, len(b)-1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range files {
		if i%2 == 0 {
			flip(path)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	r, e := repair(l, e, l.Place())
	if len(r.Mended) != len(files) || len(r.Lost) > 0 || r.Aside == "" {
		t.Errorf("%d were damaged: %+v", len(files), r)
	}
	if kept, err := filepath.Glob(filepath.Join(r.Aside, "objects", "*")); err != nil || len(kept) != (len(files)+1)/2 {
		t.Errorf("%d damaged objects were kept aside (%v)", len(kept), err)
	}
	l.Whole(e)
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	r, _ = repair(l, e, maintenance.BackupPlace{})
	if len(r.Lost) == 0 || !strings.Contains(strings.Join(r.Lost, "\n"), filepath.Base(files[1])) {
		t.Errorf("without a backup: %+v", r)
	}
}

// TestRepairJournal, damaged in its first pages, in its middle, at its end, or
// gone: up to its last good record, and with a backup beyond it.
func TestRepairJournal(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	want := l.Digest(e, run)
	head, err := e.Journal.Head(context.Background(), journal.Of(run))
	if err != nil {
		t.Fatal(err)
	}
	l.BackUp(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.Home(), "journal.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(b []byte) []byte{
		"its header": func(b []byte) []byte { return append(make([]byte, 100), b[100:]...) },
		"its middle": func(b []byte) []byte {
			return append(append(slices.Clone(b[:len(b)/2]), make([]byte, 300)...), b[len(b)/2+300:]...)
		},
		"one byte":         func(b []byte) []byte { return enginetest.Flipped(b, bytes.LastIndex(b, []byte(`"verdict"`))) },
		"its second half":  func(b []byte) []byte { return b[:len(b)/2] },
		"all of it":        func([]byte) []byte { return nil },
		"what is not ours": func([]byte) []byte { return []byte(strings.Repeat("something else ", 1000)) },
		"two bytes, far": func(b []byte) []byte {
			return enginetest.Flipped(enginetest.Flipped(b, bytes.Index(b, []byte(`"objective"`))), bytes.LastIndex(b, []byte(`"verdict"`)))
		},
	} {
		for _, place := range []maintenance.BackupPlace{{}, l.Place()} {
			t.Run(name+" "+filepath.Base(place.To), func(t *testing.T) {
				l := *l
				l.T = t
				if err := os.WriteFile(path, damage(slices.Clone(whole)), 0o600); err != nil {
					t.Fatal(err)
				}
				r, e := repair(&l, nil, place)
				now, err := e.Journal.Head(context.Background(), journal.Of(run))
				if err != nil {
					t.Fatal(err)
				}
				if place.To != "" {
					if now != head || len(r.Lost) > 0 || l.Digest(e, run) != want {
						t.Errorf("with a backup the run ends at %d of %d: %+v", now.Seq, head.Seq, r)
					}
				} else if now.Seq < head.Seq && len(r.Lost) == 0 {
					t.Errorf("records are missing, and nobody says so: %+v", r)
				}
				t.Logf("%d of %d records: %+v", now.Seq, head.Seq, r)
				v, err := e.Verify(context.Background(), nil)
				if err != nil || len(v.Damages) > 0 != (now.Seq == 0) {
					t.Errorf("repaired, it has %v (%v)", v.Damages, err)
				}
				if now.Seq > 0 && now.Seq < head.Seq {
					l.Drive(e, run)
					if got := l.Digest(e, run); got != want {
						t.Errorf("gone on with it comes to %s, want %s", got, want)
					}
				}
				if kept, err := filepath.Glob(filepath.Join(l.Home(), "aside", "*", "journal.db")); err != nil || len(kept) == 0 {
					t.Errorf("the damaged journal is not kept (%v)", err)
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				for _, suffix := range []string{"-wal", "-shm"} {
					_ = os.Remove(path + suffix)
				}
				if err := os.RemoveAll(filepath.Join(l.Home(), "aside")); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRepairBesideARun is refused.
func TestRepairBesideARun(t *testing.T) {
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	asked := false
	if _, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(*research.State, []research.Payload) {
		asked = true
		if _, err := maintenance.Repair(context.Background(), l.Home(), maintenance.BackupPlace{}); err == nil || !strings.Contains(err.Error(), "another process works") {
			t.Errorf("repairing: %v", err)
		}
	}}); err != nil || !asked {
		t.Error(err)
	}
}
