package attempt_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/attempt"
	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

func store(t *testing.T) *objects.Store {
	t.Helper()
	s, err := objects.Open(filepath.Join(t.TempDir(), "objects"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// packed is a folder with a job that runs a script.
func packed(t *testing.T, from *objects.Store, script string) (folder string, job executor.Job) {
	t.Helper()
	put := func(name, text string) string {
		d, err := from.PutBytes([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := from.PutTree(objects.Tree{{Path: name, Digest: d, Size: int64(len(text))}})
		if err != nil {
			t.Fatal(err)
		}
		return string(tree)
	}
	job = executor.Job{
		ID: "e0001-a1", Run: "r", Trial: "e0001", Attempt: 1, Command: []string{"sh", "-c", script}, Parameters: study.Params{"x": 1.0}, Path: "/usr/bin:/bin",
		Isolation: sandbox.Strict, Files: put("file", "its file\n"), Checkpoint: put("c", "kept before\n"), Keep: executor.KeepOutput,
		Metrics: map[string]study.Extract{"loss": {Stdout: `loss ([0-9.]+)`}},
		Limits: study.AttemptLimits{
			Time: study.Duration(10 * time.Minute), Grace: study.Duration(time.Minute), Memory: 64 << 20, CPUs: 1, Disk: 10 << 20, Output: 1 << 20, Processes: 16, Network: study.NetworkNone,
		},
	}
	folder = filepath.Join(t.TempDir(), "packed")
	if err := attempt.Pack(folder, job, from); err != nil {
		t.Fatal(err)
	}
	return folder, job
}

// TestAlone: a job runs from its folder, wherever that is carried to, and what it
// left comes to another store.
func TestAlone(t *testing.T) {
	folder, _ := packed(t, store(t), `cat file; cat "$RATCHET_CHECKPOINT/c"; echo later > "$RATCHET_CHECKPOINT/c"; echo left > "$RATCHET_OUTPUT/o"
echo "$OMP_NUM_THREADS $GOMAXPROCS thread"; echo "loss 0.25"; echo '{"score": NaN}' >> "$RATCHET_METRICS"; echo "sk-proj-abcdefghijklmnop1234567890abcd" >&2; exit 3`)
	carried := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(folder, carried); err != nil {
		t.Fatal(err)
	}
	home := store(t)
	if out, err := attempt.Unpack(carried, home); out != nil || err != nil {
		t.Errorf("before it ran it came to %+v (%v)", out, err)
	}
	first, err := attempt.Run(context.Background(), carried, redact.New())
	if err != nil {
		t.Fatal(err)
	}
	again, err := attempt.Run(context.Background(), carried, redact.New())
	if err != nil || again.Evidence != first.Evidence || !again.Ended.Equal(first.Ended) {
		t.Errorf("run again it is %+v (%v), and was %+v", again, err, first)
	}
	out, err := attempt.Unpack(carried, home)
	if err != nil || out.Exit != 3 || out.Evidence != first.Evidence {
		t.Fatalf("%+v (%v)", out, err)
	}
	if v, ok := out.Series.At("loss", -1); !ok || v != 0.25 {
		t.Errorf("the loss is %v (%v)", v, ok)
	}
	if _, problems := out.Series.Values(&study.Study{Objective: study.Objective{Metric: "score"}}); problems.Of("score") != "score is NaN" {
		t.Errorf("problems %v", problems)
	}
	read := func(manifest string) map[string]string {
		t.Helper()
		tree, err := home.Tree(objects.Digest(manifest))
		if err != nil {
			t.Fatal(err)
		}
		kept := map[string]string{}
		for _, f := range tree {
			var text strings.Builder
			if err := home.CopyFile(&text, f); err != nil {
				t.Fatal(err)
			}
			kept[f.Path] = text.String()
		}
		return kept
	}
	kept := read(out.Evidence)
	if kept["stdout"] != "its file\nkept before\n1 1 thread\nloss 0.25\n" || kept["output/o"] != "left\n" || strings.Contains(kept["stderr"], "abcdefgh") || kept["stderr"] == "" {
		t.Errorf("kept is %q", kept)
	}
	if c := read(out.Checkpoint); c["c"] != "later\n" || out.CheckpointSize != 6 {
		t.Errorf("the checkpoint is %q, of %d bytes", c, out.CheckpointSize)
	}
}

// TestAloneStopped: a node that is to be given back stops the job, with its grace.
func TestAloneStopped(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	folder, job := packed(t, store(t), "trap 'exit 7' TERM; touch "+started+"; while :; do sleep 0.01; done")
	job.Isolation = sandbox.Process // so that it can say that it has started
	b, err := json.Marshal(job)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "job.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for _, err := os.Stat(started); err != nil; _, err = os.Stat(started) {
			<-time.After(time.Millisecond)
		}
		cancel()
	}()
	out, err := attempt.Run(ctx, folder, redact.New())
	if err != nil || out.EndedBy != shim.ByRequest || out.Evidence == "" {
		t.Errorf("%+v (%v)", out, err)
	}
}

// TestSnapshotsMeanwhile: what a job keeps is stored while it runs, so that nothing is
// lost with its machine.
func TestSnapshotsMeanwhile(t *testing.T) {
	folder, job := packed(t, store(t), `echo "step 1" > "$RATCHET_CHECKPOINT/state"; trap 'exit 7' TERM; while :; do sleep 0.01; done`)
	job.SnapshotEvery = study.Duration(time.Millisecond)
	b, err := json.Marshal(job)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "job.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	home := store(t)
	if s, err := attempt.UnpackSnapshot(folder, home); s != (attempt.Snapshot{}) || err != nil {
		t.Errorf("before it ran there is %+v (%v)", s, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := attempt.Run(ctx, folder, redact.New())
		ended <- err
	}()
	for found := false; !found; {
		s, err := attempt.UnpackSnapshot(folder, home)
		if err != nil {
			t.Fatal(err)
		}
		if s.Digest == "" {
			<-time.After(time.Millisecond)
			continue
		}
		tree, err := home.Tree(objects.Digest(s.Digest))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tree {
			var text strings.Builder
			if err := home.CopyFile(&text, f); err != nil {
				t.Fatal(err)
			}
			found = found || f.Path == "state" && text.String() == "step 1\n"
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestWordsOfTheLost: of a job that is gone with its supervisor, what it printed,
// reported and used until then is kept.
func TestWordsOfTheLost(t *testing.T) {
	folder, _ := packed(t, store(t), `echo "precious words"; echo '{"step": 1, "score": 3}' >> "$RATCHET_METRICS"; trap '' TERM; while :; do sleep 0.01; done`)
	ended := make(chan *executor.Outcome, 1)
	go func() {
		out, err := attempt.Run(context.Background(), folder, redact.New())
		if err != nil {
			t.Error(err)
		}
		ended <- out
	}()
	for {
		said, _ := os.ReadFile(shim.Stdout(folder))
		reported, _ := os.ReadFile(filepath.Join(sandbox.Box(folder), sandbox.MetricsFile))
		if used, ok := shim.Using(folder); ok && used.Wall > 0 && len(said) > 0 && len(reported) > 0 {
			break
		}
		<-time.After(time.Millisecond)
	}
	pid, err := shim.ShimOf(folder)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := <-ended
	if out == nil || !out.Lost || out.Evidence == "" || out.Wall <= 0 || out.LastOut != "precious words\n" {
		t.Fatalf("%+v", out)
	}
	if v, ok := out.Series.At("score", 1); !ok || v != 3 {
		t.Errorf("the score is %v (%v)", v, ok)
	}
}

// TestAloneAltered: what a folder says that was altered on its way is not believed.
func TestAloneAltered(t *testing.T) {
	from := store(t)
	folder, _ := packed(t, from, "echo hello")
	out, err := attempt.Run(context.Background(), folder, redact.New())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"metrics.loss: its pattern has matched no line of the output"}; !slices.Equal(out.Notes, want) {
		t.Errorf("notes %q", out.Notes)
	}
	path := filepath.Join(folder, "objects", out.Evidence[:2], out.Evidence)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := store(t)
	if _, err := attempt.Unpack(folder, home); !errors.As(err, new(*objects.ObjectDamageError)) {
		t.Errorf("unpacking gives %v", err)
	}
	for _, err := range home.All() {
		t.Errorf("something of it is there (%v)", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "job.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "outcome.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := attempt.Run(context.Background(), folder, redact.New()); err == nil || !strings.Contains(err.Error(), "reading the job") {
		t.Errorf("running it gives %v", err)
	}
}
