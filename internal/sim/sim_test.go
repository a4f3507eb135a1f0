package sim

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/proof"
	"ratchet/internal/shim"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

// play plays one seed, and its undisturbed twin: both must come to the same
// results. It returns what broke, and what happened.
func play(t *testing.T, seed uint64) (broken, trace []string, boots int) {
	synctest.Test(t, func(t *testing.T) {
		calm, want := history(t, seed, false)
		w, got := history(t, seed, true)
		broken, trace, boots = slices.Concat(calm.broken, w.broken), w.trace, w.boots
		if len(broken) == 0 && got != want {
			broken = append(broken, fmt.Sprintf("the results have the digest %s, undisturbed %s", got, want))
		}
	})
	return broken, trace, boots
}

// budget is how many seeds are played: $RATCHET_SIM_SEEDS (0: no end), from
// $RATCHET_SIM_SEED.
func budget(t *testing.T) (first, seeds uint64) {
	first, seeds = 1, proof.Of[uint64](60, 1500)
	for name, to := range map[string]*uint64{"RATCHET_SIM_SEED": &first, "RATCHET_SIM_SEEDS": &seeds} {
		if v := os.Getenv(name); v != "" {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatalf("$%s: %v", name, err)
			}
			*to = n
		}
	}
	return first, seeds
}

// TestSimulation plays seeds until one breaks, or the budget is spent.
func TestSimulation(t *testing.T) {
	first, seeds := budget(t)
	began := time.Now()
	var next, played, boots atomic.Uint64
	next.Store(first)
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !failed.Load() {
				seed := next.Add(1) - 1
				if seeds > 0 && seed >= first+seeds {
					return
				}
				broken, trace, n := play(t, seed)
				played.Add(1)
				boots.Add(uint64(n))
				if len(broken) > 0 && !failed.Swap(true) {
					t.Errorf("seed %d breaks; play it again with RATCHET_SIM_SEED=%d RATCHET_SIM_SEEDS=1\n%s\n\nwhat happened:\n%s", seed, seed, strings.Join(broken, "\n"), strings.Join(last(trace, 60), "\n"))
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds, %d boots, in %s", played.Load(), boots.Load(), time.Since(began).Round(time.Second))
	if played.Load() == 0 {
		t.Error("no seed was played")
	}
}

func last(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

// TestReplay: a seed's history is the same each time.
func TestReplay(t *testing.T) {
	for seed := range proof.Of[uint64](5, 25) {
		_, first, _ := play(t, seed)
		_, second, _ := play(t, seed)
		for i := range max(len(first), len(second)) {
			if i >= len(first) || i >= len(second) || first[i] != second[i] {
				t.Errorf("seed %d: from step %d on it goes otherwise:\n%s\n\nand\n%s", seed, i, strings.Join(first[max(0, i-3):min(len(first), i+3)], "\n"), strings.Join(second[max(0, i-3):min(len(second), i+3)], "\n"))
				break
			}
		}
	}
}
