package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/proof"
)

// failpoints are the named places at which the engine is killed.
var failpoints = []string{
	"append.before", "append.after", "start.before", "start.after", "collect.before", "collect.after",
	"outcome.before", "outcome.after", "rename.before", "rename.after",
}

const crashStudy = `version: 1
name: crash
program: {command: [sh, x.sh, "{kind}", "{size}", "{seed}"], files: [x.sh]}
evaluation: {command: [sh, e.sh], files: [e.sh], limits: {time: 10m, memory: 64MiB, disk: 10MiB, processes: 8}}
objective: {metric: score, goal: maximize}
parameters: {kind: [good, bad], size: {int: [1, 20]}}
hypotheses:
  - {id: good, claim: Good is better, compare: {a: {kind: good}, b: {kind: bad}}, expect: a > b}
search: {method: auto, experiments: 14, seeds: 1}
validation: {seeds: 3}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB, processes: 8}}
parallel: 2
`

// crashProgram notes every start where nothing but another start of the same
// trial can see it.
const crashProgram = `echo "$RATCHET_ATTEMPT" >> "$RATCHET_CHECKPOINT/starts"
[ "$1" = good ] && base=10 || base=5
sleep 0.0$(($3 % 4))
echo "$((base + $2 % 7 + $3 % 3))" > "$RATCHET_OUTPUT/score"
`

// crashEvaluation measures what the program left.
const crashEvaluation = `[ -e "$RATCHET_EVALUATED/score" ] || exit 1
echo "{\"score\": $(cat "$RATCHET_EVALUATED/score")}" >> "$RATCHET_METRICS"
`

// crasher runs the study in a home of its own and kills the engine.
type crasher struct {
	t      *testing.T
	binary string
	dir    string // of the study
	home   string
	kills  int
	seen   []record // of the journal, as last read
}

type record struct {
	Seq  int64  `json:"seq"`
	Type string `json:"type"`
	Hash string `json:"hash"`
}

// TestCrashes kills the engine at every failpoint, and then at random moments,
// until it has died often enough. Nothing that was journaled is ever lost or
// changed, no trial is executed twice, and every run ends with the digest of
// an undisturbed run.
func TestCrashes(t *testing.T) {
	want := proof.Of(30, 200)
	if s := os.Getenv("RATCHET_CRASH_KILLS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"study.yaml": crashStudy, "x.sh": crashProgram, "e.sh": crashEvaluation} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runs, kills := 0, 0
	lap := func() *crasher {
		runs++
		return &crasher{t: t, binary: self(t), dir: dir, home: filepath.Join(dir, fmt.Sprint("home-", runs))}
	}
	digest := lap().run(func() string { return "" }, 0)
	check := func(c *crasher, got string) {
		if got != digest {
			t.Errorf("in %s the digest is %s, undisturbed it is %s", c.home, got, digest)
		}
		kills += c.kills
		if err := os.RemoveAll(c.home); err != nil {
			t.Error(err)
		}
	}
	for _, places := range failpointLaps() {
		c, next := lap(), 0
		check(c, c.run(func() string {
			if next == len(places) {
				return ""
			}
			next++
			return places[next-1]
		}, 0))
		if c.kills == 0 || !proof.All() && c.kills < len(places) {
			t.Errorf("the engine died %d times at %v", c.kills, places)
		}
	}
	byPoint := kills
	r := rand.New(rand.NewPCG(uint64(want), 7))
	for kills < want && !t.Failed() {
		c := lap()
		check(c, c.run(func() string { return "" }, proof.Of(150, 30+r.IntN(150))))
	}
	t.Logf("%d runs, killed %d times at %d failpoints and %d times at random: nothing lost, nothing done twice, one digest", runs, byPoint, len(failpoints), kills-byPoint)
}

// failpointLaps are the places at which the processes of each run are killed:
// in the sample one run comes to the first place of every name; in the proof there
// is a run for each name, whose processes die at the first place, the second, the
// third, …
func failpointLaps() [][]string {
	all := make([][]string, len(failpoints))
	var firsts []string
	for i, name := range failpoints {
		firsts = append(firsts, name+":1")
		for n := 1; n <= 6; n++ {
			all[i] = append(all[i], fmt.Sprint(name, ":", n))
		}
	}
	return proof.Of([][]string{firsts}, all)
}

// run drives a run to its end, over however many kills, and returns its
// digest. point gives the failpoint of each process; within is the most time,
// in milliseconds, after which a process is killed, 0 for never. It becomes
// longer where a machine is too slow for a process to get anywhere in it.
func (c *crasher) run(point func() string, within int) string {
	c.t.Helper()
	r := rand.New(rand.NewPCG(uint64(within), uint64(len(c.home))))
	args := []string{"run", "-q", "study.yaml", "--output-dir", filepath.Join(c.home, "out")}
	inVain := 0
	for range 2000 {
		limit, before := within, len(c.seen)
		if len(c.seen) == 0 && within > 0 {
			limit = 1000 // looking the machine over takes its time
		}
		killed := c.process(args, point(), limit, r)
		if list := c.command("list", "--json"); !strings.Contains(list, `"run"`) {
			continue // it died before the run was acknowledged
		}
		c.nothingLost()
		if inVain++; len(c.seen) > before {
			inVain = 0
		} else if inVain%10 == 0 {
			within += within / 2
		}
		args = []string{"resume", "-q"}
		if !killed {
			break
		}
	}
	c.onceEach()
	if out := c.command("verify"); !strings.Contains(out, "all whole") {
		c.t.Errorf("%s: %s", c.home, out)
	}
	var results struct{ Digest, Status string }
	b, err := os.ReadFile(filepath.Join(c.home, "out", "results.json"))
	if err == nil {
		err = json.Unmarshal(b, &results)
	}
	if err != nil || results.Status != "completed" {
		c.t.Fatalf("%s: the run is %q (%v)", c.home, results.Status, err)
	}
	return results.Digest
}

func (c *crasher) cmd(args ...string) *exec.Cmd {
	cmd := exec.Command(c.binary, append(args, "--home", c.home)...)
	cmd.Dir = c.dir
	return cmd
}

// process runs the engine until it ends or is killed.
func (c *crasher) process(args []string, point string, within int, r *rand.Rand) (killed bool) {
	c.t.Helper()
	cmd := c.cmd(args...)
	cmd.Env = append(os.Environ(), "RATCHET_FAILPOINT="+point, "PATH=/usr/bin:/bin")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	if within > 0 {
		timer := time.AfterFunc(time.Duration(1+r.IntN(within))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			c.kills++
			return true
		}
	}
	if err != nil {
		c.t.Fatalf("%v: %v\n%s", args, err, &out)
	}
	return false
}

func (c *crasher) command(args ...string) string {
	out, err := c.cmd(args...).CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		c.t.Fatal(err)
	}
	return string(out)
}

// nothingLost: every record that was there is there, unchanged.
func (c *crasher) nothingLost() {
	c.t.Helper()
	var now []record
	if out := c.command("events", "--json"); json.Unmarshal([]byte(out), &now) != nil {
		c.t.Fatalf("the journal cannot be read: %s", out)
	}
	for i, before := range c.seen {
		if i >= len(now) || now[i] != before {
			c.t.Fatalf("%s: record %d, %s, was acknowledged and is not there any more", c.home, before.Seq, before.Type)
		}
	}
	c.seen = now
}

// onceEach: every trial was started once, and nothing of an attempt is left.
func (c *crasher) onceEach() {
	c.t.Helper()
	starts, err := filepath.Glob(filepath.Join(c.home, "runs", "*", "checkpoints", "*", "starts"))
	if err != nil || len(starts) < 14+6+1 {
		c.t.Errorf("%s: %d trials were started (%v)", c.home, len(starts), err)
	}
	for _, f := range starts {
		if b, err := os.ReadFile(f); err != nil || string(b) != "1\n" {
			c.t.Errorf("%s: started as attempts %q (%v)", f, b, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(c.home, "runs", "*", "attempts", "*"))
	if err != nil || len(left) > 0 {
		c.t.Errorf("left behind: %v (%v)", left, err)
	}
}
