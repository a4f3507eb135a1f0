package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/breaker"
	"ratchet/internal/executor"
	"ratchet/internal/executor/executortest"
	"ratchet/internal/executor/local"
	"ratchet/internal/home"
	"ratchet/internal/node"
	"ratchet/internal/objects"
	"ratchet/internal/processes"
	"ratchet/internal/redact"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

// lab is a home with a run in it.
type lab struct {
	t     *testing.T
	home  *home.Home
	node  *node.Node
	files string // the manifest of the program's files
}

func newLab(t *testing.T) *lab {
	t.Helper()
	h, err := home.Open(t.TempDir(), home.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	d, err := h.Objects.PutBytes([]byte("the program's file"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := h.Objects.PutTree(objects.Tree{{Path: "file", Digest: d, Size: 18}})
	if err != nil {
		t.Fatal(err)
	}
	return &lab{t, h, node.New(h, breaker.NewDependencies(breaker.DefaultPolicy), node.Options{Claims: t.TempDir()}), string(files)}
}

func (l *lab) executor() *local.Executor {
	x := local.New(l.home, "run-1", l.node, redact.New())
	l.t.Cleanup(x.Close)
	return x
}

// says is a job that runs a script.
func (l *lab) says(level sandbox.Isolation, id, script string) executor.Job {
	return executor.Job{
		ID: id, Run: "run-1", Experiment: "e0001", Trial: "e0001-s7", Attempt: 2, Command: []string{"sh", "-c", script},
		Parameters: study.Params{"rate": 0.5, "kind": "x", "fast": true, "size": 3.0}, Seed: 7, Isolation: level, Path: "/usr/bin:/bin",
		Limits: study.AttemptLimits{
			Time: study.Duration(10 * time.Minute), Memory: 64 << 20, CPUs: 1, Disk: 10 << 20, Output: 1 << 20, Processes: 16, Network: study.NetworkNone,
		},
		Files: l.files, Keep: executor.KeepOutput,
	}
}

// run runs a job and gives what it kept, by name.
func (l *lab) run(x executor.Executor, job executor.Job) (executor.Outcome, map[string]string) {
	l.t.Helper()
	h, err := x.Start(context.Background(), job)
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := h.Wait(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	tree, err := l.home.Objects.Tree(objects.Digest(out.Evidence))
	if err != nil {
		l.t.Fatal(err)
	}
	kept := map[string]string{}
	for _, f := range tree {
		b, err := l.home.Objects.Get(f.Digest)
		if err != nil {
			l.t.Fatal(err)
		}
		kept[f.Path] = string(b)
	}
	return out, kept
}

// TestContract: jobs are scripts; each execution adds to a file of this machine.
func TestContract(t *testing.T) {
	executortest.Run(t, func(t *testing.T) *executortest.Place {
		l := newLab(t)
		var n atomic.Int64
		executions := t.TempDir()
		return &executortest.Place{
			Executor: l.executor(), Other: l.executor(), Store: l.home.Objects,
			Job: func(kind string) executor.Job {
				id := fmt.Sprint("job-", n.Add(1))
				script := "echo . >> " + filepath.Join(executions, id) + "; " + map[string]string{
					executortest.Succeeds: `echo hello; echo '{"score": 1}' >> "$RATCHET_METRICS"; echo a > "$RATCHET_OUTPUT/a"; echo c > "$RATCHET_CHECKPOINT/c"`,
					executortest.Fails:    "exit 3",
					executortest.Waits:    "exec sleep 1000",
				}[kind]
				return l.says(sandbox.Process, id, script)
			},
			Executions: func(id string) int {
				b, err := os.ReadFile(filepath.Join(executions, id))
				if err != nil {
					t.Error(err)
				}
				return strings.Count(string(b), ".")
			},
			Lose: func(id string) {
				pid, err := 0, errors.New("not yet")
				for err != nil { // it says who it is a moment after it was started
					pid, err = shim.ShimOf(l.home.AttemptFolder("run-1", id))
				}
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			},
		}
	})
}

// TestWhatAProgramSees is the contract with programs.
func TestWhatAProgramSees(t *testing.T) {
	for _, level := range []sandbox.Isolation{sandbox.Strict, sandbox.Process} {
		l := newLab(t)
		x := l.executor()
		job := l.says(level, "a1", `
cat file; echo
cat "$RATCHET_PARAMS"; echo
echo "$RATCHET_PARAM_RATE $RATCHET_PARAM_KIND $RATCHET_PARAM_FAST $RATCHET_PARAM_SIZE"
echo "$RATCHET_RUN $RATCHET_EXPERIMENT $RATCHET_TRIAL $RATCHET_ATTEMPT $RATCHET_SEED"
echo '{"loss": 1}' >> "$RATCHET_METRICS"
echo left > "$RATCHET_OUTPUT/artifact"
echo kept > "$RATCHET_CHECKPOINT/checkpoint"
echo new > new; echo the program > file
echo "$LANG $TZ"; cat ../beside/this; echo own > "$HOME/own"`)
		job.Beside, job.Outputs = map[string][]byte{"beside/this": []byte("beside it\n")}, []string{"new", "file"}
		out, kept := l.run(x, job)
		want := map[string]string{
			"stdout": `the program's file
{"fast":true,"kind":"x","rate":0.5,"size":3}
0.5 x true 3
run-1 e0001 e0001-s7 2 7
C.UTF-8 UTC
beside it
`, "metrics.jsonl": "{\"loss\": 1}\n", "output/artifact": "left\n", "work/new": "new\n", "work/file": "the program\n",
		}
		if out.Exit != 0 || len(kept) != len(want) {
			t.Errorf("%s: exit %d, %q", level, out.Exit, kept)
		}
		for name, text := range want {
			if kept[name] != text {
				t.Errorf("%s: %s is %q, want %q", level, name, kept[name], text)
			}
		}
		// The next attempt finds the checkpoint and nothing else.
		if err := x.Clean(context.Background(), "a1"); err != nil {
			t.Fatal(err)
		}
		_, kept = l.run(x, l.says(level, "a2", `cat "$RATCHET_CHECKPOINT/checkpoint"; ls; ls "$RATCHET_OUTPUT"; wc -c < "$RATCHET_METRICS"`))
		if kept["stdout"] != "kept\nfile\n0\n" {
			t.Errorf("%s: the next attempt sees %q", level, kept["stdout"])
		}
	}
}

// TestOwnProcessors: an attempt that asks for whole processors, and not for all, runs on
// its own, sees no others, and leaves them when it is done.
func TestOwnProcessors(t *testing.T) {
	own := processes.Own()
	if len(own) < 2 {
		t.Skip("this machine has one processor")
	}
	l := newLab(t)
	x := l.executor()
	admit := func(id string, cpus float64) (executor.Job, func()) {
		t.Helper()
		job := l.says(sandbox.Strict, id, "grep Cpus_allowed_list /proc/self/status")
		job.Limits.CPUs = cpus
		leave, err := x.Admit(context.Background(), &job, executor.Reservation{Stopping: func() bool { return false }})
		if err != nil {
			t.Fatal(err)
		}
		return job, leave
	}
	first, leave := admit("e0001-s7-a1", 1)
	if len(first.Processors) != 1 {
		t.Fatalf("it runs on %v", first.Processors)
	}
	if _, kept := l.run(x, first); !strings.HasSuffix(strings.TrimSpace(kept["stdout"]), fmt.Sprint("\t", first.Processors[0])) {
		t.Errorf("of %v it sees %q", first.Processors, kept["stdout"])
	}
	second, leaveToo := admit("e0001-s7-a2", 1)
	if len(second.Processors) != 1 || second.Processors[0] == first.Processors[0] {
		t.Errorf("beside %v it runs on %v", first.Processors, second.Processors)
	}
	leave()
	leaveToo()
	for _, cpus := range []float64{0.5, float64(len(own))} {
		job, leave := admit(fmt.Sprintf("e0001-s7-a%v", cpus), cpus)
		if job.Processors != nil {
			t.Errorf("with %v processors it runs on %v", cpus, job.Processors)
		}
		leave()
	}
}

// TestCheckpointIsRestored: where the folder is not there, it is made of what was
// stored, and where it is, it is left as it is.
func TestCheckpointIsRestored(t *testing.T) {
	l := newLab(t)
	x := l.executor()
	h, err := x.Start(context.Background(), l.says(sandbox.Process, "a1", `echo one > "$RATCHET_CHECKPOINT/c"`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	digest, size, err := h.Snapshot(context.Background())
	if err != nil || size != 4 {
		t.Fatalf("the snapshot has %d bytes (%v)", size, err)
	}
	again := l.says(sandbox.Process, "a2", `cat "$RATCHET_CHECKPOINT/c"; echo two > "$RATCHET_CHECKPOINT/c"`)
	again.Checkpoint = digest
	if err := x.Forget(func(trial string) bool { return trial == "e0001-s7" }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"one\n", "two\n"} {
		again.ID = fmt.Sprint("a", 2+i)
		if _, kept := l.run(x, again); kept["stdout"] != want {
			t.Errorf("attempt %s found %q, want %q", again.ID, kept["stdout"], want)
		}
	}
}

// TestFilesOfOneFolder: what is kept of a job can lie in one folder, each file once,
// also where its program has put a file in the place of a folder with its checkpoint.
func TestFilesOfOneFolder(t *testing.T) {
	l := newLab(t)
	job := l.says(sandbox.Process, "a1", `echo kept > "$RATCHET_CHECKPOINT/c"; mv a b; echo mine > a; echo more > d`)
	job.Outputs, job.CheckpointAt = []string{"d", "a", "."}, "a/kept"
	x := l.executor()
	out, kept := l.run(x, job)
	if kept["work/a/kept/c"] != "kept\n" || kept["work/d"] != "more\n" {
		t.Errorf("kept: %q", kept)
	}
	if _, there := kept["work/a"]; there {
		t.Error("a file and a folder of one name are kept")
	}
	if !slices.Contains(out.Notes, `skipped: "a" has the name of a folder that is kept`) {
		t.Errorf("the notes are %q", out.Notes)
	}
	tree, err := l.home.Objects.Tree(objects.Digest(out.Evidence))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.home.Objects.CopyOut(tree, t.TempDir()); err != nil || len(tree) != len(kept) {
		t.Errorf("%d files of %d names (%v)", len(tree), len(kept), err)
	}
}

func TestStartThatFails(t *testing.T) {
	l := newLab(t)
	x := l.executor()
	job := l.says(sandbox.Strict, "a1", "true")
	job.Files = strings.Repeat("0", 64)
	if _, err := x.Start(context.Background(), job); err == nil || !strings.Contains(err.Error(), "attempt a1") || !errors.As(err, new(*objects.ObjectDamageError)) {
		t.Errorf("got %v", err)
	}
	// Nothing was started: it can be tried again.
	if there, err := x.Started(context.Background(), "a1"); there || err != nil {
		t.Errorf("it was started (%v)", err)
	}
	if out, kept := l.run(x, l.says(sandbox.Strict, "a1", "echo again")); out.Exit != 0 || kept["stdout"] != "again\n" {
		t.Errorf("started again: %+v, %q", out, kept)
	}
}

// TestOutput: what a job has printed until now can be read while it runs.
func TestOutput(t *testing.T) {
	l := newLab(t)
	x := l.executor()
	done := filepath.Join(t.TempDir(), "printed")
	if _, err := x.Start(context.Background(), l.says(sandbox.Process, "a1", "echo out; echo err >&2; touch "+done+"; exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	for _, err := os.Stat(done); err != nil; _, err = os.Stat(done) {
		<-time.After(time.Millisecond)
	}
	for name, want := range map[string]string{"stdout": "out\n", "stderr": "err\n"} {
		for text := ""; text != want; { // the shim may not have read it yet
			f, err := x.Output("a1", name)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if text = string(b); !strings.HasPrefix(want, text) {
				t.Fatalf("%s is %q", name, text)
			}
		}
	}
	if err := x.Clean(context.Background(), "a1"); err != nil {
		t.Error(err)
	}
}
