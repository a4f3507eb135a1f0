package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/executor"
	"ratchet/internal/executor/local"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	goleak.VerifyTestMain(m)
}

// says is a job that runs a script.
func says(level sandbox.Isolation, id, script string) executor.Job {
	return executor.Job{
		ID: id, Run: "run-1", Experiment: "e0001", Trial: "e0001-s7", Attempt: 2, Command: []string{"sh", "-c", script},
		Parameters: study.Params{"rate": 0.5, "kind": "x", "fast": true, "size": 3.0}, Seed: 7, Isolation: level, Path: "/usr/bin:/bin",
		Limits: study.AttemptLimits{
			Time: study.Duration(20 * time.Second), Memory: 64 << 20, CPUs: 1, Disk: 10 << 20, Output: 1 << 20, Processes: 16, Network: study.NetworkNone,
		},
		Fill: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "file"), []byte("the program's file"), 0o644)
		},
	}
}

func run(t *testing.T, e *local.Executor, job executor.Job) (executor.Outcome, string) {
	t.Helper()
	h, err := e.Start(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	return out, string(text)
}

// TestWhatAProgramSees is the contract with programs.
func TestWhatAProgramSees(t *testing.T) {
	for _, level := range []sandbox.Isolation{sandbox.Strict, sandbox.Process} {
		e := local.New(t.TempDir())
		defer e.Close()
		out, text := run(t, e, says(level, "a1", `
cat file; echo
cat "$RATCHET_PARAMS"; echo
echo "$RATCHET_PARAM_RATE $RATCHET_PARAM_KIND $RATCHET_PARAM_FAST $RATCHET_PARAM_SIZE"
echo "$RATCHET_RUN $RATCHET_EXPERIMENT $RATCHET_TRIAL $RATCHET_ATTEMPT $RATCHET_SEED"
echo '{"loss": 1}' >> "$RATCHET_METRICS"
echo left > "$RATCHET_OUTPUT/artifact"
echo kept > "$RATCHET_CHECKPOINT/checkpoint"
echo "$LANG $TZ"; echo own > "$HOME/own"`))
		want := `the program's file
{"fast":true,"kind":"x","rate":0.5,"size":3}
0.5 x true 3
run-1 e0001 e0001-s7 2 7
C.UTF-8 UTC
`
		if text != want || out.Exit != 0 {
			t.Errorf("%s: exit %d, %s", level, out.Exit, text)
		}
		for path, want := range map[string]string{filepath.Join(out.Box, sandbox.MetricsFile): "{\"loss\": 1}\n", filepath.Join(out.Box, sandbox.OutputFolder, "artifact"): "left\n"} {
			if b, err := os.ReadFile(path); err != nil || string(b) != want {
				t.Errorf("%s: %s is %q (%v)", level, path, b, err)
			}
		}
		// The next attempt finds the checkpoint and nothing else.
		if err := e.Clean(context.Background(), "a1"); err != nil {
			t.Fatal(err)
		}
		if _, text := run(t, e, says(level, "a2", `cat "$RATCHET_CHECKPOINT/checkpoint"; ls; ls "$RATCHET_OUTPUT"; wc -c < "$RATCHET_METRICS"`)); text != "kept\nfile\n0\n" {
			t.Errorf("%s: the next attempt sees %q", level, text)
		}
	}
}

func TestJobsAreFoundAndCleaned(t *testing.T) {
	dir := t.TempDir()
	e := local.New(dir)
	defer e.Close()
	if jobs, err := e.Jobs(); err != nil || len(jobs) > 0 {
		t.Errorf("jobs %v (%v)", jobs, err)
	}
	if err := e.Clean(context.Background(), "never"); err != nil {
		t.Errorf("cleaning what was never started: %v", err)
	}
	if _, err := e.Start(context.Background(), says(sandbox.Strict, "long", "sleep 1000")); err != nil {
		t.Fatal(err)
	}
	// Another engine finds it, attaches, and gives up waiting without harm.
	other := local.New(dir)
	defer other.Close()
	if jobs, err := other.Jobs(); err != nil || len(jobs) != 1 || jobs[0] != "long" {
		t.Errorf("jobs %v (%v)", jobs, err)
	}
	job := says(sandbox.Strict, "long", "false")
	job.Fill = func(string) error { return errors.New("it is prepared twice") }
	h, err := other.Start(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	for range 2 {
		if err := other.Clean(context.Background(), "long"); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(other.Folder("long")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left (%v)", err)
	}
}

func TestStartThatFails(t *testing.T) {
	e := local.New(t.TempDir())
	defer e.Close()
	job := says(sandbox.Strict, "a1", "true")
	job.Fill = func(string) error { return errors.New("the store is gone") }
	if _, err := e.Start(context.Background(), job); err == nil || !strings.Contains(err.Error(), "attempt a1") || !strings.Contains(err.Error(), "the store is gone") {
		t.Errorf("got %v", err)
	}
	// Nothing was started: it can be tried again.
	if out, text := run(t, e, says(sandbox.Strict, "a1", "echo again")); out.Exit != 0 || text != "again\n" {
		t.Errorf("started again: %+v, %q", out, text)
	}
}
