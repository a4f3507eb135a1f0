package research_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratchet/internal/research"
	"ratchet/study"
)

// TestTimeline, beside the definition: the state at a position is what was
// folded when the journal had come so far.
func TestTimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 40).Draw(t, "n")
		var rollbacks []research.Rollback
		counted := [][]int64{nil} // by position: the events that count there
		for seq := int64(1); seq <= n; seq++ {
			before := counted[seq-1]
			if seq > 1 && rapid.IntRange(0, 5).Draw(t, "back") == 0 {
				to := rapid.Int64Range(1, seq-1).Draw(t, "to")
				rollbacks = append(rollbacks, research.Rollback{Seq: seq, To: to})
				before = counted[to]
			}
			counted = append(counted, append(append([]int64{}, before...), seq))
		}
		at := rapid.Int64Range(0, n).Draw(t, "at")
		var got []int64
		for _, span := range research.Timeline(rollbacks, at) {
			for seq := span.First; seq <= span.Last; seq++ {
				got = append(got, seq)
			}
		}
		if !reflect.DeepEqual(got, counted[at]) {
			t.Fatalf("at %d of %v: %v, want %v", at, rollbacks, got, counted[at])
		}
	})
}

// back takes the world to an earlier position.
func (w *world) back(to int64) {
	w.t.Helper()
	last, driven := w.s.Seq, w.s.Driven+w.s.RolledBack
	w.s = research.New()
	w.events = w.events[:0:0]
	for _, e := range w.past {
		if e.Seq > to {
			break
		}
		if err := w.s.Apply(e); err != nil {
			w.t.Fatal(err)
		}
		w.events = append(w.events, e)
	}
	w.decided = map[string]int{}
	e := research.Event{Seq: last + 1, Time: w.now, Data: research.RolledBack{To: to, By: "somebody", Driven: study.Duration(driven)}}
	if err := w.s.Apply(e); err != nil {
		w.t.Fatalf("going back from %d to %d: %v", last, to, err)
	}
	w.events = append(w.events, e)
}

// TestRollBackAnywhere: whatever a run was doing, also in the middle of what
// was appended together, it goes on from there to its end as any run does, and
// the time that was spent stays spent.
func TestRollBackAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawStudy(t))
		w.run()
		spent := w.s.Driven + w.s.RolledBack
		w.past = w.events
		w.back(rapid.Int64Range(2, w.s.Seq).Draw(t, "to"))
		if got := w.s.Driven + w.s.RolledBack; got != spent {
			t.Errorf("after going back %s are spent, before it were %s", got, spent)
		}
		if w.s.Engine.Engine != "" {
			t.Error("an engine drives the run that was rolled back")
		}
		if !w.s.Ended() {
			w.append(research.EngineStarted{Engine: "two", Host: "here", PID: 2})
			w.run()
		}
		checkFolds(t, w)
		checkTrials(t, w)
		if w.s.Status == research.Completed && len(w.s.StageRecord) != len(research.Stages) {
			t.Errorf("the run went through %d stages", len(w.s.StageRecord))
		}
	})
}

// TestRolledBackToNowhere: a rollback that does not follow its position is
// refused.
func TestRolledBackToNowhere(t *testing.T) {
	w := newScript(t, plain(), research.Machine{CPUs: 2})
	for _, to := range []int64{0, 1, 3, -1} {
		if err := w.s.Apply(research.Event{Seq: 3, Time: w.now, Data: research.RolledBack{To: to}}); err == nil {
			t.Errorf("behind event 2, a rollback to %d was folded", to)
		}
	}
}

// TestRestored: a state through its data form is the same state.
func TestRestored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawStudy(t))
		w.run()
		cut := rapid.IntRange(1, len(w.events)).Draw(t, "cut")
		s := research.New()
		if err := s.Fold(journaled(t, w.events[:cut])); err != nil {
			t.Fatal(err)
		}
		digest := s.Digest()
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back research.State
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		back.Open = nil
		if err := back.Restored(s.OpenTrials()); err != nil {
			t.Fatal(err)
		}
		if got := back.Digest(); got != digest {
			t.Fatalf("the digest was %s and is %s", digest, got)
		}
		for _, x := range []*research.State{s, &back} {
			if err := x.Fold(w.events[cut:]); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := s.Digest(), back.Digest(); a != b {
			t.Fatalf("going on from event %d gives %s, and from its data form %s", cut, a, b)
		}
		fresh := research.New()
		if err := fresh.Fold(w.events); err != nil {
			t.Fatal(err)
		}
		if a, b := s.Digest(), fresh.Digest(); a != b {
			t.Fatalf("with what was kept of experiments the digest is %s, afresh %s", a, b)
		}
	})
}

// checkpointed drives a run to its end and gives its checkpoints.
func checkpointed(t *testing.T, st *study.Study, try func(*research.Experiment, research.Action) research.Attempt) []string {
	w := newScript(t, st, research.Machine{CPUs: 2})
	if try != nil {
		w.try = try
	}
	w.append(research.EngineStarted{Engine: "f"}) // the first one was killed
	w.append(research.CheckpointMade{Name: "by-hand", By: "me"})
	w.until(func(s *research.State) bool { return s.Ended() })
	var out []string
	for i, c := range w.s.Checkpoints {
		if i > 0 && c.Seq < w.s.Checkpoints[i-1].Seq {
			t.Errorf("%s stands behind a later one", c.Name)
		}
		out = append(out, c.Kind+" "+c.Name)
	}
	return out
}

func TestCheckpoints(t *testing.T) {
	st := plain()
	st.Checkpoints = study.Checkpoints{Experiments: 2}
	want := []string{
		"start start", "recovery recovery-1", "manual by-hand", "stage stage-ideation", "stage stage-planning", "stage experiments-2", "stage experiments-4",
		"stage stage-experimentation", "stage stage-validation", "stage stage-reporting", "completion completion",
	}
	if got := checkpointed(t, st, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	failing := func(x *research.Experiment, a research.Action) research.Attempt {
		if a.Seed == 1 && x.Index%2 == 1 {
			return research.Attempt{Class: research.Security}
		}
		return research.Attempt{Class: research.Succeeded, Metrics: map[string]float64{"score": 1}}
	}
	got := strings.Join(checkpointed(t, plain(), failing), ", ")
	if strings.Count(got, "error ") != 1 || !strings.Contains(got, "error error-eb-s1") {
		t.Errorf("of a stage with two failures: %s", got)
	}
}

// TestCheckpointsByTime counts the time in which an engine drives the run.
func TestCheckpointsByTime(t *testing.T) {
	st := plain()
	st.Checkpoints = study.Checkpoints{Every: study.Duration(10 * time.Minute)}
	w := newScript(t, st, research.Machine{CPUs: 2})
	for range 5 {
		w.now = w.now.Add(9 * time.Minute)
		w.append(research.CheckpointMade{Name: "x"})
	}
	w.append(research.EngineStopped{Engine: "e"})
	w.now = w.now.Add(time.Hour)
	w.append(research.EngineStarted{Engine: "f"})
	var got []string
	for _, c := range w.s.Checkpoints {
		if c.Kind == research.AtStage {
			got = append(got, c.Name)
		}
	}
	if want := []string{"time-10m", "time-20m", "time-30m", "time-40m"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAmend: what keeps the past true is accepted, all else is refused with
// its reason.
func TestAmend(t *testing.T) {
	searching := newScript(t, plain(), research.Machine{CPUs: 2})
	searching.until(func(s *research.State) bool { return len(s.Experiments) == 3 })
	ended := newScript(t, plain(), research.Machine{CPUs: 2})
	ended.until(func(s *research.State) bool { return s.Ended() })
	h := study.Hypothesis{ID: "new", Claim: "c", A: study.Params{"kind": "x"}, B: study.Params{"kind": "y"}, Expect: study.Less}
	for _, c := range []struct {
		name  string
		s     *research.State
		edit  func(*study.Study)
		error string
	}{
		{"nothing", ended.s, func(*study.Study) {}, ""},
		{"budgets", ended.s, func(st *study.Study) { st.Limits.Run.Time, st.Limits.Run.Cost = study.Duration(time.Hour), 7 }, ""},
		{"parallelism", searching.s, func(st *study.Study) { st.Parallel = 9 }, ""},
		{"more experiments", searching.s, func(st *study.Study) { st.Search.Experiments = 9 }, ""},
		{"fewer than begun", searching.s, func(st *study.Study) { st.Search.Experiments = 2 }, "3 experiments were begun"},
		{"more, too late", ended.s, func(st *study.Study) { st.Search.Experiments = 9 }, "the search was over"},
		{"a hypothesis", searching.s, func(st *study.Study) { st.Hypotheses = []study.Hypothesis{h} }, ""},
		{"a hypothesis, too late", ended.s, func(st *study.Study) { st.Hypotheses = []study.Hypothesis{h} }, "validation was designed"},
		{"fresh seeds", searching.s, func(st *study.Study) { st.Validation.Seeds = 20 }, ""},
		{"fresh seeds, too late", ended.s, func(st *study.Study) { st.Validation.Seeds = 20 }, "it was designed"},
		{"another program", searching.s, func(st *study.Study) { st.Program.Command = []string{"false"} }, "program.command cannot change"},
		{"another objective", searching.s, func(st *study.Study) { st.Objective.Goal = study.Minimize }, "objective.goal cannot change"},
		{"other limits of attempts", searching.s, func(st *study.Study) { st.Limits.Attempt.Memory = 1 }, "limits.attempt.memory cannot change"},
		{"other ranges", searching.s, func(st *study.Study) { st.Parameters[0].Values = st.Parameters[0].Values[:1] }, ""},
		{"other ranges, too late", ended.s, func(st *study.Study) { st.Parameters[0].Values = st.Parameters[0].Values[:1] }, "the search was over"},
		{"another space", searching.s, func(st *study.Study) { st.Parameters = st.Parameters[:1] }, "parameters cannot change"},
		{"other search seeds", searching.s, func(st *study.Study) { st.Search.Seeds = 3 }, "search.seeds cannot change"},
		{"a plan that cannot be", searching.s, func(st *study.Study) { st.Limits.Run.Experiments = 1 }, "the plan could not be carried out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := *plain()
			c.edit(&next)
			before := c.s.Digest()
			err := c.s.Amend(&next)
			if (err == nil) != (c.error == "") || err != nil && !strings.Contains(err.Error(), c.error) {
				t.Errorf("%v, want %q", err, c.error)
			}
			if c.s.Digest() != before {
				t.Error("asking has changed the state")
			}
		})
	}
}

// TestForkGoesOn: a fork with more experiments and a new hypothesis runs them.
func TestForkGoesOn(t *testing.T) {
	w := newScript(t, plain(), research.Machine{CPUs: 2})
	w.until(func(s *research.State) bool { return len(s.Experiments) == 3 })
	next := *plain()
	next.Search.Experiments, next.Parallel = 7, 3
	next.Hypotheses = []study.Hypothesis{{ID: "new", Claim: "c", A: study.Params{"kind": "x"}, B: study.Params{"kind": "y"}, Expect: study.Less}}
	if err := w.s.Amend(&next); err != nil {
		t.Fatal(err)
	}
	w.append(research.RunForked{Origin: research.Origin{Run: "plain-0", Seq: w.s.Seq, Hash: "h"}, By: "me", Study: &next})
	if w.s.Engine.Engine != "" || w.s.Origin.Run != "plain-0" {
		t.Errorf("driven by %q, from %+v", w.s.Engine.Engine, w.s.Origin)
	}
	w.append(research.EngineStarted{Engine: "f"})
	w.until(func(s *research.State) bool { return s.Ended() })
	if len(w.s.Experiments) != 7 || w.s.Status != research.Completed {
		t.Errorf("%d experiments, %s (%s)", len(w.s.Experiments), w.s.Status, w.s.Why)
	}
	last := w.s.Hypotheses[len(w.s.Hypotheses)-1]
	if last.ID != "new" || last.Added == 0 || last.Judgment == nil {
		t.Errorf("the new hypothesis: %+v", last)
	}
}

// TestForkIntoOtherRanges: what was measured outside the ranges that a fork has now is never
// its best, and stands for no side.
func TestForkIntoOtherRanges(t *testing.T) {
	w := newScript(t, plain(), research.Machine{CPUs: 2})
	w.until(func(s *research.State) bool { return s.Best() != nil && len(s.Open) == 0 })
	best := w.s.Best()
	next := *plain()
	for i, d := range next.Parameters {
		if d.Kind == study.Categorical {
			next.Parameters[i].Values = slices.DeleteFunc(slices.Clone(d.Values), func(v any) bool { return v == best.Parameters[d.Name] })
		}
	}
	if err := w.s.Amend(&next); err != nil {
		t.Fatal(err)
	}
	w.append(research.RunForked{Origin: research.Origin{Run: "plain-0", Seq: w.s.Seq, Hash: "h"}, By: "me", Study: &next})
	if x := w.s.Best(); !best.Outside || x != nil && x.Outside {
		t.Errorf("the best is %+v after it was put outside", x)
	}
}
