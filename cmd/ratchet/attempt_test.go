package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/attempt"
	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// TestAttemptAlone: `ratchet attempt` is killed in the middle; called again it finds
// the attempt, which went on, and gives its outcome. There is no home.
func TestAttemptAlone(t *testing.T) {
	dir := t.TempDir()
	store, err := objects.Open(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := store.PutTree(objects.Tree{})
	if err != nil {
		t.Fatal(err)
	}
	started, goOn := filepath.Join(dir, "started"), filepath.Join(dir, "go-on")
	folder := filepath.Join(dir, "packed")
	err = attempt.Pack(folder, executor.Job{
		ID: "a1", Run: "r", Trial: "t1", Attempt: 1, Path: "/usr/bin:/bin", Isolation: sandbox.Process, Files: string(files), Keep: executor.KeepOutput,
		Command: []string{"sh", "-c", "echo . >> " + started + "; while ! [ -e " + goOn + ` ]; do sleep 0.01; done; echo '{"score": 2}' >> "$RATCHET_METRICS"`},
		Limits:  study.AttemptLimits{Time: study.Duration(10 * time.Minute), Memory: 64 << 20, CPUs: 1, Disk: 10 << 20, Output: 1 << 20, Processes: 16},
	}, store)
	if err != nil {
		t.Fatal(err)
	}
	bin := self(t)
	command := func() *exec.Cmd {
		c := exec.Command(bin, "attempt", folder)
		c.Dir, c.Env = dir, append(os.Environ(), "HOME="+dir)
		return c
	}
	c := command()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for _, err := os.Stat(started); err != nil; _, err = os.Stat(started) {
		<-time.After(time.Millisecond)
	}
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out, err := command().CombinedOutput(); err != nil || !strings.Contains(string(out), "it ended with status 0; its outcome is in") {
			t.Errorf("%s (%v)", out, err)
		}
	}
	out, err := attempt.Unpack(folder, store)
	if err != nil || out == nil {
		t.Fatalf("%+v (%v)", out, err)
	}
	if v, ok := out.Series.At("score", -1); !ok || v != 2 {
		t.Errorf("the score is %v (%v)", v, ok)
	}
	if b, err := os.ReadFile(started); err != nil || string(b) != ".\n" {
		t.Errorf("it was executed %q (%v)", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".ratchet")); err == nil {
		t.Error("it made a home")
	}
}
