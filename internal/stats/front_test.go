package stats_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// fronted is a run with two objectives, error (low) and size (high), and a limit on both,
// whose experiments give values by seed.
func fronted(t testing.TB, n int, values ...func(r *rand.Rand) (e, size float64)) *research.State {
	t.Helper()
	most := 10.0
	st := &study.Study{
		Objective:   study.Objective{Metric: "error", Goal: study.Minimize},
		Objectives:  []study.Objective{{Metric: "error", Goal: study.Minimize}, {Metric: "size", Goal: study.Maximize}},
		Constraints: []study.Constraint{{Metric: "error", AtMost: &most}},
		Validation:  study.Validation{Seeds: n, Alpha: 0.05, Correction: "holm", Front: 8},
	}
	s := research.New()
	apply := func(d research.Payload) {
		if err := s.Apply(research.Event{Seq: s.Seq + 1, Time: time.Unix(1, 0), Data: d}); err != nil {
			t.Fatal(err)
		}
	}
	apply(research.RunCreated{Run: "r", Study: st, Seed: 1})
	plan := research.Plan{Experiments: len(values), Seeds: []int64{1}}
	for i := range n {
		plan.Fresh = append(plan.Fresh, int64(1000+i))
	}
	apply(research.PlanMade{Plan: plan})
	complete := func(id, trial string, seed int64, purpose string, m map[string]float64) {
		a := research.Action{ID: trial + "-a1", Kind: research.Try, Trial: trial, Experiment: id, Seed: seed, Purpose: purpose, Attempt: 1}
		apply(research.ActionDecided{Action: a})
		apply(research.AttemptEnded{Action: a.ID, Attempt: research.Attempt{ID: a.ID, Trial: trial, Number: 1, Class: research.Succeeded, Metrics: m}})
		apply(research.TrialCompleted{Trial: trial, Outcome: research.Succeeded})
	}
	var ids []string
	for i := range values {
		id := fmt.Sprintf("e%d", i+1)
		ids = append(ids, id)
		a := research.Action{ID: "propose-" + id, Kind: research.Propose, Index: i}
		apply(research.ActionDecided{Action: a})
		apply(research.ExperimentProposed{Action: a.ID, Experiment: id, Parameters: study.Params{"i": float64(i)}})
		complete(id, s.TrialID(id, 1), 1, research.ForSearch, map[string]float64{"error": 1, "size": 1})
	}
	apply(research.ActionDecided{Action: research.Action{ID: "choose", Kind: research.Choose}})
	apply(research.BestChosen{Action: "choose", Experiment: ids[0], Front: ids})
	apply(research.ValidationDesigned{Best: ids[0], Front: ids, Seeds: plan.Fresh})
	for i, id := range ids {
		for _, seed := range plan.Fresh {
			e, size := values[i](rand.New(rand.NewPCG(uint64(seed), uint64(i))))
			complete(id, s.TrialID(id, seed), seed, research.ForValidation, map[string]float64{"error": e, "size": size})
		}
	}
	return s
}

func around(e, size, noise float64) func(*rand.Rand) (float64, float64) {
	return func(r *rand.Rand) (float64, float64) { return e + noise*r.NormFloat64(), size }
}

// TestFront: what is better in all objectives dominates, also where one of them is the same for
// every seed and equal; what nothing beats in all has its place; what is noise is undecided.
func TestFront(t *testing.T) {
	s := fronted(t, 10,
		around(1, 5, 0.1), // e1: the least error
		around(3, 9, 0.1), // e2: the largest
		around(4, 9, 0.1), // e3: as large, and worse
		around(5, 4, 0.1), // e4: worse than all
		around(1.001, 5, 0.1),
		around(10, 11, 3)) // e6: the largest, and breaks the limit as often as not
	f := stats.FrontOf(s)
	if f == nil || len(f.Members) != 6 || f.Pairs != 30 {
		t.Fatalf("got %+v", f)
	}
	want := map[string][]string{"e1": {"e4"}, "e2": {"e3", "e4"}, "e3": {"e4"}, "e5": {"e4"}}
	for _, m := range f.Members {
		if !slices.Equal(m.Dominates, want[m.Experiment]) || m.N != 10 || !m.Found {
			t.Errorf("%s dominates %v, not %v", m.Experiment, m.Dominates, want[m.Experiment])
		}
		place := map[string]string{"e2": research.Supported, "e3": research.Refuted, "e4": research.Refuted, "e6": research.Supported}[m.Experiment]
		if place == "" {
			place = research.Undecided // e1 and e5 differ by noise alone
		}
		if m.Place != place {
			t.Errorf("the place of %s is %s (p %v), not %s", m.Experiment, m.Place, *m.P, place)
		}
		kept := map[string]string{"e6": research.Undecided}[m.Experiment]
		if kept == "" {
			kept = research.Supported
		}
		if m.Kept[0].Verdict != kept || m.Values[1].Interval != nil || m.Values[0].Interval == nil {
			t.Errorf("%s: %+v, %+v", m.Experiment, m.Kept, m.Values)
		}
	}
}

// TestFrontErrs: of configurations that are all the same, few are said to dominate another, or
// to have a place of their own.
func TestFrontErrs(t *testing.T) {
	const runs = 200
	wrong := 0
	for k := range runs {
		same := func(r *rand.Rand) (float64, float64) {
			r = rand.New(rand.NewPCG(r.Uint64(), uint64(k)))
			return 1 + r.NormFloat64(), 2 + r.NormFloat64()
		}
		f := stats.FrontOf(fronted(t, 8, same, same, same))
		if slices.ContainsFunc(f.Members, func(m stats.Member) bool { return len(m.Dominates) > 0 || m.Place == research.Supported }) {
			wrong++
		}
	}
	// Each of the two kinds errs with a chance of at most 5 %: 32 or more of 200 would have a
	// chance of less than 0.6 % at 10 %.
	if wrong >= 32 {
		t.Errorf("%d of %d fronts claim what is not so", wrong, runs)
	}
}

func TestFrontOfLittle(t *testing.T) {
	one := stats.FrontOf(fronted(t, 2, around(1, 1, 0)))
	if len(one.Members) != 1 || one.Members[0].Place != research.Undecided || one.Members[0].P != nil || one.Pairs != 0 {
		t.Errorf("one is %+v", one)
	}
	s := fronted(t, 2, around(1, 1, 0.1), around(1, 1, 0))
	s.Created.Study.Objectives = nil
	if f := stats.FrontOf(s); f != nil {
		t.Errorf("of one objective it is %+v", f)
	}
}
