package ledger

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
)

// What a client gets again is what the record says, whatever is in it.
func TestDeliverable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Answered{Call: "c000001", Status: rapid.IntRange(200, 499).Draw(t, "status")}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			if want.Header == nil {
				want.Header = map[string]string{}
			}
			want.Header[rapid.String().Draw(t, "name")] = rapid.String().Draw(t, "value")
		}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			want.Answer.Text = rapid.String().Draw(t, "text")
		case 1:
			want.Answer.Bytes = rapid.SliceOfN(rapid.Byte(), 1, -1).Draw(t, "bytes")
		case 2:
			want.Answer.Object = objects.Digest(rapid.StringMatching("sha256:[0-9a-f]{64}").Draw(t, "object"))
		}
		payload, err := encodeRecord(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := deliverable(payload)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// What is folded is the record, but for its body.
func TestCutBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := Content{Size: 1}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			content.Text = rapid.String().Draw(t, "text")
		case 1:
			content.Bytes = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		case 2:
			content.Object = "d"
		}
		name := rapid.String().Draw(t, "name")
		for _, r := range []Event{
			Sent{Call: "c1", Scope: name, Headers: []string{name}, Request: content, Model: name},
			Answered{Call: "c1", Provider: name, Header: map[string]string{"request.text": name}, Answer: content, Prices: name},
			Failed{Call: "c1", Why: name},
		} {
			payload, err := encodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			rest, _ := cutBody(payload)
			got, err := decodeRecord(r.kind(), recordVersion, rest)
			if err != nil {
				t.Fatalf("%s: %v", payload, err)
			}
			want := r
			switch r := r.(type) {
			case Sent:
				r.Request.Text, r.Request.Bytes = "", nil
				want = r
			case Answered:
				r.Answer.Text, r.Answer.Bytes = "", nil
				want = r
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// reading is a journal that counts the records that are read, and before each
// reading does what it is told to.
type reading struct {
	journal.Journal
	before  func()
	records atomic.Int64
}

func (r *reading) Read(ctx context.Context, c journal.Chain, from int64) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		r.before()
		for rec, err := range r.Journal.Read(ctx, c, from) {
			r.records.Add(1)
			if !yield(rec, err) {
				return
			}
		}
	}
}

// answeredCalls is a ledger with answers enough that they are read in several
// parts.
func answeredCalls(t *testing.T) (*Ledger, *reading) {
	log := &reading{Journal: journal.NewMemory(), before: func() {}}
	l, err := Open(context.Background(), "r", log, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 * readAtOnce / mostInline {
		c, done := l.Claim(Key{"t", fmt.Sprint(i)}, "t-a1", true)
		for _, r := range []Event{Sent{Call: c.Call, Scope: c.Scope, Digest: c.Digest, Nth: c.Nth}, Answered{Call: c.Call, Answer: Content{Text: c.Call + strings.Repeat("x", mostInline)}}} {
			if err := l.Add(r, false); err != nil {
				t.Fatal(err)
			}
		}
		done()
	}
	log.records.Store(0)
	return l, log
}

// In whatever order recorded answers are asked for, by several at the same time,
// each gets its own; in the order in which they were made, each is read once.
func TestReadAhead(t *testing.T) {
	for _, inOrder := range []bool{true, false} {
		l, log := answeredCalls(t)
		calls := l.Calls()
		if !inOrder {
			rand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
		}
		var next atomic.Int64
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(calls)); i = next.Add(1) - 1 {
					a, body, err := l.Answer(t.Context(), &calls[i])
					if err != nil || a.Call != calls[i].Call || !strings.HasPrefix(string(body), a.Call+"xxx") {
						t.Errorf("call %s got the answer of %s, %v", calls[i].Call, a.Call, err)
					}
				}
			})
		}
		wait.Wait()
		l.Close()
		if n := int(log.records.Load()); inOrder && n > len(calls)*5/2 {
			t.Errorf("of %d calls %d records were read", len(calls), n)
		}
	}
}

// While more is read, what is there is given out; who wants what is not there
// waits for it, unless it leaves; and closing waits for the reading.
func TestReadingAheadHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := answeredCalls(t)
		calls := l.Calls()
		goOn := make(chan struct{})
		var readings int
		log.before = func() {
			if readings++; readings == 2 {
				<-goOn
			}
		}
		get := func(ctx context.Context, c *Call) error {
			_, _, err := l.Answer(ctx, c)
			return err
		}
		at := 0
		for ; readings < 2; at++ {
			if err := get(t.Context(), &calls[at]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if err := get(t.Context(), &calls[at]); err != nil {
			t.Error(err)
		}
		behind := &calls[readAtOnce/mostInline+at]
		ctx, leave := context.WithCancel(t.Context())
		left, got, closed := make(chan error, 1), make(chan error, 1), make(chan struct{})
		go func() { left <- get(ctx, behind) }()
		go func() { got <- get(t.Context(), behind) }()
		synctest.Wait()
		leave()
		if err := <-left; err == nil {
			t.Error("who left got an answer")
		}
		go func() {
			l.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case err := <-got:
			t.Errorf("what was not read is there: %v", err)
		case <-closed:
			t.Error("it is closed and still reads")
		default:
		}
		close(goOn)
		if err := <-got; err != nil {
			t.Error(err)
		}
		<-closed
		if readings != 2 {
			t.Errorf("it was read %d times", readings)
		}
	})
}
