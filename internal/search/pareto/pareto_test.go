package pareto

import (
	"math"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// points are on a coarse grid, so that some are equal in a value.
func points(t *rapid.T, values, most int) [][]float64 {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []float64 {
		p := make([]float64, values)
		for j := range p {
			p[j] = float64(rapid.IntRange(0, 7).Draw(t, "v"))
		}
		return p
	}), 0, most).Draw(t, "points")
}

// TestVolume: what a volume and the free boxes say is what counting the cells of the grid
// gives.
func TestVolume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.IntRange(1, 4).Draw(t, "m")
		ps := points(t, m, 8)
		reference := make([]float64, m)
		for j := range reference {
			reference[j] = float64(rapid.IntRange(1, 6).Draw(t, "r"))
		}
		var dominated, all, freed int
		boxes := Free(ps, reference)
		var walk func(cell []float64)
		walk = func(cell []float64) {
			if len(cell) < m {
				for v := range int(reference[len(cell)]) {
					walk(append(cell[:len(cell):len(cell)], float64(v)+0.5))
				}
				return
			}
			all++
			if slices.ContainsFunc(ps, func(p []float64) bool { return below(p, cell) }) {
				dominated++
			}
			for _, b := range boxes {
				if below(b.Low, cell) && below(cell, b.High) {
					freed++
				}
			}
		}
		walk(nil)
		if got := Volume(ps, reference); math.Abs(got-float64(dominated)) > 1e-9 {
			t.Fatalf("the volume of %v below %v is %v, not %v", ps, reference, got, dominated)
		}
		if freed != all-dominated {
			t.Fatalf("%v below %v leave %d of %d cells, and the boxes have %d: %v", ps, reference, all-dominated, all, freed, boxes)
		}
	})
}

// TestRanks: a front has no point that another dominates, and each behind it one that does.
func TestRanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := points(t, rapid.IntRange(1, 3).Draw(t, "m"), 12)
		excess := make([]float64, len(ps))
		for i := range excess {
			excess[i] = float64(rapid.IntRange(0, 2).Draw(t, "excess"))
		}
		over := func(i, j int) bool {
			return excess[i] < excess[j] || excess[i] == excess[j] && Dominates(ps[i], ps[j])
		}
		ranks := Ranks(ps, excess)
		for i := range ps {
			by := -1
			for j := range ps {
				if over(j, i) {
					by = max(by, ranks[j])
				}
			}
			if ranks[i] != by+1 {
				t.Fatalf("%v (%v) has the ranks %v", ps, excess, ranks)
			}
		}
		for _, i := range Front(ps) {
			if slices.ContainsFunc(ps, func(p []float64) bool { return Dominates(p, ps[i]) }) {
				t.Fatalf("the front of %v is %v", ps, Front(ps))
			}
		}
		front := Front(ps)
		if len(ps) == 0 {
			return
		}
		var of [][]float64
		for _, i := range front {
			of = append(of, ps[i])
		}
		scale := NewScale(of, ps)
		reference := scale.Reference
		if got, want := Volume(of, reference), Volume(ps, reference); math.Abs(got-want) > 1e-9 {
			t.Fatalf("the front has the volume %v, and all points %v", got, want)
		}
		whole := 1.0
		for j, r := range reference {
			whole *= r - scale.Ideal[j]
		}
		if got, want := scale.Volume(of), Volume(of, reference)/whole; math.Abs(got-want) > 1e-9 || got > 1 {
			t.Fatalf("as a share it is %v, not %v", got, want)
		}
		chosen := Spread(of, reference, len(of))
		if len(chosen) != len(of) {
			t.Fatalf("of the front %v only %v add something", of, chosen)
		}
	})
}

func TestCrowding(t *testing.T) {
	got := Crowding([][]float64{{0, 10}, {10, 0}, {1, 8}, {4, 4}})
	want := []float64{math.Inf(1), math.Inf(1), 0.4 + 0.6, 0.9 + 0.8}
	for i := range want {
		if got[i] != want[i] && math.Abs(got[i]-want[i]) > 1e-12 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if c := Crowding(nil); len(c) != 0 {
		t.Errorf("of nothing it is %v", c)
	}
}
