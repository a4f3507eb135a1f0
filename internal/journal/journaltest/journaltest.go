// Package journaltest has the tests that every implementation of a journal
// passes.
package journaltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratchet/internal/journal"
)

// Run tests journals that open makes, each empty.
func Run(t *testing.T, open func(t *testing.T) journal.Journal) {
	for name, test := range map[string]func(*testing.T, journal.Journal){
		"an empty journal has nothing":            empty,
		"what was appended is read back":          readBack,
		"a wrong head appends nothing":            conflict,
		"what cannot be kept appends nothing":     refusal,
		"reading begins anywhere":                 readFrom,
		"runs stand beside each other":            separate,
		"a run is replaced whole or not at all":   replaced,
		"writers of many runs lose nothing":       manyRuns,
		"writers of one run take turns":           oneRun,
		"a context that has ended does nothing":   cancelled,
		"a closed journal says so":                closed,
		"a reader that leaves early is no worry":  leaveEarly,
		"chains of a run stand beside each other": kinds,
		"chains are listed with their heads":      listed,
		"a subscriber gets each record once":      subscribed,
		"a subscriber notices a replacement":      resubscribed,
		"a closed journal has no subscribers":     unsubscribed,
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t)
			t.Cleanup(func() {
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			})
			test(t, j)
		})
	}
}

// Entries makes n entries whose payloads differ.
func Entries(n int) []journal.Entry {
	out := make([]journal.Entry, n)
	for i := range out {
		out[i] = journal.Entry{
			Time: time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC).Add(time.Duration(i) * time.Second),
			Type: "test.happened", Version: 1, Payload: json.RawMessage(fmt.Sprintf(`{ "i":%d,"text":"ä\u0000b" }`, i)),
		}
	}
	return out
}

// replaced: another chain takes the place of a run's, and is gone on with;
// what is no chain replaces nothing.
func replaced(t *testing.T, j journal.Journal) {
	ctx := context.Background()
	other := Append(t, j, "other", journal.Head{}, Entries(2)...)
	long := Append(t, j, "a", journal.Head{}, Entries(5)...)
	chain, err := journal.Link(journal.Of("a"), journal.Head{}, Entries(9)[6:])
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Replace(ctx, journal.Of("a"), journal.All(chain[1:])); !errors.As(err, new(*journal.RecordDamageError)) {
		t.Errorf("replaced by a chain without its beginning: %v", err)
	}
	if got := All(t, j, "a"); len(got) != 5 {
		t.Errorf("%d records are left of 5", len(got))
	}
	if err := j.Replace(ctx, journal.Of("a"), journal.All(chain)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(chain, All(t, j, "a")); diff != "" {
		t.Error(diff)
	}
	if _, err := j.Append(ctx, journal.Of("a"), long, Entries(1)...); !errors.As(err, new(*journal.ConflictError)) {
		t.Errorf("appending behind the head that was replaced: %v", err)
	}
	Append(t, j, "a", journal.Head{Seq: 3, Hash: chain[2].Hash}, Entries(1)...)
	if head, err := j.Head(ctx, journal.Of("other")); err != nil || head != other {
		t.Errorf("the other run ends at %d (%v)", head.Seq, err)
	}
	if err := j.Replace(ctx, journal.Of("a"), journal.All(nil)); err != nil {
		t.Fatal(err)
	}
	if runs := runsOf(t, j); len(runs) != 1 {
		t.Errorf("with nothing in its place the run is still there: %v", runs)
	}
}

// Append appends or fails the test.
func Append(t *testing.T, j journal.Journal, run string, head journal.Head, entries ...journal.Entry) journal.Head {
	t.Helper()
	head, err := j.Append(context.Background(), journal.Of(run), head, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// All reads a run or fails the test.
func All(t *testing.T, j journal.Journal, run string) []journal.Record {
	t.Helper()
	var out []journal.Record
	for r, err := range j.Read(context.Background(), journal.Of(run), 1) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func headOf(t *testing.T, j journal.Journal, run string) journal.Head {
	t.Helper()
	h, err := j.Head(context.Background(), journal.Of(run))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func runsOf(t *testing.T, j journal.Journal) []string {
	t.Helper()
	var runs []string
	for i, err := range j.Chains(context.Background(), journal.KindRun) {
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, i.Run)
	}
	return runs
}

func empty(t *testing.T, j journal.Journal) {
	if h := headOf(t, j, "a"); h != (journal.Head{}) {
		t.Errorf("head %+v", h)
	}
	if runs := runsOf(t, j); len(runs) > 0 {
		t.Errorf("runs %v", runs)
	}
	if records := All(t, j, "a"); len(records) > 0 {
		t.Errorf("records %v", records)
	}
}

func readBack(t *testing.T, j journal.Journal) {
	entries := Entries(7)
	entries[3].Time = entries[3].Time.In(time.FixedZone("far", 3600)).Add(999 * time.Nanosecond)
	head := Append(t, j, "a", journal.Head{}, entries[:1]...)
	head = Append(t, j, "a", head, entries[1:]...)
	records := All(t, j, "a")
	if len(records) != 7 {
		t.Fatalf("%d records", len(records))
	}
	var before journal.Head
	for i, r := range records {
		want := entries[i]
		want.Time = want.Time.UTC().Truncate(time.Microsecond)
		if diff := cmp.Diff(want, r.Entry); diff != "" {
			t.Error(diff)
		}
		if r.Seq != int64(i+1) || r.Prev != before.Hash || r.Hash != journal.Sum(journal.Of("a"), r) {
			t.Errorf("record %d is not in its place", i+1)
		}
		before = journal.Head{Seq: r.Seq, Hash: r.Hash}
	}
	if head != before || headOf(t, j, "a") != before {
		t.Errorf("the head is %+v, was returned as %+v, and the last record is %+v", headOf(t, j, "a"), head, before)
	}
}

func readFrom(t *testing.T, j journal.Journal) {
	Append(t, j, "a", journal.Head{}, Entries(1300)...)
	for _, from := range []int64{1, 2, 700, 1300, 1301, 5000} {
		want := from
		for r, err := range j.Read(context.Background(), journal.Of("a"), from) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Seq != want {
				t.Fatalf("from %d: record %d came, want %d", from, r.Seq, want)
			}
			want++
		}
		if want != max(1301, from) {
			t.Errorf("from %d: the last one was %d", from, want-1)
		}
	}
}

func cancelled(t *testing.T, j journal.Journal) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.Append(ctx, journal.Of("a"), journal.Head{}, Entries(1)...); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	for _, err := range j.Chains(ctx, journal.KindRun) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("chains: %v", err)
		}
	}
	for _, err := range j.Subscribe(ctx, journal.Of("a"), 1) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("subscribe: %v", err)
		}
	}
	for _, err := range j.Read(ctx, journal.Of("a"), 1) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("read: %v", err)
		}
	}
	if h := headOf(t, j, "a"); h != (journal.Head{}) {
		t.Errorf("the head is %+v", h)
	}
}

func closed(t *testing.T, j journal.Journal) {
	head := Append(t, j, "a", journal.Head{}, Entries(1)...)
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Append(context.Background(), journal.Of("a"), head, Entries(1)...); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := j.Head(context.Background(), journal.Of("a")); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("head: %v", err)
	}
	for _, err := range j.Read(context.Background(), journal.Of("a"), 1) {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	}
}

func leaveEarly(t *testing.T, j journal.Journal) {
	head := Append(t, j, "a", journal.Head{}, Entries(10)...)
	for range j.Read(context.Background(), journal.Of("a"), 1) {
		break
	}
	Append(t, j, "a", head, Entries(1)...)
}

// kinds: what a run's calls are is apart from what happens in it, and is hashed
// under a name of its own.
func kinds(t *testing.T, j journal.Journal) {
	ctx := context.Background()
	for _, c := range []journal.Chain{journal.Of("a"), journal.CallsOf("a"), journal.CallsOf("b")} {
		if _, err := j.Append(ctx, c, journal.Head{}, Entries(2)...); err != nil {
			t.Fatal(err)
		}
		for r, err := range j.Read(ctx, c, 1) {
			if err != nil || journal.Sum(c, r) != r.Hash {
				t.Errorf("%s: record %d (%v)", c, r.Seq, err)
			}
		}
	}
	if runs := runsOf(t, j); !slices.Equal(runs, []string{"a"}) {
		t.Errorf("runs %q", runs)
	}
	var calls []string
	for i, err := range j.Chains(ctx, journal.KindCalls) {
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, i.Name())
	}
	if !slices.Equal(calls, []string{"a.calls", "b.calls"}) {
		t.Errorf("calls %q", calls)
	}
	// Its records would have the hashes of another chain's.
	if _, err := j.Append(ctx, journal.Of("c.calls"), journal.Head{}, Entries(1)...); err == nil {
		t.Error("a run has the name of another's calls")
	}
}

func listed(t *testing.T, j journal.Journal) {
	ctx := context.Background()
	if latest, err := j.Latest(ctx, journal.KindRun); err != nil || latest != (journal.Info{}) {
		t.Errorf("of nothing the latest is %+v (%v)", latest, err)
	}
	want := map[string]journal.Info{}
	for n := range 1100 {
		run := fmt.Sprintf("run-%04d", n)
		entries := Entries(3)[n%3:]
		head := Append(t, j, run, journal.Head{}, entries...)
		want[run] = journal.Info{Chain: journal.Of(run), Head: head, First: entries[0].Time.Truncate(time.Microsecond), Last: entries[len(entries)-1].Time.Truncate(time.Microsecond)}
	}
	late := Entries(1)
	late[0].Time = late[0].Time.Add(time.Hour)
	i := want["run-0500"]
	i.Head, i.Last = Append(t, j, i.Run, i.Head, late...), late[0].Time.Truncate(time.Microsecond)
	want[i.Run] = i
	before, n := "", 0
	for i, err := range j.Chains(ctx, journal.KindRun) {
		if err != nil {
			t.Fatal(err)
		}
		if i != want[i.Run] || i.Run <= before {
			t.Errorf("behind %q: %+v, want %+v", before, i, want[i.Run])
		}
		before = i.Run
		n++
	}
	if latest, err := j.Latest(ctx, journal.KindRun); err != nil || latest != want["run-0500"] || n != len(want) {
		t.Errorf("of %d runs the latest is %+v (%v)", n, latest, err)
	}
}
