package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ratchet/internal/journal"
)

// TestSums: whatever happens to calls, the sums are those of the ledger, folded at
// once or in parts that were kept in between.
func TestSums(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		log := journal.NewMemory()
		var head journal.Head
		sums := NewSums()
		spent := func() Spending { return Spending{rnd.Int64N(1000), rnd.Int64N(1000), 1} }
		sent := map[string]bool{}
		for range rnd.IntN(200) {
			id, attempt := callID(rnd.Int64N(8)+1), fmt.Sprint("t1-a", rnd.IntN(3))
			var r Event
			switch kind := rnd.IntN(6); {
			case kind == 0:
				r = Refused{Attempt: attempt, Path: fmt.Sprint(rnd.IntN(50)), Why: fmt.Sprint("why ", rnd.IntN(30))}
			case kind == 1 || !sent[id]:
				r, sent[id] = Sent{Call: id, Attempt: attempt, Digest: id, Reserved: spent()}, true
			case kind == 2:
				r = Answered{Call: id, Tokens: Tokens{In: rnd.Int64N(99), Out: rnd.Int64N(99), CacheRead: 1}, Spent: spent(), Retries: make([]Retry, rnd.IntN(3))}
			case kind == 3:
				r = Failed{Call: id, Spent: spent(), Retries: make([]Retry, rnd.IntN(3))}
			case kind == 4:
				r = Delivered{Call: id, Attempt: attempt, Again: rnd.IntN(2) == 0}
			default:
				r = Began{Attempt: attempt}
			}
			payload, err := encodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			if head, err = log.Append(ctx, journal.CallsOf("r"), head, journal.Entry{Time: time.Unix(1, 0), Type: r.kind(), Version: recordVersion, Payload: payload}); err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(10) > 0 {
				continue
			}
			if err := sums.Follow(ctx, "r", log); err != nil {
				t.Fatal(err)
			}
			b := sums.Encode()
			before, refusals := sums.Summary(), sums.Refusals()
			if sums, err = DecodeSums(b, sums.Head); err != nil || sums.Summary() != before || !cmp.Equal(sums.Refusals(), refusals) {
				t.Fatalf("seed %d: kept %+v, and got %+v (%v)", seed, before, sums.Summary(), err)
			}
			if _, err := DecodeSums(b[:len(b)-1], sums.Head); err == nil {
				t.Errorf("seed %d: what was cut off is whole", seed)
			}
		}
		if err := sums.Follow(ctx, "r", log); err != nil {
			t.Fatal(err)
		}
		l, err := Open(ctx, "r", log, nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(summed(l), sums.Summary()); diff != "" || sums.Head != head {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		l.Close()
	}
}

// summed sums up the calls one by one.
func summed(l *Ledger) Summary {
	s := Summary{Refused: len(l.refused)}
	for _, c := range l.order {
		s.Calls++
		s.Lost += c.Lost
		if c.Open {
			s.Lost++
		}
		s.Spent = s.Spent.Plus(c.Spent())
		switch {
		case c.Answered != nil:
			s.Answered++
			s.Retries += len(c.Answered.Retries)
			s.Tokens = s.Tokens.plus(c.Answered.Tokens)
			s.Again += c.Again
			s.Saved = s.Saved.Plus(c.Answered.Spent.Times(c.Again))
		case c.Failed != nil:
			s.Failed++
			s.Retries += len(c.Failed.Retries)
		}
	}
	return s
}
