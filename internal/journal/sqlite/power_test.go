package sqlite_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"ratchet/internal/journal"
	"ratchet/internal/journal/faultdisk"
	"ratchet/internal/journal/journaltest"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/proof"
)

// TestPowerLoss: the power is cut at any moment, and what was not synced is
// gone, or some sectors of it are: whatever was acknowledged is there, and the
// journal goes on.
func TestPowerLoss(t *testing.T) {
	lost := uint64(0)
	seeds := proof.Of[uint64](50, 200)
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 1))
		disk := faultdisk.New()
		path := filepath.Join(t.TempDir(), "journal.db")
		acked := map[string]journal.Head{}
		for range 4 {
			j, err := sqlite.Open(path, sqlite.VFS(disk.Name))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for run, head := range acked {
				records := journaltest.All(t, j, run)
				if int64(len(records)) < head.Seq || records[head.Seq-1].Hash != head.Hash {
					t.Fatalf("seed %d, run %s: record %d was acknowledged; after the power cut there are %d", seed, run, head.Seq, len(records))
				}
				if at, err := j.Head(context.Background(), journal.Of(run)); err == nil {
					acked[run] = at // what was not acknowledged may be there, too
				}
			}
			n, op := 1+rnd.IntN(60), 0
			disk.Step = func() {
				if op++; op == n {
					disk.Kill()
				}
			}
			appendUntilDead(j, acked)
			disk.Step = nil
			_ = j.Close() // on a disk that is off
			chance := []float64{0, 0.5, 1}[rnd.IntN(3)]
			if err := disk.Restart(func() bool { return rnd.Float64() < chance }); err != nil {
				t.Fatal(err)
			}
			lost++
		}
		disk.Close()
	}
	if lost != 4*seeds {
		t.Errorf("the power was cut %d times", lost)
	}
}

// appendUntilDead appends to two runs at a time until the disk is off, and
// keeps what was acknowledged.
func appendUntilDead(j journal.Journal, acked map[string]journal.Head) {
	var mu sync.Mutex
	var writers sync.WaitGroup
	for _, run := range []string{"one", "two"} {
		writers.Go(func() {
			for {
				mu.Lock()
				head := acked[run]
				mu.Unlock()
				head, err := j.Append(context.Background(), journal.Of(run), head, journaltest.Entries(3)...)
				if err != nil {
					return
				}
				mu.Lock()
				acked[run] = head
				mu.Unlock()
			}
		})
	}
	writers.Wait()
}
