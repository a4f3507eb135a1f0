package journal_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/journal"
	"ratchet/internal/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	journaltest.Run(t, func(*testing.T) journal.Journal { return journal.NewMemory() })
}

// TestHashesAreGolden: the example of docs/journal.md. A hash that changes
// breaks every chain there is.
func TestHashesAreGolden(t *testing.T) {
	entries := []journal.Entry{
		{Time: time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC), Type: "run.created", Version: 1, Payload: json.RawMessage(`{"run":"example-1"}`)},
		{Time: time.Date(2026, 11, 24, 12, 0, 1, 0, time.UTC), Type: "stage.started", Version: 1, Payload: json.RawMessage(`{"stage":"ideation"}`)},
	}
	records, err := journal.Link(journal.Of("example-1"), journal.Head{}, entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"f0a6ea41baa4624803af6d01db27428808a1b1f6ffba03ab97c641a3fe4a14a2",
		"c431eb4e1c7832a0d88bcd60d06ae19e0c5187dae30244a953398528de570978",
	} {
		if got := records[i].Hash.String(); got != want {
			t.Errorf("record %d has the hash %s, want %s", i+1, got, want)
		}
	}
}

// TestVerify: whatever is changed of a record is noticed.
func TestVerify(t *testing.T) {
	records, err := journal.Link(journal.Of("a"), journal.Head{}, journaltest.Entries(3))
	if err != nil {
		t.Fatal(err)
	}
	before := journal.Head{Seq: 1, Hash: records[0].Hash}
	if err := journal.Verify(journal.Of("a"), before, records[1]); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*journal.Record){
		"number":  func(r *journal.Record) { r.Seq++ },
		"time":    func(r *journal.Record) { r.Time = r.Time.Add(time.Microsecond) },
		"type":    func(r *journal.Record) { r.Type += "x" },
		"version": func(r *journal.Record) { r.Version++ },
		"payload": func(r *journal.Record) { r.Payload = json.RawMessage(`{}`) },
		"prev":    func(r *journal.Record) { r.Prev[0]++ },
		"hash":    func(r *journal.Record) { r.Hash[31]++ },
	} {
		r := records[1]
		change(&r)
		var damage *journal.RecordDamageError
		if err := journal.Verify(journal.Of("a"), before, r); !errors.As(err, &damage) || damage.Chain != journal.Of("a") {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := journal.Verify(journal.Of("b"), before, records[1]); err == nil {
		t.Error("a record of run a passes for one of run b")
	}
	if err := journal.Verify(journal.Of("a"), before, records[2]); err == nil {
		t.Error("a record is missing and nobody complains")
	}
}
