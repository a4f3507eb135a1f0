package ledger

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratchet/internal/journal"
)

// counting is a journal that counts its appends.
type counting struct {
	journal.Journal
	appends int
}

func (c *counting) Append(ctx context.Context, chain journal.Chain, head journal.Head, entries ...journal.Entry) (journal.Head, error) {
	c.appends++
	return c.Journal.Append(ctx, chain, head, entries...)
}

// TestCallsShareAppends: where many calls are under way, those that come within
// a moment are appended together, and a single one does not wait.
func TestCallsShareAppends(t *testing.T) {
	for _, calls := range []int{1, siblings - 1, 2 * siblings} {
		synctest.Test(t, func(t *testing.T) {
			log := &counting{Journal: journal.NewMemory()}
			l, err := Open(context.Background(), "r", log, nil, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var all []*Call
			for i := range calls {
				c, _ := l.Claim(Key{"t", fmt.Sprint(i)}, "t-a1", true)
				all = append(all, c)
			}
			began := time.Now()
			var wait sync.WaitGroup
			for i, c := range all {
				wait.Go(func() {
					// They come one after the other, all within a tenth of the delay.
					if calls > 1 {
						<-time.After(time.Duration(i) * commitDelay / time.Duration(10*calls))
					}
					if err := l.Add(Sent{Call: c.Call, Scope: c.Scope, Digest: c.Digest, Nth: c.Nth}, false); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			took := time.Since(began)
			switch {
			case len(l.Calls()) != calls:
				t.Errorf("of %d calls, %d are in the ledger", calls, len(l.Calls()))
			case calls < siblings && (log.appends != calls || took >= commitDelay):
				t.Errorf("%d calls took %d appends and %s", calls, log.appends, took)
			case calls >= siblings && log.appends != 1:
				t.Errorf("%d calls took %d appends", calls, log.appends)
			}
		})
	}
}
