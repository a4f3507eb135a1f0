package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratchet/internal/forecast"
	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/internal/stats"
	"ratchet/study"
)

// TestExtremeValues: whatever numbers a run has measured, its statistics come to
// an end, every file of its report is written, and the results can be read back.
func TestExtremeValues(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float64Range(-1e300, 1e300), rapid.Float64Range(-1, 1), rapid.Float64(),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 1e300, -1e300, 1e308, -1e308, math.MaxFloat64, 5e-324, -5e-324, 2.2250738585072014e-308, 1e155, 1e-155}),
	)
	rapid.Check(t, func(rt *rapid.T) {
		s := research.New()
		apply := func(p research.Payload) {
			if err := s.Apply(research.Event{Seq: s.Seq + 1, Time: time.Unix(s.Seq, 0), Data: p}); err != nil {
				rt.Fatal(err)
			}
		}
		st := &study.Study{
			Name: "extreme", Objective: study.Objective{Metric: "m", Goal: study.Maximize},
			Validation: study.Validation{Seeds: 7, Alpha: 0.05, Correction: "holm"}, Search: study.Search{Experiments: 4, Seeds: 2},
			Parameters: []study.Parameter{{Name: "k", Kind: study.Categorical, Values: []any{"a", "b"}}, {Name: "x", Kind: study.Float, Low: -1e300, High: 1e300}},
			Hypotheses: []study.Hypothesis{{ID: "h", Claim: "c", A: study.Params{"k": "a"}, B: study.Params{"k": "b"}, Expect: study.Greater, By: rapid.SampledFrom([]float64{0, 1e-300, 1e300}).Draw(rt, "by")}},
		}
		several := rapid.Bool().Draw(rt, "several")
		if several {
			bound := value.Draw(rt, "bound")
			st.Objectives = []study.Objective{st.Objective, {Metric: "other", Goal: rapid.SampledFrom([]string{study.Maximize, study.Minimize}).Draw(rt, "goal")}}
			st.Constraints = []study.Constraint{{Metric: "m", AtMost: &bound}}
			st.Validation.Front = 3
		}
		apply(research.RunCreated{Run: "r", Study: st, Seed: 1, Draw: research.DrawnByHMAC})
		apply(research.HypothesisStated{Hypothesis: st.Hypotheses[0]})
		plan := research.Plan{Experiments: 4, Seeds: []int64{1, 2}, Fresh: []int64{3, 4, 5, 6, 7, 8, 9}}
		apply(research.PlanMade{Plan: plan})
		// Some runs have one value throughout, or next to it.
		same := rapid.Bool().Draw(rt, "same")
		first := value.Draw(rt, "first")
		measure := func(x string, seed int64, purpose string) {
			trial := s.TrialID(x, seed)
			v := first
			if !same {
				v = value.Draw(rt, "value")
			}
			if math.Abs(v) > 1e300 && rapid.Bool().Draw(rt, "refused") { // as this release does; earlier ones let it through
				v = 1e300
			}
			apply(research.ActionDecided{Action: research.Action{ID: trial + "-a1", Kind: research.Try, Experiment: x, Trial: trial, Seed: seed, Purpose: purpose, Attempt: 1}})
			apply(research.AttemptEnded{Action: trial + "-a1", Attempt: research.Attempt{Trial: trial, Class: research.Succeeded, Metrics: map[string]float64{"m": v, "other": -v}}})
			apply(research.TrialCompleted{Trial: trial, Outcome: research.Succeeded})
		}
		for i, x := range []string{"e0001", "e0002", "e0003", "e0004"} {
			apply(research.ActionDecided{Action: research.Action{ID: "p" + x, Kind: research.Propose}})
			apply(research.ExperimentProposed{Action: "p" + x, Experiment: x, Parameters: study.Params{"k": []any{"a", "b"}[i%2], "x": value.Draw(rt, "x")}})
			for _, seed := range plan.Seeds {
				measure(x, seed, research.ForSearch)
			}
		}
		best, front := "e0001", []string(nil)
		if several {
			if best, front = search.Choose(s); len(front) == 0 {
				best, front = "", []string{"e0001"}
			}
		}
		apply(research.ValidationDesigned{Best: best, Front: front, Seeds: plan.Fresh, Comparisons: []research.Comparison{{Hypothesis: "h", A: st.Hypotheses[0].A, B: st.Hypotheses[0].B, ExperimentA: "e0001", ExperimentB: "e0002", TunedOver: 2}}})
		for _, x := range s.Validated() {
			for _, seed := range plan.Fresh {
				measure(x, seed, research.ForValidation)
			}
		}
		for _, j := range stats.Judge(s, nil) {
			if _, err := research.Encode(research.HypothesisJudged{Action: "judge", Judgment: j}); err != nil {
				rt.Fatal(err)
			}
			apply(research.ActionDecided{Action: research.Action{ID: "judge", Kind: research.Judge}})
			apply(research.HypothesisJudged{Action: "judge", Judgment: j})
		}
		forecast.Fit(s)
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		r := Build(s, Journal{Seq: 1}, json.RawMessage("{}"))
		if err := Write(dir, r, Sources{}); err != nil {
			rt.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "results.json"))
		if err != nil {
			rt.Fatal(err)
		}
		var back Results
		if err := json.Unmarshal(b, &back); err != nil || !back.CheckDigest() {
			rt.Fatalf("the results are not what they were: %v", err)
		}
		page, err := os.ReadFile(filepath.Join(dir, "report.html"))
		if err != nil || strings.Contains(string(page), "NaN") {
			rt.Fatalf("the page says NaN, or is not there (%v)", err)
		}
	})
}
