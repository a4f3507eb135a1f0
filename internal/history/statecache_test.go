package history_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/journal"
	"ratchet/internal/research"
	"ratchet/study"
)

// longRun appends a run of at least n records, as if its trials had been
// executed.
func longRun(t testing.TB, e *enginetest.Engine, n int64) string {
	t.Helper()
	st, err := study.Parse("long", []byte("version: 1\nname: long\nprogram: {command: [x]}\nobjective: {metric: score, goal: maximize}\nparameters: {a: {float: [0, 1]}, b: [x, y]}\nsearch: {method: random, experiments: 1000000}\n"))
	if err != nil {
		t.Fatal(err)
	}
	const run = "long-1"
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var head journal.Head
	var entries []journal.Entry
	flush := func() {
		if head, err = e.Journal.Append(context.Background(), journal.Of(run), head, entries...); err != nil {
			t.Fatal(err)
		}
		entries = entries[:0]
	}
	add := func(payloads ...research.Payload) {
		for _, p := range payloads {
			b, err := research.Encode(p)
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Millisecond)
			entries = append(entries, journal.Entry{Time: now, Type: p.Type(), Version: p.Version(), Payload: b})
		}
	}
	add(research.RunCreated{Run: run, Study: st, Seed: 1, Output: filepath.Join(e.Folder, "out")}, research.EngineStarted{Engine: "e"},
		research.StageStarted{Stage: research.Experimentation}, research.PlanMade{Plan: research.Plan{Experiments: 1_000_000, Seeds: []int64{1}}})
	for i := 0; head.Seq+int64(len(entries)) < n; i++ {
		x := fmt.Sprintf("e%04d", i+1)
		trial := x + "-s1"
		add(research.ActionDecided{Action: research.Action{ID: "propose-" + x, Kind: research.Propose, Index: i}},
			research.ExperimentProposed{Action: "propose-" + x, Experiment: x, Parameters: study.Params{"a": float64(i) / 1e6, "b": []any{"x", "y"}[i%2]}},
			research.ActionDecided{Action: research.Action{ID: trial + "-a1", Kind: research.Try, Experiment: x, Trial: trial, Seed: 1, Purpose: research.ForSearch, Attempt: 1}},
			research.AttemptEnded{Action: trial + "-a1", Attempt: research.Attempt{
				ID: trial + "-a1", Trial: trial, Number: 1, Class: research.Succeeded, Metrics: map[string]float64{"score": float64(i), "loss": 0.5},
				Started: now, Ended: now, Usage: research.Usage{Wall: 0.5, CPU: 0.25, Memory: 1 << 20, Disk: 4096}, Host: "here",
			}},
			research.TrialCompleted{Trial: trial, Outcome: research.Succeeded})
		if len(entries) > 10_000 {
			flush()
		}
	}
	flush()
	return run
}

// cached are the files of the states that are kept.
func cached(t *testing.T, e *enginetest.Engine, run string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.Folder, "runs", run, "states", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestKeptStates: a state that is kept is the state, and whatever becomes of
// the file, folding gives the same.
func TestKeptStates(t *testing.T) {
	t.Parallel()
	l := &enginetest.Lab{T: t, Dir: t.TempDir()}
	e := l.Open(engine.Options{})
	run := longRun(t, e, 6000)
	load := func(at int64) string {
		t.Helper()
		s, _, err := e.LoadAt(context.Background(), run, at)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	fresh := load(0)
	files := cached(t, e, run)
	if len(files) != 1 {
		t.Fatalf("%d states are kept", len(files))
	}
	if got := load(0); got != fresh {
		t.Errorf("from the kept state it is %s, afresh %s", got, fresh)
	}
	seq, err := strconv.ParseInt(filepath.Base(files[0]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Request(context.Background(), run, research.CheckpointMade{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	after := load(0)
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"flipped": enginetest.Flipped(whole, len(whole)/2), "flipped at its end": enginetest.Flipped(whole, len(whole)-1), "flipped header": enginetest.Flipped(whole, 5),
		"cut": whole[:len(whole)/2], "empty": nil, "another's": []byte(strings.Replace(string(whole), `"run":"long-1"`, `"run":"long-2"`, 1)),
	} {
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "another's" || b != nil {
			v, err := e.Verify(context.Background(), nil)
			if err != nil || !slices.ContainsFunc(v.Damages, func(d string) bool { return strings.Contains(d, fmt.Sprintf("kept state of record %d", seq)) }) {
				t.Errorf("%s: verify says %q (%v)", name, v.Damages, err)
			}
		}
		if got := load(0); got != after {
			t.Errorf("%s: it is %s, was %s", name, got, after)
		}
	}
	// A kept state of a position that was rolled back is used for that alone.
	middle := load(seq - 500)
	if _, err := e.Rollback(context.Background(), run, seq-500, "me"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := e.Load(context.Background(), run)
	if err != nil || len(s.Experiments) != 1100-1 && s.Tally.Trials > 1100 {
		t.Errorf("rolled back: %d trials (%v)", s.Tally.Trials, err)
	}
	if got := load(seq - 500); got != middle {
		t.Errorf("at record %d it is %s, was %s", seq-500, got, middle)
	}
	if got := load(seq + 1); got != after {
		t.Errorf("at record %d, superseded, it is %s, was %s", seq+1, got, after)
	}
}
