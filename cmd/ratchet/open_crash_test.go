package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/proof"
)

const openCrashStudy = `version: 1
name: open
program: {command: [sh, x.sh, "{seed}"], files: [x.sh], editable: [x.sh]}
objective: {metric: score, goal: maximize}
search: {method: open}
keep: {seeds: 4}
validation: {seeds: 3}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB, processes: 8}}
parallel: 2
`

const openCrashProgram = `base=1
echo "$RATCHET_ATTEMPT" >> "$RATCHET_CHECKPOINT/starts"
sleep 0.0$(($1 % 5))
[ $base = 3 ] && exit 3
echo "{\"score\": $base.$(($1 * base % 10))}" >> "$RATCHET_METRICS"
`

// bases are what is proposed, in turn, and what becomes of each.
var (
	bases  = proof.Of([]int{2, 3, 5}, []int{2, 3, 5, 4, 7, 6})
	become = []string{"kept", "failed", "kept", "reverted", "kept", "reverted"}
)

// answer is what tell says.
type answer struct {
	Experiment, Verdict string
	Difference          *float64
}

// tell proposes a base and waits for its verdict, as often as it takes.
func (c *crasher) tell(base int) (a answer) {
	c.t.Helper()
	for range 200 {
		cmd := c.cmd("tell", "--parent", "e0001", "--why", fmt.Sprint("base ", base), "--code", filepath.Join(c.dir, fmt.Sprint("code-", base)), "--wait", "--json")
		out, err := cmd.Output()
		if err == nil {
			if err = json.Unmarshal(out, &a); err == nil {
				return a
			}
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			c.t.Errorf("%v: %s", err, out)
			return a
		}
	}
	c.t.Errorf("base %d gets no verdict", base)
	return a
}

// killer kills the run's engine at random moments until stop is closed, and gives how often.
func (c *crasher) killer(stop chan struct{}) int {
	r := rand.New(rand.NewPCG(uint64(len(c.home)), 3))
	kills := 0
	for {
		select {
		case <-stop:
			return kills
		case <-time.After(time.Duration(20+r.IntN(200)) * time.Millisecond):
		}
		var s struct {
			Driven *struct{ PID int } `json:"driven_by"`
		}
		if json.Unmarshal([]byte(c.command("status", "--json")), &s) == nil && s.Driven != nil && s.Driven.PID > 1 && syscall.Kill(s.Driven.PID, syscall.SIGKILL) == nil {
			kills++
		}
	}
}

// openRun opens a run in a home of its own, has researchers propose while its engine is killed,
// closes it, and gives the answers of each researcher and the digest.
func (c *crasher) openRun(researchers int, killed bool) (answers [][]answer, digest string) {
	c.t.Helper()
	if out := c.command("open", "study.yaml", "--output-dir", filepath.Join(c.home, "out")); !strings.Contains(out, "is open") {
		c.t.Fatalf("it is not open: %s", out)
	}
	stop, done := make(chan struct{}), make(chan int, 1)
	if killed {
		go func() { done <- c.killer(stop) }()
	}
	answers = make([][]answer, researchers)
	var wg sync.WaitGroup
	for i := range researchers {
		wg.Go(func() {
			for k := range bases {
				answers[i] = append(answers[i], c.tell(bases[(k+i*2)%len(bases)]))
			}
		})
	}
	wg.Wait()
	if killed {
		close(stop)
		c.kills += <-done
	}
	if out := c.command("close", "-q"); strings.Contains(out, "ratchet:") {
		c.t.Errorf("closing: %s", out)
	}
	if out := c.command("verify"); !strings.Contains(out, "all whole") {
		c.t.Errorf("%s", out)
	}
	var results struct{ Digest, Status string }
	b, err := os.ReadFile(filepath.Join(c.home, "out", "results.json"))
	if err == nil {
		err = json.Unmarshal(b, &results)
	}
	if err != nil || results.Status != "completed" {
		c.t.Fatalf("the run is %q (%v)", results.Status, err)
	}
	starts, err := filepath.Glob(filepath.Join(c.home, "runs", "*", "checkpoints", "*", "starts"))
	if err != nil || len(starts) == 0 {
		c.t.Errorf("%d trials were started (%v)", len(starts), err)
	}
	for _, f := range starts {
		if b, err := os.ReadFile(f); err != nil || strings.Count(string(b), "1\n") != 1 {
			c.t.Errorf("%s: started as attempts %q (%v)", f, b, err)
		}
	}
	return answers, results.Digest
}

// TestOpenCrashes kills the engine of an open run again and again while it is asked and told.
// A researcher who tells one proposal after the other gets the same answers, and the run the
// same digest, as undisturbed. Of three who tell the same proposals at the same time, all get
// the same answers, and each proposal is one experiment. Nothing runs twice.
func TestOpenCrashes(t *testing.T) {
	want := proof.Of(3, 100)
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("study.yaml", openCrashStudy)
	write("x.sh", openCrashProgram)
	for _, base := range bases {
		write(fmt.Sprintf("code-%d/x.sh", base), strings.Replace(openCrashProgram, "base=1", fmt.Sprint("base=", base), 1))
	}
	laps := 0
	lap := func() *crasher {
		laps++
		return &crasher{t: t, binary: self(t), dir: dir, home: filepath.Join(dir, fmt.Sprint("home-", laps))}
	}
	alone, digest := lap().openRun(1, false)
	if said := fmt.Sprint(verdicts(alone[0])); said != fmt.Sprint(become[:len(bases)]) {
		t.Fatalf("undisturbed, the verdicts are %s", said)
	}
	kills := 0
	for kills < want && laps < 60 && !t.Failed() {
		c := lap()
		if proof.All() || kills == 0 {
			answers, got := c.openRun(1, true)
			if kills += c.kills; got != digest || fmt.Sprint(verdicts(answers[0])) != fmt.Sprint(verdicts(alone[0])) {
				t.Errorf("after %d kills the digest is %s and the verdicts are %v, undisturbed %s and %v", c.kills, got, verdicts(answers[0]), digest, verdicts(alone[0]))
			}
			if !proof.All() && kills >= want {
				break
			}
			c = lap()
		}
		answers, _ := c.openRun(3, true)
		kills += c.kills
		ids := map[string]bool{}
		for i := range answers {
			for k, a := range answers[i] {
				// The k-th of researcher i is the same base as the (k+2i)-th of the first.
				first := answers[0][(k+i*2)%len(bases)]
				if a.Experiment != first.Experiment || a.Verdict != first.Verdict {
					t.Errorf("a proposal is answered with %+v and %+v", a, first)
				}
				ids[a.Experiment] = true
			}
		}
		if len(ids) != len(bases) {
			t.Errorf("%d proposals are %d experiments", len(bases), len(ids))
		}
	}
	t.Logf("the engine was killed %d times in %d runs", kills, laps)
}

func verdicts(answers []answer) (out []string) {
	for _, a := range answers {
		out = append(out, a.Verdict)
	}
	return out
}
