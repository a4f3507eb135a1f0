package search_test

import (
	"slices"
	"testing"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

// TestFrontsGrow: over many seeds, both methods for several objectives end with a larger
// hypervolume than random search does with as many experiments; and what is chosen to be
// validated is on the front, the best compromise first.
func TestFrontsGrow(t *testing.T) {
	lacks := func(method string, n int, seed int64) float64 {
		l := newLab(t, mixed(method+"+", n, 2))
		l.s.Created.Seed = seed
		l.run(first)
		front := search.Front(l.s)
		best, chosen := search.Choose(l.s)
		if n := len(chosen); n == 0 || n > 4 || best != chosen[0] {
			t.Fatalf("chosen are %v of the front %v, the best %q", chosen, front, best)
		}
		for _, id := range chosen {
			if !slices.Contains(front, l.s.Experiment(id)) {
				t.Errorf("%s is not on the front", id)
			}
		}
		grown := search.Progress(l.s)
		if !slices.IsSorted(grown) || len(grown) != n || grown[n-1] <= 0 || grown[n-1] > 1 {
			t.Fatalf("the hypervolume is %v", grown)
		}
		// At a rate, the loss can be as low as (log rate + 2)².
		sum := 0.0
		for k := range 40 {
			size := -4 + 4*float64(k)/39
			least := 4.0 // the most that the constraint allows
			for _, x := range front {
				if x.Means["size"] >= size {
					least = min(least, x.Means["loss"])
				}
			}
			if size < -2 {
				size = -2
			}
			sum += least - (size+2)*(size+2)
		}
		return sum
	}
	const searches = 12
	for method, n := range map[string]int{study.GP: 50, study.NSGA: 200} {
		wins := 0
		for seed := range int64(searches) {
			if lacks(method, n, seed) < lacks(study.Random, n, seed) {
				wins++
			}
		}
		// Of equal methods, 10 or more of 12 would win with a chance of 2 %.
		if wins < 10 {
			t.Errorf("%s is ahead of random search in %d of %d searches", method, wins, searches)
		}
	}
}

// TestGainOfFronts: proposals by models say what they are expected to add, which becomes less;
// and search.enough ends a search by it.
func TestGainOfFronts(t *testing.T) {
	st := mixed(study.GP+"+", 60, 1)
	l := newLab(t, st)
	var gains []float64
	for _, p := range l.run(first) {
		if p.By.Gain != nil {
			gains = append(gains, *p.By.Gain)
		}
	}
	if len(gains) < 40 || slices.Min(gains) < 0 || slices.Max(gains[:10]) < 2*slices.Max(gains[len(gains)-10:]) {
		t.Errorf("the gains are %v", gains)
	}
	if why := search.Enough(l.s, 60); why != "" {
		t.Errorf("it ends, since %s", why)
	}
	st.Search.Enough = 1
	if why := search.Enough(l.s, 60); why == "" {
		t.Error("it goes on")
	}
}

// TestConstraintOfOne: with one objective, the best is the best that keeps to the constraint;
// where nothing does, there is none, and the search looks for what does.
func TestConstraintOfOne(t *testing.T) {
	least := -0.5 // the bowl's least is at a size of -2
	found := 0
	for seed := range int64(8) {
		st := mixed(study.GP, 60, 2)
		st.Constraints = []study.Constraint{{Metric: "size", AtLeast: &least}}
		l := newLab(t, st)
		l.s.Created.Seed = seed
		l.run(first)
		best := l.s.Best()
		if best == nil || best.Means["size"] < least {
			t.Fatalf("the best is %+v", best)
		}
		if *best.Value < 2.26 { // the least that the constraint leaves is 2.25
			found++
		}
		if id, front := search.Choose(l.s); l.s.Excess(l.s.Experiment(id)) > 0 || front != nil {
			t.Errorf("chosen are %q and %v", id, front)
		}
		for _, x := range l.s.Experiments {
			if x.Means["size"] >= least && *x.Value < *best.Value {
				t.Errorf("%s keeps to the constraint, and is better", x.Experiment)
			}
		}
	}
	if found < 6 {
		t.Errorf("%d of 8 searches find the best that the constraint leaves", found)
	}

	impossible := 1.0
	st := mixed(study.GP, 30, 2)
	st.Constraints = []study.Constraint{{Metric: "size", AtLeast: &impossible}}
	l := newLab(t, st)
	l.run(first)
	near := 0
	for _, x := range l.s.Experiments[15:] {
		if x.Means["size"] > -0.5 {
			near++
		}
	}
	if l.s.Best() != nil || near < 5 {
		t.Errorf("the best is %v; %d of the last 15 are near to what is asked", l.s.Best(), near)
	}
	if id, _ := search.Choose(l.s); id != "" {
		t.Errorf("%s is chosen", id)
	}
}

// TestFailuresOfFronts: what fails is avoided, and has no part in the front.
func TestFailuresOfFronts(t *testing.T) {
	l := newLab(t, mixed(study.GP+"+", 50, 2))
	l.value = func(p study.Params, _ int64) (float64, research.Class) {
		if p["kind"] != "c" {
			return 0, research.ProgramFault
		}
		return bowl(p), research.Succeeded
	}
	failed := 0
	for _, p := range l.run(first)[25:] {
		if p.Parameters["kind"] != "c" {
			failed++
		}
	}
	if failed > 8 {
		t.Errorf("%d of the last 25 fail", failed)
	}
	for _, x := range search.Front(l.s) {
		if x.Parameters["kind"] != "c" {
			t.Errorf("%s failed, and is on the front", x.Experiment)
		}
	}
}
