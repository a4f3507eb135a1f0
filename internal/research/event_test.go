package research_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"ratchet/internal/research"
	"ratchet/study"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samples has one payload of every type, every field set. A form that is in
// the golden file is never changed: journals have it.
func samples() []research.Payload {
	when := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	one, p := 1.5, 0.25
	return []research.Payload{
		research.RunCreated{
			Run: "r-20260102-0001", Study: &study.Study{
				Version: 1, Name: "r", Question: "Why?",
				Program: study.Program{
					Command: []string{"python3", "x.py", "{seed}"}, Files: []string{"x.py"}, Build: []string{"make"}, Environment: ".venv",
					Inputs: []study.Input{{Path: "d", Source: "../d", Hash: "full"}},
				},
				Objective: study.Objective{Metric: "score", Goal: study.Maximize, Use: "best"},
				Metrics:   map[string]study.Extract{"score": {Stdout: "s=(.*)", Use: "mean"}, "loss": {File: "m.json", Key: "a.b"}},
				Parameters: []study.Parameter{
					{Name: "kind", Kind: study.Categorical, Values: []any{"x", true, 2.5}},
					{Name: "size", Kind: study.Int, Low: 1, High: 9, Step: 2, When: map[string]study.Values{"kind": {"x"}}},
					{Name: "rate", Kind: study.Float, Low: 0.001, High: 1, Log: true},
				},
				Hypotheses: []study.Hypothesis{{ID: "h", Claim: "c", A: study.Params{"kind": "x"}, B: study.Params{"kind": true}, Expect: study.Greater, Metric: "loss", By: 0.5}},
				Search:     study.Search{Method: study.Halving, Experiments: 5, Seeds: 2, Eta: 3, MinStep: 1},
				Validation: study.Validation{Seeds: 10, Alpha: 0.05, Correction: "holm"},
				Gates:      []study.Gate{"success_rate >= 0.8"},
				Limits: study.Limits{
					Attempt: study.AttemptLimits{
						Time: study.Duration(time.Minute), Grace: study.Duration(time.Second), Stall: study.Duration(time.Hour),
						Memory: 1 << 30, CPUs: 1.5, GPUs: 1, Disk: 1 << 20, Output: 1 << 10, Processes: 64, Network: study.NetworkNone,
					},
					Stage: study.StageLimits{Time: study.Duration(time.Hour)},
					Run:   study.RunLimits{Time: study.Duration(48 * time.Hour), Cost: 5_000_000, Tokens: 100, Experiments: 10},
				},
				Retries: study.Retries{Max: 3}, Executor: "local", Parallel: 2, Model: "m",
			},
			StudyFile: "d1", Folder: "/f", Snapshot: "d2", Inputs: "d3", Environment: "d4", Seed: 7, Isolation: "strict", Output: "/o",
			Machine: research.Machine{CPUs: 2, Memory: 1 << 34, GPUs: 1}, Release: "0.1.0",
		},
		research.EngineStarted{Engine: "e1", Host: "h", PID: 3, Release: "0.1.0"},
		research.EngineStopped{Engine: "e1", Reason: "interrupted"},
		research.StageStarted{Stage: research.Ideation},
		research.StageCompleted{Stage: research.Ideation, Cut: "time"},
		research.HypothesisStated{Hypothesis: study.Hypothesis{ID: "h", Claim: "c", Expect: study.Less}, Derived: "kind"},
		research.PlanMade{Plan: research.Plan{
			Experiments: 5, Seeds: []int64{1, 2}, Fresh: []int64{1001}, Arms: []study.Params{{}, {"kind": "x"}},
			SearchTrials: 10, ValidationTrials: 3, Longest: study.Duration(time.Hour), Refused: "too long",
		}},
		research.ActionDecided{Action: research.Action{ID: "e0001-s1-a2", Kind: research.Try, Index: 1, Experiment: "e0001", Trial: "e0001-s1", Seed: 1, Purpose: research.ForSearch, Attempt: 2, NotBefore: when}},
		research.ProgramBuilt{Action: "build", Snapshot: "d", Failure: "f", Log: "l"},
		research.ExperimentProposed{Action: "propose-1", Experiment: "e0001", Arm: 1, Parent: "e0000", Parameters: study.Params{"kind": "x", "size": 3.0}, Rungs: []research.Rung{{Step: 3, Bar: 0.5}}},
		research.SearchExhausted{Action: "propose-2"},
		research.AttemptEnded{Action: "e0001-s1-a1", Attempt: research.Attempt{
			ID: "e0001-s1-a1", Trial: "e0001-s1", Number: 1, Class: research.Succeeded, Message: "m", Exit: 1, Signal: "SIGSEGV",
			Metrics: map[string]float64{"score": 0.5}, Halted: 3, Rungs: []research.Point{{Step: 3, Value: 0.25}}, Notes: []string{"n"},
			Started: when, Ended: when, Usage: research.Usage{Wall: 1.5, CPU: 0.5, Memory: 1 << 20, Disk: 4096}, Host: "h", Evidence: "d",
		}},
		research.AttemptCheckpointed{Trial: "e0001-s1", Attempt: "e0001-s1-a1", Snapshot: "d", Size: 4096},
		research.CheckpointMade{Name: "before-lunch", By: "somebody"},
		research.RolledBack{To: 17, By: "somebody", Driven: study.Duration(time.Hour)},
		research.RunForked{
			Origin: research.Origin{Run: "r-20260101-0001", Seq: 17, Hash: "h"}, By: "somebody", Changes: []string{"parallel=4"},
			Study: &study.Study{Version: 1, Name: "r", Parallel: 4, Checkpoints: study.Checkpoints{Experiments: 20, Every: study.Duration(time.Hour), Attempt: study.Duration(time.Minute)}}, StudyFile: "d",
		},
		research.TrialCompleted{Trial: "e0001-s1", Outcome: research.Timeout, Why: "w"},
		research.ValidationDesigned{Best: "e0001", Seeds: []int64{1001}, Comparisons: []research.Comparison{{Hypothesis: "h", A: study.Params{"kind": "x"}, B: study.Params{"kind": true}, ExperimentA: "e0001", ExperimentB: "e0002", TunedOver: 4}}},
		research.HypothesisJudged{Action: "judge", Judgment: research.Judgment{
			Hypothesis: "h", Verdict: research.Supported, Why: "w", N: 2, Effect: &one, Interval: &[2]float64{1, 2}, P: &p, PAdjusted: &p, Test: "paired t",
			Pairs: []research.Pair{{Seed: 1001, A: 1, B: 2}},
		}},
		research.ReproductionChecked{Reproduction: research.Reproduction{Trial: "t", Repetition: "t-again", Reproduces: true, Why: "w", First: map[string]float64{"score": 1}, Second: map[string]float64{"score": 1}}},
		research.GateEvaluated{Gate: "success_rate >= 0.8", Passed: true, Why: "w"},
		research.ReviewCompleted{Checks: []research.Check{{Name: "n", Passed: true, Detail: "d"}}},
		research.PauseRequested{By: "b"},
		research.CancelRequested{By: "b"},
		research.RunPaused{Reason: "r"},
		research.RunResumed{MoreTime: study.Duration(time.Hour)},
		research.RunCompleted{Status: research.Failed, Why: "w"},
		research.ActionDecided{Action: research.Action{
			ID: "e0001-s1-a3", Kind: research.Try, Experiment: "e0001", Trial: "e0001-s1", Seed: 1, Purpose: research.ForSearch, Attempt: 3,
			Remedy:     &research.Remedy{Name: research.Less, For: research.Resource, RemedyStats: research.RemedyStats{Cured: 3, Failed: 1}, Chance: 0.5},
			Parameters: study.Params{"size": 1.0}, Limits: &study.AttemptLimits{Memory: 1 << 30, GPUMemory: 1 << 30, Network: study.NetworkNone},
		}},
		research.AttemptEnded{Action: "e0001-s1-a3", Attempt: research.Attempt{
			ID: "e0001-s1-a3", Trial: "e0001-s1", Number: 3, Class: research.RateLimited, Pattern: "provider-rate", Certain: true, Wait: 1.5, Words: "w", Remedy: &research.Remedy{Name: research.Retry, For: research.Timeout},
			Parameters: study.Params{"size": 1.0}, Limits: &study.AttemptLimits{Memory: 1 << 30, Network: study.NetworkNone}, GPUs: []int{0, 3},
			Started: when, Ended: when, Usage: research.Usage{Read: 1, Write: 2},
		}},
		research.AlertRaised{Rule: "disk", Subject: "home", Severity: research.Warning, Text: "t", Value: 0.95, Threshold: 0.9},
		research.AlertResolved{Rule: "disk", Subject: "home"},
		research.AlertsSilenced{Rule: "*", Until: when, By: "b"},
		research.ModelsBlocked{Class: research.Quota, Why: "w"},
		research.EvaluationChecked{Action: "check-evaluation", Checks: []research.NullTest{{Of: "nothing", Class: research.InvalidOutput, Message: "m", Metrics: map[string]float64{"a": 1}}}, Refused: "r"},
		research.InputsChanged{Attempt: "a", What: "w"}, research.InputsAccepted{Inputs: "d", What: "w", By: "b"},
		research.RunResumed{Cost: 5_000_000, Tokens: 6, Calls: 7},
		research.AttemptEnded{Action: "e0001-s1-a4", Attempt: research.Attempt{
			ID: "e0001-s1-a4", Trial: "e0001-s1", Number: 4, Class: research.Transient, Started: when, Ended: when, Lost: true,
			Models: &research.ModelUse{Calls: 1, Again: 2, Tokens: 3, USD: 0.5, Head: "h", HeadSeq: 4},
		}},
		research.RunCompleted{Status: research.Completed, Models: &research.ModelUse{Calls: 1, Again: 2, Tokens: 3, USD: 0.5, Head: "h", HeadSeq: 4}},
		research.PriorLearned{Prior: research.Prior{From: "table.csv", Digest: "d", Outcomes: []research.Outcome{{Parameters: study.Params{"kind": "x"}, Value: 0.5}}, Left: 2}},
		research.ExperimentProposed{Action: "propose-3", Experiment: "e0003", Parameters: study.Params{"kind": "x"}, Repeats: "e0001", Seeds: []int64{5}, By: &research.Proposer{Method: "gp", Model: []float64{0.5, -1}, Gain: &one}},
		research.SearchExhausted{Action: "propose-4", Why: "enough"},
		research.BestChosen{Action: "choose", Experiment: "e0001"},
		research.BestChosen{Action: "choose", Experiment: "e0001", Front: []string{"e0001", "e0002"}},
		research.ValidationDesigned{Best: "e0001", Front: []string{"e0001"}, Seeds: []int64{5}},
		research.ExperimentProposed{Experiment: "e0002", Parent: "e0001", Parameters: study.Params{}, Seeds: []int64{5}, Code: "d", Why: "w", Hypothesis: "h", Who: "b", Changes: []research.Change{{File: "f", Added: 1, Removed: 2}}},
		research.ExperimentWeighed{Action: "weigh-e0002-2", Weighing: research.Weighing{Experiment: "e0002", Against: "e0001", N: 2, Gain: &one, Interval: &[2]float64{0, 2}, P: &p, Evidence: 3, Verdict: research.Kept, Why: "w", Seeds: []int64{6}}},
		research.NoteMade{By: "b", Text: "t", Experiment: "e0002"}, research.ExperimentVetoed{Experiment: "e0002", By: "b", Why: "w"}, research.CloseRequested{By: "b"},
		research.AblationsMade{Action: "ablate", Ablations: []research.Ablation{{Of: "e0002", Experiment: "e0004", Parameters: study.Params{"kind": "x"}, Code: "d", Changes: []research.Change{{File: "f"}}, Why: "w"}}},
	}
}

// goldenLine is an event's form as journals have it.
type goldenLine struct {
	Type    string          `json:"type"`
	Version int             `json:"version"`
	Payload json.RawMessage `json:"payload"`
}

// TestForms holds every payload to the form that journals have already: what
// is written now, and what reading the golden form and writing it again gives.
func TestForms(t *testing.T) {
	const golden = "testdata/events.jsonl"
	var now bytes.Buffer
	for _, p := range samples() {
		b, err := research.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(goldenLine{p.Type(), p.Version(), b})
		if err != nil {
			t.Fatal(err)
		}
		now.Write(append(line, '\n'))
	}
	if *update {
		if err := os.WriteFile(golden, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, now.Bytes()) {
		t.Errorf("payloads are written in another form than %s has; a form is never changed, only superseded by a new version", golden)
	}
	lines := bufio.NewScanner(bytes.NewReader(want))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g goldenLine
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		p, err := research.Decode(g.Type, g.Version, g.Payload)
		if err != nil {
			t.Fatal(err)
		}
		b, err := research.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, g.Payload) {
			t.Errorf("%s: read and written again it is\n%s, was\n%s", g.Type, b, g.Payload)
		}
	}
}

func TestUnknownEvents(t *testing.T) {
	for _, c := range []struct {
		kind    string
		version int
	}{{"moon.landed", 1}, {"run.created", 2}, {"run.created", 0}} {
		_, err := research.Decode(c.kind, c.version, json.RawMessage("{}"))
		var unknown *research.UnknownEventError
		if !errors.As(err, &unknown) || unknown.Type != c.kind || unknown.Version != c.version {
			t.Errorf("%s version %d: %v", c.kind, c.version, err)
		}
	}
}

// TestImpossibleEvents are refused, not guessed at.
func TestImpossibleEvents(t *testing.T) {
	created := research.RunCreated{Run: "r", Study: &study.Study{Parallel: 1}}
	for name, events := range map[string][]research.Payload{
		"nothing before run.created":  {research.StageStarted{Stage: research.Ideation}},
		"run.created comes once":      {created, created},
		"a stage ends that has begun": {created, research.StageCompleted{Stage: research.Ideation}},
		"an outcome has its action":   {created, research.SearchExhausted{Action: "propose-1"}},
		"an attempt has its trial":    {created, research.AttemptEnded{Action: "x", Attempt: research.Attempt{Trial: "x"}}},
		"a trial is there":            {created, research.TrialCompleted{Trial: "x"}},
		"an experiment is there":      {created, research.ActionDecided{Action: research.Action{ID: "a", Kind: research.Try, Experiment: "x", Trial: "x-s1", Attempt: 1}}},
		"an action is decided once":   {created, research.ActionDecided{Action: research.Action{ID: "a", Kind: research.Judge}}, research.ActionDecided{Action: research.Action{ID: "a", Kind: research.Judge}}},
	} {
		s := research.New()
		var err error
		for _, p := range events {
			if err = s.Apply(research.Event{Seq: s.Seq + 1, Data: p}); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: nobody complained", name)
		}
	}
	s := research.New()
	if err := s.Apply(research.Event{Seq: 2, Data: created}); err == nil {
		t.Error("a sequence number was left out and nobody complained")
	}
}
