package search_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ratchet/internal/proof"
	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	if !proof.All() {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// mixed has every kind of parameter.
func mixed(method string, experiments, parallel int) *study.Study {
	if m, ok := strings.CutSuffix(method, "+"); ok {
		st := mixed(m, experiments, parallel)
		st.Objectives = []study.Objective{st.Objective, {Metric: "size", Goal: study.Maximize}}
		most := 4.0
		st.Constraints = []study.Constraint{{Metric: "loss", AtMost: &most}}
		st.Validation.Front = 4
		return st
	}
	return &study.Study{
		Objective: study.Objective{Metric: "loss", Goal: study.Minimize},
		Parameters: []study.Parameter{
			{Name: "kind", Kind: study.Categorical, Values: []any{"a", "b", "c"}},
			{Name: "rate", Kind: study.Float, Low: 1e-4, High: 1, Log: true},
			{Name: "width", Kind: study.Int, Low: 1, High: 64, Log: true, When: map[string]study.Values{"kind": {"a", "b"}}},
			{Name: "drop", Kind: study.Float, Low: 0, High: 0.5, Step: 0.1, When: map[string]study.Values{"kind": {"c"}}},
			{Name: "shift", Kind: study.Float, Low: -1, High: 1},
		},
		Search:   study.Search{Method: method, Experiments: experiments, Seeds: 1, Eta: 3, MinStep: 1},
		Parallel: parallel,
	}
}

// bowl is a loss with its least, 0, at kind b, rate 0.01, width 16, shift 0.5.
func bowl(p study.Params) float64 {
	number := func(name string) float64 { v, _ := p[name].(float64); return v }
	loss := math.Pow(math.Log10(number("rate"))+2, 2) + math.Pow(number("shift")-0.5, 2)
	switch p["kind"] {
	case "b":
		loss += math.Pow(math.Log2(number("width"))-4, 2) / 4
	default:
		loss++
	}
	return loss
}

// size is at odds with bowl: it is to be high, and is where the rate is.
func size(p study.Params) float64 {
	rate, _ := p["rate"].(float64)
	return math.Log10(rate + 1e-9)
}

// lab runs a search with a parallelism, with its attempts ending in an order
// that r draws.
type lab struct {
	t     testing.TB
	s     *research.State
	value func(study.Params, int64) (loss float64, class research.Class)
	arms  []study.Params
}

func newLab(t testing.TB, st *study.Study, arms ...study.Params) *lab {
	l := &lab{t: t, s: research.New(), arms: append([]study.Params{{}}, arms...)}
	l.value = func(p study.Params, _ int64) (float64, research.Class) { return bowl(p), research.Succeeded }
	l.append(research.RunCreated{Run: "lab", Study: st, Seed: 42})
	seeds := make([]int64, st.Search.Seeds)
	for i := range seeds {
		seeds[i] = int64(42 + i)
	}
	l.append(research.PlanMade{Plan: research.Plan{Experiments: st.Search.Experiments, Seeds: seeds, Arms: l.arms}})
	return l
}

func (l *lab) append(payloads ...research.Payload) {
	l.t.Helper()
	for _, p := range payloads {
		if err := l.s.Apply(research.Event{Seq: l.s.Seq + 1, Time: time.Unix(1, 0), Data: p}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// run proposes as soon as the rule allows it and completes trials in the order
// that pick gives; it returns the proposals.
func (l *lab) run(pick func(open int) int) []search.Proposal {
	l.t.Helper()
	st := l.s.Created.Study
	var out []search.Proposal
	exhausted := false
	for {
		for i := len(l.s.Experiments); !exhausted && i < st.Search.Experiments && i-l.s.Frontier < st.Parallel; i = len(l.s.Experiments) {
			action := research.Action{ID: fmt.Sprint("propose-", i+1), Kind: research.Propose, Index: i}
			l.append(research.ActionDecided{Action: action})
			p, ok := search.Propose(l.s, i)
			if !ok {
				exhausted = true
				break
			}
			out = append(out, p)
			l.append(research.ExperimentProposed{Action: action.ID, Experiment: fmt.Sprintf("e%d", i+1), Arm: p.Arm, Parameters: p.Parameters, Repeats: p.Repeats, Seeds: p.Seeds, Rungs: p.Rungs, By: &p.By})
		}
		if len(l.s.Open) == 0 {
			return out
		}
		l.complete(l.s.Open[pick(len(l.s.Open))])
	}
}

func (l *lab) complete(t *research.Trial) {
	l.t.Helper()
	loss, class := l.value(l.s.Experiment(t.Experiment).Parameters, t.Seed)
	a := research.Action{ID: t.ID + "-a1", Kind: research.Try, Trial: t.ID, Experiment: t.Experiment, Attempt: 1}
	at := research.Attempt{ID: a.ID, Trial: t.ID, Number: 1, Class: class}
	if class == research.Succeeded {
		at.Metrics = map[string]float64{"loss": loss, "size": size(l.s.Experiment(t.Experiment).Parameters)}
		for _, step := range search.RungSteps(l.s.Created.Study.Search)[:min(3, len(search.RungSteps(l.s.Created.Study.Search)))] {
			at.Rungs = append(at.Rungs, research.Point{Step: step, Value: loss + 1/float64(step)})
		}
	}
	l.append(research.ActionDecided{Action: a}, research.AttemptEnded{Action: a.ID, Attempt: at}, research.TrialCompleted{Trial: t.ID, Outcome: class})
}

func first(int) int { return 0 }

// methods are the search methods that need no language model; with + they weigh two
// objectives, and a constraint.
var methods = []string{study.Random, study.LatinHypercube, study.Sobol, study.TPE, study.GP, study.CMA, study.Halving, study.GP + "+", study.NSGA + "+"}

// TestTimingChangesNothing: whatever finishes first, the same configurations
// are proposed in the same order.
func TestTimingChangesNothing(t *testing.T) {
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				parallel := rapid.IntRange(1, 8).Draw(r, "parallel")
				shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "order"), 1))
				st := mixed(method, proof.Of(18, 30), parallel)
				want := newLab(t, st, study.Params{"kind": "c"}).run(first)
				got := newLab(t, st, study.Params{"kind": "c"}).run(func(n int) int { return shuffle.IntN(min(n, parallel)) })
				if diff := cmp.Diff(want, got); diff != "" {
					r.Fatal(diff)
				}
			})
		})
	}
}

// TestNoPeeking: proposal i depends on no outcome of an experiment behind
// i − parallel.
func TestNoPeeking(t *testing.T) {
	for _, method := range methods {
		const parallel, n = 4, 30
		l := newLab(t, mixed(method, n, parallel))
		proposals := l.run(first)
		for i := parallel; i < n; i += 5 {
			// The same history, but for the outcomes that i must not know.
			again := newLab(t, mixed(method, n, parallel))
			for k := range i {
				a := research.Action{ID: fmt.Sprint("propose-", k+1), Kind: research.Propose, Index: k}
				again.append(research.ActionDecided{Action: a}, research.ExperimentProposed{Action: a.ID, Experiment: fmt.Sprintf("e%d", k+1), Arm: proposals[k].Arm, Parameters: proposals[k].Parameters, Rungs: proposals[k].Rungs, By: &proposals[k].By})
				if k > i-parallel {
					again.value = func(study.Params, int64) (float64, research.Class) { return -1000, research.Succeeded }
				}
				again.complete(again.s.Open[0])
			}
			if got, _ := search.Propose(again.s, i); !cmp.Equal(got, proposals[i]) {
				t.Errorf("%s: proposal %d changes with outcomes that it must not know", method, i)
			}
		}
	}
}

// TestProposalsAreAllowed: every value is in its range, parameters exist where
// their conditions hold and nowhere else, nothing is proposed twice, and a
// side's parameters are as it fixes them.
func TestProposalsAreAllowed(t *testing.T) {
	for _, method := range methods {
		st := mixed(method, 80, 3)
		proposals := newLab(t, st, study.Params{"kind": "c"}, study.Params{"kind": "a", "width": 8.0}).run(first)
		if len(proposals) != 80 {
			t.Errorf("%s: %d proposals", method, len(proposals))
		}
		seen := map[string]bool{}
		for i, p := range proposals {
			if key := p.Parameters.Key(); seen[key] {
				t.Errorf("%s: %s is proposed twice", method, key)
			} else {
				seen[key] = true
			}
			for _, d := range st.Parameters {
				v, ok := p.Parameters[d.Name]
				if ok != d.Active(p.Parameters) {
					t.Errorf("%s, proposal %d: %s is there: %v", method, i, d.Name, ok)
				}
				if ok && !d.Allows(v) {
					t.Errorf("%s, proposal %d: %s is %v", method, i, d.Name, v)
				}
			}
			if arm := i % 3; p.Arm != arm || arm == 1 && p.Parameters["kind"] != "c" || arm == 2 && p.Parameters["width"] != 8.0 {
				t.Errorf("%s, proposal %d is of arm %d: %v", method, i, p.Arm, p.Parameters)
			}
		}
	}
}

// small is a space of 2·3 + 2 = 8 configurations.
func small(method string) *study.Study {
	st := mixed(method, 50, 2)
	st.Parameters = []study.Parameter{
		{Name: "kind", Kind: study.Categorical, Values: []any{"a", "b"}},
		{Name: "k", Kind: study.Int, Low: 1, High: 3, When: map[string]study.Values{"kind": {"a"}}},
		{Name: "drop", Kind: study.Float, Low: 0, High: 0.5, Step: 0.5},
	}
	return st
}

func TestEverythingIsTriedOnce(t *testing.T) {
	for _, method := range append(methods, study.Grid) {
		l := newLab(t, small(method))
		l.value = func(study.Params, int64) (float64, research.Class) { return 1, research.Succeeded }
		proposals := l.run(first)
		if len(proposals) != 8 {
			t.Errorf("%s proposes %d of 8 configurations", method, len(proposals))
		}
	}
}

func TestGridIsInOrder(t *testing.T) {
	var got []string
	for _, p := range newLab(t, small(study.Grid)).run(first) {
		got = append(got, p.Parameters.Key())
	}
	want := []string{
		`{"drop":0,"k":1,"kind":"a"}`, `{"drop":0.5,"k":1,"kind":"a"}`, `{"drop":0,"k":2,"kind":"a"}`, `{"drop":0.5,"k":2,"kind":"a"}`,
		`{"drop":0,"k":3,"kind":"a"}`, `{"drop":0.5,"k":3,"kind":"a"}`, `{"drop":0,"kind":"b"}`, `{"drop":0.5,"kind":"b"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestLatinHypercube: of n points, each of the n slices of a range has one.
func TestLatinHypercube(t *testing.T) {
	const n = 40
	st := mixed(study.LatinHypercube, n, 4)
	slots := map[string]map[int]bool{"rate": {}, "shift": {}}
	for _, p := range newLab(t, st).run(first) {
		rate, shift := p.Parameters["rate"].(float64), p.Parameters["shift"].(float64)
		slots["rate"][int((math.Log10(rate)+4)/4*n)] = true
		slots["shift"][int((shift+1)/2*n)] = true
	}
	for name, s := range slots {
		if len(s) != n {
			t.Errorf("%s: %d of %d slices have a point", name, len(s), n)
		}
	}
}

// TestTPEFindsMore: over many seeds, TPE ends nearer to the least loss than
// random search does with as many experiments.
func TestTPEFindsMore(t *testing.T) {
	best := func(method string, seed int64) float64 {
		st := mixed(method, 60, 2)
		l := newLab(t, st)
		l.s.Created.Seed = seed
		least := math.Inf(1)
		for _, p := range l.run(first) {
			least = math.Min(least, bowl(p.Parameters))
		}
		return least
	}
	wins, n := 0, 40
	for seed := range n {
		if best(study.TPE, int64(seed)) < best(study.Random, int64(seed)) {
			wins++
		}
	}
	// Of equal methods, 28 or more of 40 would win with a chance of 0.8 %.
	if wins < 28 {
		t.Errorf("TPE is ahead of random search in %d of %d searches", wins, n)
	}
}

// TestLuckIsMeasuredAgain: where trials of one configuration differ much, the best are
// measured again with other seeds, and the best is by all of its trials; where they do not
// differ, nothing is measured twice.
func TestLuckIsMeasuredAgain(t *testing.T) {
	for _, noise := range []float64{0, 1} {
		st := mixed(study.GP, 60, 1)
		st.Search.Seeds = 2
		l := newLab(t, st)
		l.value = func(p study.Params, seed int64) (float64, research.Class) {
			r := rand.New(rand.NewPCG(uint64(seed), uint64(len(p.Key()))))
			return bowl(p) + noise*r.NormFloat64(), research.Succeeded
		}
		again := 0
		for i, p := range l.run(first) {
			if p.Repeats == "" {
				continue
			}
			again++
			of := l.s.Experiment(p.Repeats)
			if of == nil || of.Index >= i || of.Parameters.Key() != p.Parameters.Key() || len(p.Seeds) != 2 {
				t.Fatalf("proposal %d repeats %q with %v", i, p.Repeats, p.Seeds)
			}
			for _, seed := range p.Seeds {
				for _, other := range of.Trials {
					if other.Seed == seed {
						t.Errorf("a seed is used again")
					}
				}
			}
		}
		if noise == 0 && again > 0 || noise > 0 && again == 0 {
			t.Errorf("with noise %v, %d are measured again", noise, again)
		}
	}
}

// TestFailuresAreBad: where every a fails, TPE turns to the others.
func TestFailuresAreBad(t *testing.T) {
	l := newLab(t, mixed(study.TPE, 60, 2))
	l.value = func(p study.Params, _ int64) (float64, research.Class) {
		if p["kind"] == "a" {
			return 0, research.Security
		}
		return bowl(p), research.Succeeded
	}
	late := 0
	for _, p := range l.run(first)[30:] {
		if p.Parameters["kind"] == "a" {
			late++
		}
	}
	if late > 6 {
		t.Errorf("%d of the last 30 proposals are of the kind that always fails", late)
	}
}

// TestRungs: a rung's bar is what the best third of those before reached.
func TestRungs(t *testing.T) {
	proposals := newLab(t, mixed(study.Halving, 12, 1)).run(first)
	if len(proposals[2].Rungs) > 0 {
		t.Error("two outcomes make a bar")
	}
	var losses []float64
	for i, p := range proposals {
		if len(losses) >= 3 {
			sorted := slices.Sorted(slices.Values(losses))
			want := sorted[len(losses)/3-1]
			if len(p.Rungs) != 3 || p.Rungs[0].Step != 1 || p.Rungs[2].Step != 9 {
				t.Fatalf("proposal %d has the rungs %v", i, p.Rungs)
			}
			if got := p.Rungs[0].Bar - 1; math.Abs(got-want) > 1e-9 {
				t.Errorf("proposal %d has the bar %v, want %v", i, got, want)
			}
		}
		losses = append(losses, bowl(p.Parameters))
	}
}

// TestExtremeOutcomes: whatever finite numbers programs report, proposals are configurations
// of the space, and what is said of the parameters is finite.
func TestExtremeOutcomes(t *testing.T) {
	const most, least = math.MaxFloat64, 5e-324
	for _, values := range [][]float64{
		{0}, {most}, {-most, 3}, {most, 1}, {0, -1, -most, -1}, {1e300, 1e-300, -1e300}, {most, -most}, {least, 0}, {3, 3 + 1e-15}, {1e200, 0.5, 0.4, 0.6},
	} {
		for k, method := range methods {
			st := mixed(method, 14, 2)
			st.Search.Seeds = 1 + k%2
			if k%3 == 0 {
				st.Search.Stop, st.Search.Error, st.Search.Eta = study.StopCurve, 0.05, 2
			}
			l := newLab(t, st)
			n := 0
			l.value = func(study.Params, int64) (float64, research.Class) {
				n++
				return values[n%len(values)], research.Succeeded
			}
			finite := func(what string, of ...float64) {
				t.Helper()
				for _, v := range of {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						t.Errorf("%s, outcomes %v: %s is %v", method, values, what, of)
					}
				}
			}
			for _, p := range l.run(first) {
				if _, why := st.Fit(p.Parameters); why != "" {
					t.Errorf("%s, outcomes %v: %s", method, values, why)
				}
				finite("the model", p.By.Model...)
				if p.By.Gain != nil {
					finite("the gain", *p.By.Gain)
				}
				for _, r := range p.Rungs {
					finite("a bar", r.Bar)
				}
			}
			search.Choose(l.s)
			if method == study.Random {
				for _, i := range search.Importances(l.s) {
					finite("the importance", i.Share, i.Low, i.High, i.Total)
				}
			}
		}
	}
}
