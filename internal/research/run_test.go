package research_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ratchet/internal/research"
	"ratchet/study"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drawStudy draws a small study: every stage has something to do in some.
func drawStudy(t *rapid.T) *study.Study {
	st := &study.Study{
		Version: 1, Name: "drawn", Program: study.Program{Command: []string{"true"}},
		Objective: study.Objective{Metric: "score", Goal: rapid.SampledFrom([]string{study.Maximize, study.Minimize}).Draw(t, "goal")},
		Parameters: []study.Parameter{
			{Name: "kind", Kind: study.Categorical, Values: []any{"x", "y", "z"}},
			{Name: "size", Kind: study.Int, Low: 1, High: 5, When: map[string]study.Values{"kind": {"x"}}},
			{Name: "rate", Kind: study.Float, Low: 0, High: 1},
		},
		Search: study.Search{
			Method: study.Random, Experiments: rapid.IntRange(1, 12).Draw(t, "experiments"), Seeds: rapid.IntRange(1, 3).Draw(t, "seeds"),
		},
		Validation: study.Validation{Seeds: rapid.IntRange(2, 4).Draw(t, "fresh"), Alpha: 0.05, Correction: "holm"},
		Gates:      []study.Gate{"success_rate >= 0.5", "best.score > 0"},
		Limits:     study.Limits{Attempt: study.AttemptLimits{Time: study.Duration(time.Minute)}},
		Retries:    study.Retries{Max: rapid.IntRange(0, 3).Draw(t, "retries")},
		Executor:   "local", Parallel: rapid.IntRange(1, 4).Draw(t, "parallel"),
	}
	if rapid.IntRange(0, 3).Draw(t, "several") == 0 {
		most := 2.0
		st.Objectives = []study.Objective{st.Objective, {Metric: "cost", Goal: study.Minimize}}
		st.Constraints = []study.Constraint{{Metric: "cost", AtMost: &most}}
		st.Validation.Front = 2
	}
	if rapid.Bool().Draw(t, "build") {
		st.Program.Build = []string{"make"}
	}
	if rapid.Bool().Draw(t, "compare") {
		st.Hypotheses = []study.Hypothesis{
			{ID: "x-beats-y", Claim: "x beats y", A: study.Params{"kind": "x"}, B: study.Params{"kind": "y"}, Expect: study.Greater},
			{ID: "y-is-small", Claim: "y is below z", A: study.Params{"kind": "y"}, B: study.Params{"kind": "z"}, Expect: study.Less, By: 0.1},
		}
	}
	if rapid.Bool().Draw(t, "timed") {
		st.Limits.Run.Time = study.Duration(time.Duration(rapid.IntRange(60, 600).Draw(t, "limit")) * time.Second)
	}
	if rapid.Bool().Draw(t, "staged") {
		st.Limits.Stage.Time = study.Duration(time.Duration(rapid.IntRange(30, 300).Draw(t, "stage")) * time.Second)
	}
	return st
}

// world plays the engine and everything behind it: it carries out what Decide
// asks for, in whatever order and with whatever outcome is drawn.
type world struct {
	t       *rapid.T
	s       *research.State
	now     time.Time
	events  []research.Event // those that count
	past    []research.Event // of a world that was rolled back: all before
	decided map[string]int   // actions, and how often each was decided
	most    int              // attempts in flight at the same time
}

func newWorld(t *rapid.T, st *study.Study) *world {
	w := &world{t: t, s: research.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), decided: map[string]int{}}
	w.append(
		research.RunCreated{Run: "drawn-1", Study: st, Seed: 1, Snapshot: "digest", Isolation: "strict"},
		research.EngineStarted{Engine: "one", Host: "here", PID: 1},
	)
	return w
}

func (w *world) append(payloads ...research.Payload) {
	w.t.Helper()
	for _, p := range payloads {
		e := research.Event{Seq: w.s.Seq + 1, Time: w.now, Data: p}
		if err := w.s.Apply(e); err != nil {
			w.t.Fatalf("folding %s: %v", p.Type(), err)
		}
		w.events = append(w.events, e)
		if a, ok := p.(research.ActionDecided); ok {
			w.decided[a.Action.ID]++
		}
	}
}

// decide appends what follows until nothing does.
func (w *world) decide() {
	w.t.Helper()
	for range 10_000 {
		first := research.Decide(w.s, w.now)
		if again := research.Decide(w.s, w.now); !reflect.DeepEqual(first, again) {
			w.t.Fatalf("decided %v, and then, of the same state, %v", first, again)
		}
		if len(first) == 0 {
			flying := 0
			for _, a := range w.s.Pending {
				if a.Kind == research.Try {
					flying++
				}
			}
			w.most = max(w.most, flying)
			return
		}
		w.append(first...)
	}
	w.t.Fatal("the decisions have no end")
}

// run goes on until the run ends.
func (w *world) run() {
	w.t.Helper()
	for range 10_000 {
		w.decide()
		switch {
		case w.s.Ended():
			return
		case w.s.Status == research.Paused:
			w.append(research.RunResumed{MoreTime: study.Duration(time.Hour)})
			continue
		case len(w.s.Pending) == 0:
			w.t.Fatalf("the run stands still in %s with %d open trials", w.s.Stage, len(w.s.Open))
		}
		w.now = w.now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(w.t, "ms")) * time.Millisecond)
		a := w.s.Pending[rapid.IntRange(0, len(w.s.Pending)-1).Draw(w.t, "which")]
		w.append(w.outcome(a)...)
		switch rapid.IntRange(0, 40).Draw(w.t, "interference") {
		case 0:
			w.append(research.EngineStarted{Engine: strconv.Itoa(len(w.events)), Host: "here", PID: 2})
		case 1:
			w.append(research.PauseRequested{By: "somebody"})
		}
	}
	w.t.Fatal("the run has no end")
}

func (w *world) outcome(a research.Action) []research.Payload {
	switch a.Kind {
	case research.Build:
		return []research.Payload{research.ProgramBuilt{Action: a.ID, Snapshot: "built"}}
	case research.Propose:
		if rapid.IntRange(0, 30).Draw(w.t, "exhausted") == 0 {
			return []research.Payload{research.SearchExhausted{Action: a.ID}}
		}
		p := study.Params{"kind": rapid.SampledFrom([]any{"x", "y", "z"}).Draw(w.t, "kind"), "rate": float64(a.Index) / 100}
		if p["kind"] == "x" {
			p["size"] = float64(a.Index%5 + 1)
		}
		return []research.Payload{research.ExperimentProposed{Action: a.ID, Experiment: fmt.Sprintf("e%04d", a.Index+1), Parameters: p}}
	case research.Choose:
		var front []string
		for _, x := range w.s.Experiments {
			if x.Value != nil && w.s.Excess(x) == 0 && len(front) < 2 {
				front = append(front, x.Experiment)
			}
		}
		return []research.Payload{research.BestChosen{Action: a.ID, Experiment: append(front, "")[0], Front: front}}
	case research.Judge:
		var out []research.Payload
		for _, h := range w.s.Hypotheses {
			out = append(out, research.HypothesisJudged{Action: a.ID, Judgment: research.Judgment{Hypothesis: h.ID, Verdict: research.Undecided}})
		}
		return out
	}
	at := research.Attempt{ID: a.ID, Trial: a.Trial, Number: a.Attempt, Started: w.now, Ended: w.now, Usage: research.Usage{Wall: 1.5, CPU: 0.5}}
	at.Class = rapid.SampledFrom([]research.Class{
		research.Succeeded, research.Succeeded, research.Succeeded, research.Succeeded,
		research.Transient, research.Timeout, research.ProgramFault, research.InvalidOutput, research.Resource, research.Security,
	}).Draw(w.t, "class")
	if at.Class == research.Succeeded {
		rate, _ := w.s.Experiment(a.Experiment).Parameters["rate"].(float64)
		at.Metrics = map[string]float64{"score": rate + math.Sin(float64(a.Seed))/10, "cost": float64(a.Seed % 4)}
	} else {
		at.Exit, at.Message = 1, rapid.SampledFrom([]string{"boom", "bang"}).Draw(w.t, "message")
	}
	return []research.Payload{research.AttemptEnded{Action: a.ID, Attempt: at}}
}

// TestRuns draws whole runs and asks of each what must hold of every run.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := drawStudy(t)
		w := newWorld(t, st)
		w.run()
		for id, n := range w.decided {
			if n > 1 {
				t.Errorf("action %s was decided %d times", id, n)
			}
		}
		if w.most > st.Parallel {
			t.Errorf("%d attempts were in flight and the study allows %d", w.most, st.Parallel)
		}
		checkFolds(t, w)
		checkTrials(t, w)
	})
}

// checkFolds: any prefix and then the rest gives the state of the whole, also
// when the events went through their journal form; and the decisions at every
// cut are those of a state that was never interrupted.
func checkFolds(t *rapid.T, w *world) {
	cut := rapid.IntRange(1, len(w.events)).Draw(t, "cut")
	whole, parts := research.New(), research.New()
	if err := whole.Fold(w.events); err != nil {
		t.Fatal(err)
	}
	if err := parts.Fold(w.events[:cut]); err != nil {
		t.Fatal(err)
	}
	fresh := research.New()
	if err := fresh.Fold(journaled(t, w.events[:cut])); err != nil {
		t.Fatal(err)
	}
	if a, b := research.Decide(parts, w.now), research.Decide(fresh, w.now); !reflect.DeepEqual(a, b) {
		t.Fatalf("behind event %d a state in memory decides %v and one from the journal %v", cut, a, b)
	}
	if err := parts.Fold(w.events[cut:]); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Fold(journaled(t, w.events[cut:])); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(whole, parts) {
		t.Fatalf("folding %d events and then the rest gives another state than folding all", cut)
	}
	if !reflect.DeepEqual(w.s, fresh) {
		t.Fatal("the state in memory is not the one in the journal")
	}
}

// journaled are events after a way through their encoding.
func journaled(t *rapid.T, events []research.Event) []research.Event {
	out := slices.Clone(events)
	for i, e := range out {
		b, err := research.Encode(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if out[i].Data, err = research.Decode(e.Data.Type(), e.Data.Version(), b); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// checkTrials: the run has ended, every trial has one outcome, that of its
// last attempt, and no more attempts than the study allows.
func checkTrials(t *rapid.T, w *world) {
	complete := map[string]int{}
	for _, e := range w.events {
		if c, ok := e.Data.(research.TrialCompleted); ok {
			complete[c.Trial]++
		}
	}
	cut := slices.ContainsFunc(w.s.StageRecord, func(r research.StageRecord) bool { return r.Cut != "" })
	for _, x := range w.s.Experiments {
		for _, trial := range x.Trials {
			if n := complete[trial.ID]; n > 1 || n == 0 && !cut && w.s.Status == research.Completed {
				t.Errorf("trial %s was completed %d times", trial.ID, n)
			}
			if trial.Outcome != "" && trial.Outcome != trial.Last().Class {
				t.Errorf("trial %s came out as %s and its last attempt as %s", trial.ID, trial.Outcome, trial.Last().Class)
			}
			if len(trial.Attempts) > w.s.Created.Study.Retries.Max+1 {
				t.Errorf("trial %s had %d attempts", trial.ID, len(trial.Attempts))
			}
		}
	}
}
