//go:build planted

package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"ratchet/internal/planted"
)

// bugs are those that the tag planted puts into the code, each where its name
// is asked for.
var bugs = []string{
	"journal-unsynced",   // commits are not synced
	"acknowledged-first", // an append returns before it is done
	"any-head",           // an append does not look where the journal ends
	"object-unsynced",    // an object gets its name before it is synced
	"folder-unsynced",    // an object's name is not synced
	"error-swallowed",    // an object that could not be stored is said to be
	"launched-first",     // an attempt begins before its decision is journaled
	"cleaned-first",      // what an attempt left goes before its outcome is journaled
	"stale-state",        // after a conflict the state is not folded anew
	"forgotten-attempts", // attempts of an earlier engine are not waited for
	"clock-back",         // a run's clock follows the machine's backwards
}

// TestPlantedBugsAreFound: each of them breaks an invariant before long.
func TestPlantedBugsAreFound(t *testing.T) {
	const most = 3000
	for _, bug := range bugs {
		t.Run(bug, func(t *testing.T) {
			planted.Plant(bug)
			defer planted.Plant("")
			var next atomic.Uint64
			var found atomic.Uint64
			var workers sync.WaitGroup
			for range runtime.GOMAXPROCS(0) {
				workers.Go(func() {
					for found.Load() == 0 {
						seed := next.Add(1)
						if seed > most {
							return
						}
						if broken, _, _ := play(t, seed); len(broken) > 0 && found.CompareAndSwap(0, seed) {
							t.Logf("seed %d: %s", seed, broken[0])
						}
					}
				})
			}
			workers.Wait()
			if found.Load() == 0 {
				t.Errorf("%d seeds did not find it", most)
			}
		})
	}
}
