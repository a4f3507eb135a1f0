package engine_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/executor"
	"ratchet/internal/executor/executortest"
)

// TestExecutorsThatFail: an executor that starts jobs twice, refuses, loses or hangs
// them, or tells late of their end, changes no result.
func TestExecutorsThatFail(t *testing.T) {
	t.Parallel()
	study := strings.Replace(enginetest.SmallStudy, "time: 10m", "time: 1s", 1) + "retries: {max: 5}\n"
	first := func(id string) bool { return strings.HasSuffix(id, "-a1") }
	run := func(t *testing.T, f executortest.Faults) (digest string, attempts int) {
		t.Helper()
		l := enginetest.New(t, study, enginetest.SmallProgram)
		var e *enginetest.Engine
		twin := &executortest.Memory{Faults: f, Play: func(job executor.Job) executortest.Played {
			score := float64(5 + job.Seed%3)
			if job.Parameters["kind"] == "good" {
				score += 5
			}
			return executortest.Played{Score: score, Prints: "played\n", Takes: time.Millisecond}
		}}
		e = l.Open(engine.Options{Executor: func(string) executor.Executor { return twin }})
		twin.Store = e.Objects
		name := l.Create(e)
		s := l.Drive(e, name)
		return l.Digest(e, name), s.Tally.Attempts
	}
	want, attempts := run(t, executortest.Faults{})
	if attempts != enginetest.SmallTrials {
		t.Fatalf("undisturbed there are %d attempts", attempts)
	}
	for name, c := range map[string]struct {
		faults   executortest.Faults
		attempts int
	}{
		"starts twice": {executortest.Faults{Duplicate: func(string) bool { return true }}, enginetest.SmallTrials},
		"refuses":      {executortest.Faults{Refuse: func(id string, n int) error { return map[bool]error{true: syscall.ENOSPC}[n == 0] }}, enginetest.SmallTrials},
		"loses nodes":  {executortest.Faults{Lose: first}, 2 * enginetest.SmallTrials},
		"hangs":        {executortest.Faults{Hang: first}, 2 * enginetest.SmallTrials},
		"tells late":   {executortest.Faults{Late: func(string) time.Duration { return 100 * time.Millisecond }}, enginetest.SmallTrials},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, n := run(t, c.faults); got != want || n != c.attempts {
				t.Errorf("it came to %s with %d attempts; undisturbed to %s, wanted %d", got, n, want, c.attempts)
			}
		})
	}
}
