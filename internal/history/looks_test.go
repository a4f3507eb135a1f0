package history_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/history"
	"ratchet/internal/research"
)

const lookStudy = `version: 1
name: look
program: {command: [sh, x.sh, "{kind}", "{seed}"], files: [x.sh]}
objective: {metric: score, goal: maximize}
parameters: {kind: [good, bad]}
hypotheses: [{id: better, claim: Good is better, compare: {a: {kind: good}, b: {kind: bad}}, expect: a > b}]
search: {method: grid, experiments: 2}
validation: {seeds: 6}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB, processes: 8}}
parallel: 2
`

const lookProgram = `[ "$1" = good ] && base=$((10 + $2 % 3)) || base=$((10 + $2 % 2))
echo "{\"score\": $base}" >> "$RATCHET_METRICS"
`

// TestLooksShareTheirLevel: a person who sees a verdict and looks again, by a fork with
// more seeds, by another one, or by a rollback, does so at half of the level, and
// the verdicts stand beside each other. Another run with other seeds is a
// replication, and takes nothing away.
func TestLooksShareTheirLevel(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, lookStudy, lookProgram)
	e := l.Open(engine.Options{})
	first := l.Create(e)
	judged := func(run string) *research.Judgment {
		t.Helper()
		s := l.Drive(e, run)
		return s.Hypotheses[0].Judgment
	}
	one := judged(first)
	if len(one.Earlier) != 0 || one.Level != 0.05 {
		t.Fatalf("the first look is at %v, after %d", one.Level, len(one.Earlier))
	}
	again := func(run string, set ...string) string {
		t.Helper()
		fork, err := e.Fork(context.Background(), run, l.Locate(e, run, "stage-experimentation"), history.ForkOptions{Set: set, Output: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return fork
	}
	more := again(first, "validation.seeds=12")
	two := judged(more)
	if two.N != 12 || two.Level != 0.025 || len(two.Earlier) != 1 || two.Earlier[0].Run != first || two.Earlier[0].Verdict != one.Verdict || two.Earlier[0].N != 6 {
		t.Errorf("the second look: %d pairs at %v, after %+v", two.N, two.Level, two.Earlier)
	}
	// The same data once more, in a fork, a sibling of that and after a rollback, are
	// no other look than they were.
	if again := judged(again(more)); again.Level != 0.025 || len(again.Earlier) != 1 {
		t.Errorf("the second look, seen again, is at %v, after %+v", again.Level, again.Earlier)
	}
	// Behind the fork, it is the first look again; the second stands beside it.
	if _, err := e.Rollback(context.Background(), more, l.Locate(e, more, "stage-experimentation"), "test"); err != nil {
		t.Fatal(err)
	}
	if back := judged(more); back.N != 6 || back.Level != 0.025 || len(back.Earlier) != 1 || back.Earlier[0].N != 12 {
		t.Errorf("the first look, rolled back to, is at %v, after %+v", back.Level, back.Earlier)
	}
	// A sibling with still more seeds has seen both.
	if three := judged(again(first, "validation.seeds=24")); three.N != 24 || three.Level != 0.0125 || len(three.Earlier) != 2 {
		t.Errorf("the third look is at %v, after %+v", three.Level, three.Earlier)
	}

	data, err := os.ReadFile(l.File)
	if err != nil {
		t.Fatal(err)
	}
	other, err := e.Create(context.Background(), l.File, data, engine.RunOptions{Seed: 2, Output: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	replication := judged(other)
	if replication.Level != 0.05 || len(replication.Earlier) != 0 || len(replication.Replications) == 0 {
		t.Errorf("a run with other seeds is judged at %v, after %+v, beside %+v", replication.Level, replication.Earlier, replication.Replications)
	}
	r, err := e.Results(context.Background(), more)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(r.Hypotheses[0].Basis(), "\n"); !strings.Contains(text, "Looked at before, in run "+more) {
		t.Errorf("the report does not speak of the earlier look:\n%s", text)
	}
}
