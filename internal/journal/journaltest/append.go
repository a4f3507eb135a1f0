package journaltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"ratchet/internal/journal"
)

func conflict(t *testing.T, j journal.Journal) {
	first := Append(t, j, "a", journal.Head{}, Entries(1)...)
	second := Append(t, j, "a", first, Entries(1)...)
	altered := second
	altered.Hash[5]++
	for name, expected := range map[string]journal.Head{
		"none": {}, "behind": first, "ahead": {Seq: 3, Hash: second.Hash}, "of another hash": altered,
	} {
		_, err := j.Append(context.Background(), journal.Of("a"), expected, Entries(3)...)
		var c *journal.ConflictError
		if !errors.As(err, &c) || c.Chain != journal.Of("a") || c.Expected != expected || c.Actual != second {
			t.Errorf("an expected head %s: %v", name, err)
		}
	}
	if h := headOf(t, j, "a"); h != second {
		t.Errorf("the head is now %+v", h)
	}
}

func refusal(t *testing.T, j journal.Journal) {
	large, broken := Entries(2), Entries(2)
	large[1].Payload = json.RawMessage(`"` + strings.Repeat("x", journal.MaxPayload) + `"`)
	broken[1].Payload = json.RawMessage(`{`)
	for name, entries := range map[string][]journal.Entry{"too large": large, "not JSON": broken} {
		if _, err := j.Append(context.Background(), journal.Of("a"), journal.Head{}, entries...); err == nil {
			t.Errorf("a payload that is %s was appended", name)
		}
	}
	if h := headOf(t, j, "a"); h != (journal.Head{}) {
		t.Errorf("the head is %+v: a part was appended", h)
	}
	fits := Entries(1)
	fits[0].Payload = json.RawMessage(`"` + strings.Repeat("x", journal.MaxPayload-2) + `"`)
	Append(t, j, "a", journal.Head{}, fits...)
}

func separate(t *testing.T, j journal.Journal) {
	for _, run := range []string{"b", "a-2", "a", "ä"} {
		Append(t, j, run, journal.Head{}, Entries(2)...)
	}
	if got, want := runsOf(t, j), []string{"a", "a-2", "b", "ä"}; !slices.Equal(got, want) {
		t.Errorf("runs %q, want %q", got, want)
	}
	if a, b := headOf(t, j, "a"), headOf(t, j, "b"); a.Seq != 2 || b.Seq != 2 || a.Hash == b.Hash {
		t.Errorf("heads %+v and %+v", a, b)
	}
}

func manyRuns(t *testing.T, j journal.Journal) {
	const writers, appends = 32, 20
	var all sync.WaitGroup
	for w := range writers {
		run := fmt.Sprintf("run-%02d", w)
		all.Go(func() {
			var head journal.Head
			for range appends {
				var err error
				if head, err = j.Append(context.Background(), journal.Of(run), head, Entries(2)...); err != nil {
					t.Errorf("%s: %v", run, err)
					return
				}
			}
		})
	}
	all.Wait()
	for _, run := range runsOf(t, j) {
		if n := len(All(t, j, run)); n != 2*appends {
			t.Errorf("%s has %d records", run, n)
		}
	}
}

// oneRun: a writer that gets a conflict reads the head and tries again; in the end
// every append is there once.
func oneRun(t *testing.T, j journal.Journal) {
	const writers, appends = 8, 20
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range appends {
				e := Entries(1)[0]
				e.Payload = json.RawMessage(fmt.Sprintf(`"%d-%d"`, w, i))
				for {
					head, err := j.Head(context.Background(), journal.Of("a"))
					if err == nil {
						_, err = j.Append(context.Background(), journal.Of("a"), head, e)
					}
					if err == nil {
						break
					}
					if !errors.As(err, new(*journal.ConflictError)) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	seen := map[string]int{}
	for _, r := range All(t, j, "a") {
		seen[string(r.Payload)]++
	}
	if len(seen) != writers*appends {
		t.Errorf("%d different records, want %d", len(seen), writers*appends)
	}
	for p, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", p, n)
		}
	}
}
