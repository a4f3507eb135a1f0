package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
	"ratchet/internal/journal/faultdisk"
	"ratchet/internal/journal/journaltest"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/proof"
)

// format1 writes a database as releases up to 0.2.0 did.
func format1(t testing.TB, path, vfs string, chains map[journal.Chain][]journal.Record) {
	t.Helper()
	uri := "file:" + path
	if vfs != "" {
		uri += "?vfs=" + vfs
	}
	c, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(`PRAGMA journal_mode=WAL; PRAGMA application_id=0x72746368; PRAGMA user_version=1; CREATE TABLE records (
		run TEXT NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL,
		payload BLOB NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID; BEGIN`); err != nil {
		t.Fatal(err)
	}
	s, _, err := c.Prepare(`INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for chain, records := range chains {
		for _, r := range records {
			err := errors.Join(s.BindText(1, chain.Name()), s.BindInt64(2, r.Seq), s.BindInt64(3, r.Time.UnixMicro()), s.BindText(4, r.Type),
				s.BindInt(5, r.Version), s.BindBlob(6, r.Payload), s.BindBlob(7, r.Prev[:]), s.BindBlob(8, r.Hash[:]), s.Exec())
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Exec(`COMMIT`); err != nil {
		t.Fatal(err)
	}
}

func linked(t testing.TB, c journal.Chain, n int) []journal.Record {
	t.Helper()
	entries := journaltest.Entries(n)
	entries[n/2].Payload = json.RawMessage(`"` + strings.Repeat("x", 60_000) + `"`)
	records, err := journal.Link(c, journal.Head{}, entries)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestMigration: a journal of format 1 has the same records, hashes and heads
// afterwards, and is gone on with; damage stays what it was.
func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	chains := map[journal.Chain][]journal.Record{}
	for i, c := range []journal.Chain{journal.Of("a"), journal.CallsOf("a"), journal.Of("a.b"), journal.Of("ü")} {
		chains[c] = linked(t, c, 3+i)
	}
	forged := linked(t, journal.Of("forged"), 4)
	forged[2].Type = "test.forged"
	chains[journal.Of("forged")] = forged
	format1(t, path, "", chains)
	if got := found(t, path, nil); len(got["a.calls"]) != 4 || len(got["forged"]) != 3 {
		t.Errorf("of format 1 is salvaged: %v", got)
	}
	for i := range 2 {
		var said []string
		j := open(t, path, sqlite.Announce(func(text string) { said = append(said, text) }))
		if i == 0 && (len(said) != 1 || !strings.Contains(said[0], "22 records")) || i > 0 && len(said) > 0 {
			t.Errorf("opened for the %d. time it says %q", i+1, said)
		}
		for c, want := range chains {
			last := want[len(want)-1]
			if head, err := j.Head(context.Background(), c); err != nil || head != last.At() {
				t.Errorf("%s ends at %v (%v), and ended at %v", c, head, err, last.At())
			}
			var got []journal.Record
			var failed error
			for r, err := range j.Read(context.Background(), c, 1) {
				if failed = err; err == nil {
					got = append(got, r)
				}
			}
			if c.Run == "forged" {
				if len(got) != 2 || !strings.Contains(fmt.Sprint(failed), "record 3 is damaged: its content does not match its hash") {
					t.Errorf("of the damaged run there are %d records (%v)", len(got), failed)
				}
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" || failed != nil {
				t.Errorf("%s (%v): %s", c, failed, diff)
			}
		}
		for i, err := range j.Chains(context.Background(), journal.KindRun) {
			want := chains[i.Chain]
			if err != nil || !i.First.Equal(want[0].Time) || !i.Last.Equal(want[len(want)-1].Time) {
				t.Errorf("%+v (%v)", i, err)
			}
		}
		c := journal.Of("ü")
		next, err := journal.Link(c, chains[c][len(chains[c])-1].At(), journaltest.Entries(1))
		if err != nil {
			t.Fatal(err)
		}
		if head, err := j.Append(context.Background(), c, chains[c][len(chains[c])-1].At(), journaltest.Entries(1)...); err != nil || head != next[0].At() {
			t.Errorf("appended %v (%v)", head, err)
		}
		chains[c] = append(chains[c], next...)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || b[63] != 2 {
		t.Errorf("it has format %d (%v)", b[63], err)
	}
}

// TestMigrationThatFails: at whatever operation the disk fails, the journal is of
// format 1 or of format 2, whole.
func TestMigrationThatFails(t *testing.T) {
	chains := map[journal.Chain][]journal.Record{journal.Of("a"): linked(t, journal.Of("a"), 20), journal.CallsOf("a"): linked(t, journal.CallsOf("a"), 9)}
	for _, fault := range faultdisk.Faults {
		t.Run(fault.Name, func(t *testing.T) {
			failed := 0
			for n, began := 1, true; began; n += proof.Of(60, 10) {
				disk := faultdisk.New()
				path := filepath.Join(t.TempDir(), "journal.db")
				format1(t, path, disk.Name, chains)
				disk.FailFrom(n, fault)
				j, err := sqlite.Open(path, sqlite.VFS(disk.Name))
				if err == nil {
					_ = j.Close()
				} else {
					failed++
				}
				began = disk.Heal()
				if j, err = sqlite.Open(path, sqlite.VFS(disk.Name)); err != nil {
					t.Fatalf("operation %d: %v", n, err)
				}
				for c, want := range chains {
					var got []journal.Record
					for r, err := range j.Read(context.Background(), c, 1) {
						if err != nil {
							t.Fatalf("operation %d: %v", n, err)
						}
						got = append(got, r)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("operation %d, %s: %s", n, c, diff)
					}
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				disk.Close()
			}
			if failed == 0 {
				t.Error("it never failed")
			}
		})
	}
}
