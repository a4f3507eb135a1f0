package history_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/report"
)

// TestEarlierJournals: a journal of every earlier release, and of this one,
// folds to the results that it had then. testdata/journals has one of each:
// a small run with failures, and since 0.2.0 a rollback, a named checkpoint
// and a fork. A release adds its own, and changes none.
func TestEarlierJournals(t *testing.T) {
	releases, err := os.ReadDir(filepath.Join("testdata", "journals"))
	if err != nil || len(releases) < 2 {
		t.Fatalf("%d releases (%v)", len(releases), err)
	}
	current := false
	for _, release := range releases {
		current = current || release.Name() == home.Release
		t.Run(release.Name(), func(t *testing.T) {
			from := filepath.Join("testdata", "journals", release.Name())
			home := t.TempDir()
			b, err := os.ReadFile(filepath.Join(from, "journal.db"))
			if err == nil {
				err = os.WriteFile(filepath.Join(home, "journal.db"), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			digests := map[string]string{}
			if b, err = os.ReadFile(filepath.Join(from, "digests.json")); err == nil {
				err = json.Unmarshal(b, &digests)
			}
			if err != nil || len(digests) == 0 {
				t.Fatal(err)
			}
			e, err := engine.Open(home, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			for run, want := range digests {
				s, head, err := e.Load(context.Background(), run)
				if err != nil {
					t.Fatal(err)
				}
				r := report.Build(s, report.Journal{Seq: head.Seq, Hash: head.Hash.String()}, nil)
				if r.Digest != want {
					t.Errorf("run %s comes to %s, and came to %s", run, r.Digest, want)
				}
				points, err := e.Checkpoints(context.Background(), run)
				if err != nil || len(points) < 5 || points[0].Name != "start" {
					t.Errorf("run %s has the checkpoints %+v (%v)", run, points, err)
				}
				// Every position of it folds, too.
				for seq := int64(1); seq <= head.Seq; seq++ {
					if _, at, err := e.LoadAt(context.Background(), run, seq); err != nil || at == (journal.Head{}) {
						t.Errorf("run %s at record %d: %v", run, seq, err)
					}
				}
			}
		})
	}
	if !current {
		t.Errorf("there is no journal of release %s", home.Release)
	}
}
