package sqlite_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ratchet/internal/journal"
	"ratchet/internal/journal/journaltest"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/proof"
)

// TestSalvage: of a whole database, in its file or its log, all is found, long
// payloads too; of one that is damaged anywhere, only what was written.
func TestSalvage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]journal.Record{}
	for _, run := range []string{"one", "two"} {
		entries := journaltest.Entries(30)
		for i, n := range []int{10, 1000, 5000, 60_000} {
			entries[5*i].Payload = json.RawMessage(`"` + strings.Repeat("x", n) + `"`)
		}
		journaltest.Append(t, j, run, journal.Head{}, entries...)
		want[run] = journaltest.All(t, j, run)
	}
	salvage := func(dir string) map[string][]journal.Record {
		t.Helper()
		got, err := sqlite.Salvage(filepath.Join(dir, "journal.db"))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(want, salvage(filepath.Dir(path))); diff != "" {
		t.Errorf("from the log: %s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, salvage(filepath.Dir(path))); diff != "" {
		t.Errorf("from the file: %s", diff)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	least := 60
	for at := 0; at < len(whole); at += proof.Of(19_999, 1999) {
		b := append([]byte{}, whole...)
		for i := at; i < min(at+200, len(b)); i++ {
			b[i] ^= 0x5a
		}
		if at%2 == 0 {
			b = b[:max(at, 100)]
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		for run, records := range salvage(dir) {
			for _, r := range records {
				n++
				if diff := cmp.Diff(want[run][r.Seq-1], r); diff != "" {
					t.Errorf("damaged at byte %d, run %s: %s", at, run, diff)
				}
			}
		}
		if at%2 == 1 {
			least = min(least, n)
		}
	}
	if least < 30 {
		t.Errorf("of 60 records a damage of 200 bytes left %d", least)
	}
	if got, err := sqlite.Salvage(filepath.Join(t.TempDir(), "nothing")); err != nil || len(got) > 0 {
		t.Errorf("of nothing: %v (%v)", got, err)
	}
}

func FuzzSalvage(f *testing.F) {
	path := filepath.Join(f.TempDir(), "journal.db")
	j, err := sqlite.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := j.Append(context.Background(), "run", journal.Head{}, journaltest.Entries(10)...); err != nil {
		f.Fatal(err)
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := sqlite.Salvage(path)
		if err != nil {
			t.Fatal(err)
		}
		for run, records := range found {
			for _, r := range records {
				if journal.Sum(run, r) != r.Hash {
					t.Errorf("run %s, record %d is not what was written", run, r.Seq)
				}
			}
		}
	})
}
