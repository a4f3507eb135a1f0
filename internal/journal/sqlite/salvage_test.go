package sqlite_test

import (
	"bytes"
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
		return found(t, filepath.Join(dir, "journal.db"), nil)
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
	if got := found(t, filepath.Join(t.TempDir(), "nothing"), nil); len(got) > 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// found is what Salvage finds, by the names of the chains.
func found(t *testing.T, path string, names []string) map[string][]journal.Record {
	t.Helper()
	s, err := sqlite.Salvage(path, filepath.Join(t.TempDir(), "scratch.db"), names)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	chains, err := s.Chains()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]journal.Record{}
	for c := range chains {
		for r, err := range s.Records(c) {
			if err != nil {
				t.Fatal(err)
			}
			if journal.Sum(c, r) != r.Hash {
				t.Errorf("run %s, record %d is not what was written", c, r.Seq)
			}
			out[c.Name()] = append(out[c.Name()], r)
		}
	}
	return out
}

// TestSalvageWithoutHeads: where the table of heads is lost, and its index, the
// records of the runs whose names are known are found.
func TestSalvageWithoutHeads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	journaltest.Append(t, j, "one", journal.Head{}, journaltest.Entries(7)...)
	journaltest.Append(t, j, "two", journal.Head{}, journaltest.Entries(5)...)
	if _, err := j.Append(context.Background(), journal.CallsOf("one"), journal.Head{}, journaltest.Entries(3)...); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 4096; page < len(b); page += 4096 {
		rows := b[page : page+4096]
		if !bytes.Contains(rows, []byte("test.happened")) {
			clear(rows)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := found(t, path, nil); len(got) != 0 {
		t.Errorf("without a name: %v", got)
	}
	got := found(t, path, []string{"one", "one.calls", "three"})
	if len(got["one"]) != 7 || len(got["one.calls"]) != 3 || len(got) != 2 {
		t.Errorf("found %v", got)
	}
}

func FuzzSalvage(f *testing.F) {
	path := filepath.Join(f.TempDir(), "journal.db")
	j, err := sqlite.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := j.Append(context.Background(), journal.Of("run"), journal.Head{}, journaltest.Entries(10)...); err != nil {
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
		found(t, path, []string{"run"})
	})
}
