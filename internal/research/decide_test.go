package research_test

import (
	"strings"
	"testing"
	"time"

	"ratchet/internal/research"
	"ratchet/study"
)

// plain is a study in which everything is as small as it can be.
func plain() *study.Study {
	return &study.Study{
		Version: 1, Name: "plain", Program: study.Program{Command: []string{"true"}},
		Objective:  study.Objective{Metric: "score", Goal: study.Maximize},
		Parameters: []study.Parameter{{Name: "kind", Kind: study.Categorical, Values: []any{"x", "y"}}, {Name: "rate", Kind: study.Float, Low: 0, High: 1}},
		Search:     study.Search{Method: study.Random, Experiments: 4, Seeds: 1},
		Validation: study.Validation{Seeds: 2, Alpha: 0.05, Correction: "holm"},
		Limits:     study.Limits{Attempt: study.AttemptLimits{Time: study.Duration(time.Minute), Memory: 1 << 30, CPUs: 1}},
		Executor:   "local", Parallel: 2,
	}
}

// script drives a run with outcomes that a function gives, without a random
// choice anywhere: the oldest pending action always ends first.
type script struct {
	t       *testing.T
	s       *research.State
	now     time.Time
	propose func(i int) study.Params
	try     func(x *research.Experiment, a research.Action) research.Attempt
}

func newScript(t *testing.T, st *study.Study, machine research.Machine) *script {
	w := &script{t: t, s: research.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.propose = func(i int) study.Params {
		return study.Params{"kind": []any{"x", "y"}[i%2], "rate": float64(i) / 10}
	}
	w.try = func(x *research.Experiment, _ research.Action) research.Attempt {
		rate, _ := x.Parameters["rate"].(float64)
		return research.Attempt{Class: research.Succeeded, Metrics: map[string]float64{"score": rate}}
	}
	w.append(research.RunCreated{Run: "plain-1", Study: st, Seed: 1, Snapshot: "d", Machine: machine}, research.EngineStarted{Engine: "e"})
	return w
}

func (w *script) append(payloads ...research.Payload) {
	w.t.Helper()
	for _, p := range payloads {
		if err := w.s.Apply(research.Event{Seq: w.s.Seq + 1, Time: w.now, Data: p}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// until goes on until stop says so or nothing is pending any more.
func (w *script) until(stop func(*research.State) bool) {
	w.t.Helper()
	for range 10_000 {
		for next := research.Decide(w.s, w.now); len(next) > 0; next = research.Decide(w.s, w.now) {
			w.append(next...)
		}
		if stop(w.s) || len(w.s.Pending) == 0 {
			return
		}
		a := w.s.Pending[0]
		switch a.Kind {
		case research.Propose:
			id := "e" + string(rune('a'+a.Index))
			w.append(research.ExperimentProposed{Action: a.ID, Experiment: id, Parameters: w.propose(a.Index)})
		case research.Judge:
			for _, h := range w.s.Hypotheses {
				w.append(research.HypothesisJudged{Action: a.ID, Judgment: research.Judgment{Hypothesis: h.ID, Verdict: research.Undecided}})
			}
		case research.Try:
			at := w.try(w.s.Experiment(a.Experiment), a)
			at.ID, at.Trial, at.Number = a.ID, a.Trial, a.Attempt
			w.append(research.AttemptEnded{Action: a.ID, Attempt: at})
		default:
			w.t.Fatalf("unexpected action %s", a.Kind)
		}
	}
	w.t.Fatal("the run has no end")
}

func never(*research.State) bool { return false }

func TestPlanIsRefusedWithFigures(t *testing.T) {
	big := research.Machine{CPUs: 8, Memory: 64 << 30}
	for _, c := range []struct {
		name    string
		change  func(*study.Study)
		machine research.Machine
		says    []string
	}{
		{"experiments", func(s *study.Study) { s.Limits.Run.Experiments = 3 }, big, []string{"4 experiments", "allows 3"}},
		{"memory", func(s *study.Study) { s.Limits.Attempt.Memory = 128 << 30 }, big, []string{"128GiB", "64GiB"}},
		{"processors", func(s *study.Study) { s.Limits.Attempt.CPUs = 9 }, big, []string{"9 processors", "has 8"}},
		{"GPUs", func(s *study.Study) { s.Limits.Attempt.GPUs = 1 }, big, []string{"1 GPUs", "has 0"}},
		{"time", func(s *study.Study) { s.Limits.Run.Time = study.Duration(time.Second) }, big, []string{"1m", "1s"}},
		{"sides", func(s *study.Study) {
			s.Search.Experiments = 1
			s.Hypotheses = []study.Hypothesis{{ID: "h", Claim: "c", A: study.Params{"kind": "x"}, B: study.Params{"kind": "y"}, Expect: study.Greater}}
		}, big, []string{"2 sides", "at least 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := plain()
			c.change(st)
			w := newScript(t, st, c.machine)
			w.until(never)
			if w.s.Status != research.Failed {
				t.Fatalf("the run is %s (%s)", w.s.Status, w.s.Why)
			}
			for _, text := range c.says {
				if !strings.Contains(w.s.Why, text) {
					t.Errorf("%q does not say %q", w.s.Why, text)
				}
			}
		})
	}
}

func TestDerivedHypotheses(t *testing.T) {
	w := newScript(t, plain(), research.Machine{CPUs: 8, Memory: 64 << 30})
	w.until(never)
	if w.s.Status != research.Completed {
		t.Fatalf("the run is %s (%s)", w.s.Status, w.s.Why)
	}
	if len(w.s.Hypotheses) != 1 || w.s.Hypotheses[0].Derived != "kind" {
		t.Fatalf("hypotheses %+v", w.s.Hypotheses)
	}
	// The rates are 0, 0.1, 0.2, 0.3, so y's best is better than x's.
	c := w.s.Hypotheses[0].Comparison
	if c.A["kind"] != "y" || c.B["kind"] != "x" || c.ExperimentA != "ed" || c.ExperimentB != "ec" {
		t.Errorf("it compares %+v", c)
	}
}

// TestEqualEffort: of a side that was tried more often, as many experiments
// count as the other has.
func TestEqualEffort(t *testing.T) {
	st := plain()
	st.Hypotheses = []study.Hypothesis{{ID: "h", Claim: "c", A: study.Params{"kind": "x"}, B: study.Params{"kind": "y"}, Expect: study.Greater}}
	w := newScript(t, st, research.Machine{CPUs: 8, Memory: 64 << 30})
	w.propose = func(i int) study.Params { // x, x, x, y, ever better
		return study.Params{"kind": []any{"x", "x", "x", "y"}[i], "rate": float64(i) / 10}
	}
	w.until(never)
	c := w.s.Hypotheses[0].Comparison
	if c.TunedOver != 1 || c.ExperimentA != "ea" || c.ExperimentB != "ed" {
		t.Errorf("one configuration of y stands against the best of %d of x, %s: %+v", c.TunedOver, c.ExperimentA, c)
	}
}

// TestGapsAreNotFilled: an experiment of which one trial failed has no value,
// and is not the best whatever its other trials gave.
func TestGapsAreNotFilled(t *testing.T) {
	st := plain()
	st.Search.Seeds = 2
	w := newScript(t, st, research.Machine{CPUs: 8, Memory: 64 << 30})
	w.try = func(x *research.Experiment, a research.Action) research.Attempt {
		if x.Experiment == "ed" && a.Seed == 2 {
			return research.Attempt{Class: research.Security}
		}
		rate, _ := x.Parameters["rate"].(float64)
		return research.Attempt{Class: research.Succeeded, Metrics: map[string]float64{"score": rate}}
	}
	w.until(never)
	if x := w.s.Experiment("ed"); x.Value != nil {
		t.Errorf("the experiment with a failed trial has the value %v", *x.Value)
	}
	if best := w.s.Best(); best.Experiment != "ec" {
		t.Errorf("the best experiment is %s", best.Experiment)
	}
	for _, c := range w.s.Review {
		if c.Name == "no trial failed" && c.Passed {
			t.Error("the review passes over the failed trial")
		}
	}
}

func TestNothingSucceeds(t *testing.T) {
	w := newScript(t, plain(), research.Machine{CPUs: 8, Memory: 64 << 30})
	w.try = func(*research.Experiment, research.Action) research.Attempt {
		return research.Attempt{Class: research.Security, Message: "no"}
	}
	w.until(never)
	if w.s.Status != research.Failed || !strings.Contains(w.s.Why, "no trial succeeded") {
		t.Errorf("the run is %s (%s)", w.s.Status, w.s.Why)
	}
	if w.s.BestMetrics() != nil {
		t.Error("there are metrics of a best configuration")
	}
}

// TestReproductionIsChecked: a repetition that differs in the last bit does
// not reproduce.
func TestReproductionIsChecked(t *testing.T) {
	for _, drift := range []float64{0, 1e-16} {
		w := newScript(t, plain(), research.Machine{CPUs: 8, Memory: 64 << 30})
		w.try = func(_ *research.Experiment, a research.Action) research.Attempt {
			v := 0.5
			if a.Purpose == research.ForReproduction {
				v += drift
			}
			return research.Attempt{Class: research.Succeeded, Metrics: map[string]float64{"score": v}}
		}
		w.until(never)
		if same := drift == 0 || 0.5+drift == 0.5; w.s.Again.Reproduces != same {
			t.Errorf("with a drift of %g it reproduces: %v (%s)", drift, w.s.Again.Reproduces, w.s.Again.Why)
		}
	}
}

// TestPauseWhileResuming: a wish that comes just before the run is resumed is
// not lost.
func TestPauseWhileResuming(t *testing.T) {
	w := newScript(t, plain(), research.Machine{CPUs: 8, Memory: 64 << 30})
	w.append(research.PauseRequested{By: "somebody"})
	w.until(never)
	w.append(research.PauseRequested{By: "somebody else"}, research.RunResumed{})
	w.until(never)
	if w.s.Status != research.Paused || !strings.Contains(w.s.Why, "somebody else") {
		t.Errorf("the run is %s (%s)", w.s.Status, w.s.Why)
	}
}

func TestTimeRunsOut(t *testing.T) {
	st := plain()
	st.Limits.Run.Time = study.Duration(10 * time.Minute)
	w := newScript(t, st, research.Machine{CPUs: 8, Memory: 64 << 30})
	w.until(func(s *research.State) bool { return s.Stage == research.Experimentation })
	if wake := w.s.Wake(w.now); !wake.Equal(w.now.Add(10 * time.Minute)) {
		t.Errorf("the run wakes at %s", wake)
	}
	w.now = w.now.Add(11 * time.Minute)
	w.until(never)
	if w.s.Status != research.Paused || !strings.Contains(w.s.Why, "11m of 10m") {
		t.Fatalf("the run is %s (%s)", w.s.Status, w.s.Why)
	}
	w.append(research.RunResumed{MoreTime: study.Duration(time.Hour)})
	w.until(never)
	if w.s.Status != research.Completed {
		t.Errorf("with an hour more the run is %s (%s)", w.s.Status, w.s.Why)
	}
}

func TestStageTimeCutsTheStage(t *testing.T) {
	st := plain()
	st.Limits.Stage.Time = study.Duration(time.Minute)
	w := newScript(t, st, research.Machine{CPUs: 8, Memory: 64 << 30})
	w.try = func(x *research.Experiment, _ research.Action) research.Attempt {
		w.now = w.now.Add(50 * time.Second)
		return research.Attempt{Class: research.Succeeded, Metrics: map[string]float64{"score": 1}}
	}
	w.until(never)
	if w.s.Status != research.Completed || w.s.StageRecord[2].Cut == "" || len(w.s.Experiments) == 4 {
		t.Errorf("the run is %s after %d experiments, cut %q", w.s.Status, len(w.s.Experiments), w.s.StageRecord[2].Cut)
	}
}

func TestPauseAndCancelWaitForWhatRuns(t *testing.T) {
	for wish, want := range map[research.Payload]research.Status{
		research.PauseRequested{By: "somebody"}:  research.Paused,
		research.CancelRequested{By: "somebody"}: research.Cancelled,
	} {
		w := newScript(t, plain(), research.Machine{CPUs: 8, Memory: 64 << 30})
		running := func(s *research.State) bool {
			return len(s.Pending) > 0 && s.Pending[0].Kind == research.Try
		}
		w.until(running)
		w.append(wish)
		if next := research.Decide(w.s, w.now); len(next) > 0 {
			t.Errorf("%T: %T was decided while an attempt runs", wish, next[0])
		}
		w.until(never)
		if w.s.Status != want || !strings.Contains(w.s.Why, "somebody") {
			t.Errorf("%T: the run is %s (%s)", wish, w.s.Status, w.s.Why)
		}
	}
}
