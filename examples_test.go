package ratchet_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ratchet"
	"ratchet/internal/proof"
)

// TestExamples runs the studies in examples/, in the sample the shortest, and checks
// what comes out.
func TestExamples(t *testing.T) {
	want := map[string]map[string]string{
		"penguins":       {"scaling-helps-knn": "supported", "scaling-helps-logistic": "supported", "knn-beats-logistic": "refuted"},
		"optimisers":     {"momentum-is-faster": "supported", "adam-beats-sgd": "refuted"},
		"shell":          {"root-saves": "supported"},
		"held-out":       {"standardising-helps": "supported"},
		"early-stopping": {},
		"weighing":       {"one-is-not-enough": "supported"},
	}
	folders, err := filepath.Glob("examples/*/study.yaml")
	folders = slices.DeleteFunc(folders, func(file string) bool { return file == "examples/open/study.yaml" }) // see TestOpenExample
	if err != nil || len(folders) != len(want) {
		t.Fatalf("examples %v (%v)", folders, err)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("the examples need python3 (Debian: python3)")
	}
	for _, file := range folders {
		name := filepath.Base(filepath.Dir(file))
		if name != "shell" && !proof.All() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			e, err := ratchet.Open(filepath.Join(dir, "home"), ratchet.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			r, err := e.Run(context.Background(), file, ratchet.RunOptions{Output: filepath.Join(dir, "out")})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, h := range r.Hypotheses {
				got[h.ID] = h.Verdict
			}
			if !maps.Equal(got, want[name]) {
				t.Errorf("verdicts %v, want %v", got, want[name])
			}
			if r.Status != ratchet.Completed || !r.Passed() || !r.Reproduction.Reproduces {
				t.Errorf("the run is %s (%s), gates %v, reproduction %v", r.Status, r.Why, r.Gates, r.Reproduction)
			}
			if slices.ContainsFunc(r.Hypotheses, func(h ratchet.Hypothesis) bool { return len(h.Evidence) < 2*h.N }) {
				t.Error("a verdict has not all of its evidence")
			}
		})
	}
}

// TestOpenExample: the agent of a few rules proposes to an open run until it has no more ideas,
// and what it found holds on fresh seeds.
func TestOpenExample(t *testing.T) {
	if !proof.All() {
		t.Skip("a part of `make proof`")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "ratchet"), "./cmd/ratchet").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("examples")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "examples/open/overnight.sh")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"e0008 ", "supported  The best that was kept", "The best needs the change of e0004", "completed"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("%v, and no %q in\n%s", err, want, out)
		}
	}
}

// TestWaysToCheat: of eight ways to look better than one is, none raises what the
// evaluation measures; and that is all that counts.
func TestWaysToCheat(t *testing.T) {
	dir := t.TempDir()
	e, err := ratchet.Open(filepath.Join(dir, "home"), ratchet.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r, err := e.Run(context.Background(), "examples/held-out/cheat.yaml", ratchet.RunOptions{Output: filepath.Join(dir, "out")})
	if err != nil {
		t.Fatal(err)
	}
	const honest = 51.0 / 114
	if r.Status != ratchet.Completed || !r.Passed() || len(r.Experiments) != 8 {
		t.Fatalf("the run is %s (%s), %d ways, gates %v", r.Status, r.Why, len(r.Experiments), r.Gates)
	}
	said := 0
	for _, x := range r.Experiments {
		way := x.Parameters["way"]
		if way == "link" {
			if x.Value != nil {
				t.Errorf("a link is measured: %v", *x.Value)
			}
			continue
		}
		if x.Value == nil || *x.Value != honest {
			t.Errorf("%s: %v, honestly it is %v", way, x.Value, honest)
		}
		for _, trial := range x.Trials {
			if trial.Reported["accuracy"] == 1 {
				said++
			}
		}
	}
	if said < 2 {
		t.Errorf("%d trials say of themselves that they are perfect", said)
	}
}
