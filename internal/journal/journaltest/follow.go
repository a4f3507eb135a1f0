package journaltest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"ratchet/internal/journal"
)

// subscribed: subscribers that begin anywhere, before and while writers append,
// get every record once and in order.
func subscribed(t *testing.T, j journal.Journal) {
	const total = 400
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	head := Append(t, j, "a", journal.Head{}, Entries(50)...)
	var all sync.WaitGroup
	for _, from := range []int64{0, 1, 2, 50, 51, 60, 300} {
		all.Go(func() {
			want := max(1, from)
			for r, err := range j.Subscribe(ctx, journal.Of("a"), from) {
				if err != nil || r.Seq != want {
					t.Errorf("from %d: record %d instead of %d (%v)", from, r.Seq, want, err)
					return
				}
				if want++; want > total {
					return
				}
			}
		})
	}
	all.Go(func() {
		other := journal.Head{}
		for head.Seq < total {
			var err error
			if head, err = j.Append(ctx, journal.Of("a"), head, Entries(1 + int(head.Seq)%3)[:min(1+int(head.Seq)%3, total-int(head.Seq))]...); err != nil {
				t.Error(err)
				return
			}
			if other, err = j.Append(ctx, journal.Of("b"), other, Entries(1)...); err != nil {
				t.Error(err)
				return
			}
		}
	})
	all.Wait()
	// One that waits for more ends with its context.
	ended := make(chan error, 1)
	go func() {
		for r, err := range j.Subscribe(ctx, journal.Of("a"), total) {
			if err != nil {
				ended <- err
				return
			}
			if r.Seq == total {
				cancel()
			}
		}
	}()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// resubscribed: who has been given a record that is not there any more is told.
func resubscribed(t *testing.T, j journal.Journal) {
	ctx := context.Background()
	for name, records := range map[string]int{"shorter": 2, "of the same length": 3, "longer": 5} {
		c := journal.Of(name)
		Append(t, j, name, journal.Head{}, Entries(3)...)
		other, err := journal.Link(c, journal.Head{}, Entries(9)[9-records:])
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, err = range j.Subscribe(ctx, c, 1) {
			if err != nil {
				break
			}
			if got++; got == 3 {
				if err := j.Replace(ctx, c, journal.All(other)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got != 3 || !errors.As(err, new(*journal.ConflictError)) {
			t.Errorf("replaced by records that are %s, after %d: %v", name, got, err)
		}
	}
}

func unsubscribed(t *testing.T, j journal.Journal) {
	Append(t, j, "a", journal.Head{}, Entries(1)...)
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		for _, err := range j.Subscribe(context.Background(), journal.Of("a"), 1) {
			if err != nil {
				ended <- err
				return
			}
			close(started)
		}
	}()
	<-started
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
}
