package stats_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// openRun carries a run with proposals to its end: pick says which of the things that can
// happen next does. gains are by how much the proposals are better than the start; one beyond
// 100 fails; with retry, the trials that failed are tried again in the end, and succeed.
func openRun(t *rapid.T, parallel int, gains []float64, retry bool, pick func(n int) int) *research.State {
	st := &study.Study{
		Objective: study.Objective{Metric: "m", Goal: study.Maximize}, Parameters: []study.Parameter{{Name: "i", Kind: study.Int, Low: 0, High: 100}},
		Search: study.Search{Method: study.Open, Experiments: 50}, Keep: &study.Keep{Seeds: 6, Alpha: 0.1}, Validation: study.Validation{Seeds: 3, Alpha: 0.05, Correction: "holm"},
		Parallel: parallel,
	}
	s := research.New()
	now := time.Unix(1, 0)
	apply := func(events ...research.Payload) {
		for _, p := range events {
			if err := s.Apply(research.Event{Seq: s.Seq + 1, Time: now, Data: p}); err != nil {
				t.Fatalf("%s: %v", p.Type(), err)
			}
		}
	}
	apply(research.RunCreated{Run: "r", Study: st, Seed: 1, Draw: research.DrawnByHMAC})
	told, mended := 0, !retry
	for range 10_000 {
		for {
			events := research.Decide(s, now)
			if len(events) == 0 {
				break
			}
			apply(events...)
			for _, a := range s.Pending {
				switch a.Kind {
				case research.Propose:
					apply(research.ExperimentProposed{Action: a.ID, Experiment: "e0001", Parameters: study.Params{"i": 0.0}})
				case research.Weigh:
					apply(research.ExperimentWeighed{Action: a.ID, Weighing: stats.Weigh(s, a.Experiment)})
				case research.Ablate:
					made := research.AblationsMade{Action: a.ID}
					for i, x := range s.Changed() {
						made.Ablations = append(made.Ablations, research.Ablation{Of: x.Experiment, Experiment: fmt.Sprintf("e%04d", len(s.Experiments)+1+i), Parameters: study.Params{"i": float64(50 + i)}})
					}
					apply(made)
				case research.Judge:
					for _, j := range stats.Judge(s, nil) {
						apply(research.HypothesisJudged{Action: a.ID, Judgment: j})
					}
				}
			}
		}
		if s.Ended() {
			if failed := s.Failed(); !mended && len(failed) > 0 { // what made them fail is mended
				mended = true
				var ids []string
				for _, t := range failed {
					ids = append(ids, t.ID)
				}
				apply(research.TrialsRetried{Trials: ids, By: "b"})
				continue
			}
			return s
		}
		var next []func()
		for _, a := range s.Pending {
			next = append(next, func() {
				r := rand.New(rand.NewPCG(uint64(a.Seed), 1)) // shared by both sides
				own := rand.New(rand.NewPCG(uint64(a.Seed), uint64(len(a.Trial))+uint64(a.Experiment[4])))
				gain := 0.0
				if i := s.Experiment(a.Experiment).Index; i > 0 && i <= len(gains) {
					gain = gains[i-1]
				}
				at := research.Attempt{ID: a.ID, Trial: a.Trial, Number: a.Attempt, Class: research.Succeeded, Metrics: map[string]float64{"m": gain + r.NormFloat64() + 0.3*own.NormFloat64()}}
				if gain > 100 && (!retry || !mended) {
					at.Class, at.Certain, at.Metrics = research.ProgramFault, true, nil
				}
				apply(research.AttemptEnded{Action: a.ID, Attempt: at})
			})
		}
		if s.Taking() == "" && told < len(gains) {
			next = append(next, func() {
				told++
				// Each changes the same parent, so that what is proposed is the same.
				apply(research.ExperimentProposed{Experiment: s.NextExperiment(), Parent: "e0001", Parameters: study.Params{"i": float64(told)}, Seeds: s.FirstSeeds(), Why: fmt.Sprint(told)})
			})
		}
		if told == len(gains) && s.Closing == "" {
			next = append(next, func() { apply(research.CloseRequested{By: "b"}) })
		}
		if len(next) == 0 {
			t.Fatalf("the run stands still in %s", s.Stage)
		}
		next[pick(len(next))]()
	}
	t.Fatal("the run has no end")
	return nil
}

// TestOpenRuns: what is kept depends on what was proposed, and not on when, nor on which trial
// ends first; all that was proposed has a verdict, and what was kept is judged on fresh seeds.
func TestOpenRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gains := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 0.2, 0.5, 1, 3, -1, 1000}), 1, 8).Draw(t, "gains")
		parallel := rapid.IntRange(1, 4).Draw(t, "parallel")
		first := openRun(t, parallel, gains, false, func(int) int { return 0 })
		second := openRun(t, parallel, gains, false, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
		for i, x := range first.Experiments {
			y := second.Experiments[i]
			if diff := cmp.Diff(x.Weighing, y.Weighing); diff != "" || x.Verdict() == "" {
				t.Fatalf("%s: %s", x.Experiment, diff)
			}
			if i > len(gains) {
				if x.Verdict() != research.Ablated {
					t.Fatalf("%s is %s", x.Experiment, x.Verdict())
				}
				continue
			}
			if want := i > 0 && gains[i-1] > 100; (x.Verdict() == research.FailedVerdict) != want {
				t.Fatalf("%s is %s", x.Experiment, x.Verdict())
			}
		}
		again := openRun(t, parallel, gains, true, func(int) int { return 0 })
		ids := map[string]bool{}
		for _, h := range again.Hypotheses {
			if ids[h.ID] || h.Judgment == nil {
				t.Fatalf("after trials were tried again, the hypothesis %s is there twice, or not judged", h.ID)
			}
			ids[h.ID] = true
		}
		for _, x := range again.Experiments {
			if x.Verdict() == "" || x.Index > len(gains) && x.Verdict() != research.Ablated {
				t.Fatalf("after trials were tried again, %s is %q", x.Experiment, x.Verdict())
			}
		}
		best := first.Standing()
		if best == nil || first.Designed.Best != best.Experiment {
			t.Fatalf("the best is %v, designed %+v", best, first.Designed)
		}
		if best.Index > 0 && (first.Hypotheses[0].ID != "best-beats-start" || first.Hypotheses[0].Judgment == nil) {
			t.Fatalf("the hypotheses are %+v", first.Hypotheses)
		}
		if len(first.Review) == 0 || first.Status != research.Completed {
			t.Fatalf("the run is %s (%s)", first.Status, first.Why)
		}
	})
}
