package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/study"
)

func TestMain(m *testing.M) {
	Main()
	goleak.VerifyTestMain(m)
}

// limits are enough for a small program and little enough to be reached.
func limits() study.AttemptLimits {
	return study.AttemptLimits{
		Time: study.Duration(20 * time.Second), Grace: study.Duration(time.Second), Memory: 256 << 20, CPUs: 1,
		Disk: 32 << 20, Output: 64 << 10, Processes: 64, Network: study.NetworkNone,
	}
}

// attempt runs a shell script in a sandbox and returns its end and its folder.
func attempt(t *testing.T, level Isolation, script string, change ...func(*Spec)) (Ending, string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "attempt")
	spec := &Spec{
		Command: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp"},
		Isolation: level, Limits: limits(), Checkpoint: filepath.Join(t.TempDir(), "checkpoint"),
	}
	for _, c := range change {
		c(spec)
	}
	h, err := Start(folder, spec, func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	e, err := h.Wait(context.Background())
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, shimLog))
		t.Fatalf("%v\n%s", err, log)
	}
	if e.SetUp != "" {
		t.Fatalf("set-up: %s", e.SetUp)
	}
	return e, folder
}

func output(t *testing.T, folder string) string {
	t.Helper()
	out, err := os.ReadFile(Stdout(folder))
	if err != nil {
		t.Fatal(err)
	}
	errs, err := os.ReadFile(Stderr(folder))
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + string(errs)
}

func TestQuick(t *testing.T) {
	for _, l := range []Isolation{Strict} {
		now := time.Now()
		e, f := attempt(t, l, `id; pwd; ls -la / /ratchet . /dev; cat /proc/self/status | grep -E 'Cap|NoNew|Secc'; echo $$; touch /usr/x; ls /root; mount -t tmpfs x /tmp; unshare -U true; ip a`)
		t.Log(time.Since(now), e)
		t.Log(output(t, f))
	}
	now := time.Now()
	for range 20 {
		attempt(t, Strict, "true")
	}
	t.Log(time.Since(now) / 20)
}
