package history_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// TestRollBackAndForward: from any record a run goes on to the same digest,
// and what was superseded is there to be rolled forward to.
func TestRollBackAndForward(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	first := l.Drive(e, run)
	want := l.Digest(e, run)
	end := first.Seq
	for to := int64(2); to < end; to += 5 {
		s, err := e.Rollback(context.Background(), run, to, "me")
		if err != nil {
			t.Fatal(err)
		}
		if s.Ended() || len(s.Experiments) > 2 || s.Engine.Engine != "" {
			t.Errorf("rolled back to %d the run is %s", to, s.Status)
		}
		l.Drive(e, run)
		if got := l.Digest(e, run); got != want {
			t.Errorf("from record %d it comes to %s, and came to %s", to, got, want)
		}
		l.Whole(e)
	}
	head, err := e.Journal.Head(context.Background(), journal.Of(run))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Rollback(context.Background(), run, end, "me") // forward to the first end
	if err != nil || s.Status != research.Completed || s.Tally.Attempts != first.Tally.Attempts || s.Seq != head.Seq+1 {
		t.Fatalf("rolled forward: %+v (%v)", s.Tally, err)
	}
	superseded, err := e.Superseded(context.Background(), run, 0)
	if err != nil || superseded(end) || !superseded(end+1) || superseded(head.Seq+1) {
		t.Errorf("superseded: %v %v %v (%v)", superseded(end), superseded(end+1), superseded(head.Seq+1), err)
	}
	was, _, err := e.LoadAt(context.Background(), run, head.Seq) // the last end before, superseded now
	if err != nil || was.Status != research.Completed {
		t.Errorf("at record %d it was %v (%v)", head.Seq, was, err)
	}
	points, err := e.Checkpoints(context.Background(), run)
	if err != nil {
		t.Fatal(err)
	}
	counts := 0
	for _, p := range points {
		if p.Name == "completion" && !p.Superseded {
			counts++
		}
		if s, _, err := e.LoadAt(context.Background(), run, p.Seq); err != nil || s.Digest() != p.Digest {
			t.Errorf("checkpoint %s at %d has another digest than the state there (%v)", p.Name, p.Seq, err)
		}
	}
	if counts != 1 {
		t.Errorf("%d ends count", counts)
	}
	l.Whole(e)
}

// TestRollBackDriven: a run that a process drives is left alone.
func TestRollBackDriven(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	tried := false
	_, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(s *research.State, _ []research.Payload) {
		if s.Seq < 3 || tried {
			return
		}
		tried = true
		if _, err := e.Rollback(context.Background(), run, 1, "me"); !errors.As(err, new(*home.DrivenError)) {
			t.Errorf("rolling back: %v", err)
		}
	}})
	if err != nil || !tried {
		t.Error(err)
	}
	for _, to := range []int64{-1, 10_000} {
		if _, err := e.Rollback(context.Background(), run, to, "me"); err == nil {
			t.Errorf("rolled back to %d", to)
		}
	}
}

// TestRolledBackMeanwhile: an engine whose run was rolled back on another
// machine stops, and writes nothing more.
func TestRolledBackMeanwhile(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, "sleep 0.2\n"+enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	done := false
	_, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(s *research.State, _ []research.Payload) {
		if done || len(s.Pending) == 0 {
			return
		}
		done = true
		head, err := e.Journal.Head(context.Background(), journal.Of(run))
		if err != nil {
			t.Error(err)
		}
		b, err := research.Encode(research.RolledBack{To: 3, By: "somebody elsewhere"})
		if err != nil {
			t.Error(err)
		}
		if _, err := e.Journal.Append(context.Background(), journal.Of(run), head, journal.Entry{Time: s.Time, Type: "run.rolled_back", Version: 1, Payload: b}); err != nil {
			t.Error(err)
		}
	}})
	var fenced *engine.FencedError
	if !errors.As(err, &fenced) || !done {
		t.Fatalf("driving ends with %v", err)
	}
	l.Drive(e, run)
	l.Digest(e, run)
}

// TestFork: a fork shares the past and the objects, goes on by itself, and
// changes only what may change.
func TestFork(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, strings.Replace(enginetest.SmallStudy, "[good, bad]", "[good, bad, x, y]", 1)+"checkpoints: {experiments: 2}\n", enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	want := l.Digest(e, run)
	before := l.Count(e)
	fork := func(at string, sets ...string) (string, error) {
		return e.Fork(context.Background(), run, l.Locate(e, run, at), history.ForkOptions{Set: sets, Output: filepath.Join(t.TempDir(), "out"), By: "me"})
	}
	same, err := fork("stage-experimentation")
	if err != nil {
		t.Fatal(err)
	}
	if n := l.Count(e); n != before {
		t.Errorf("forking made %d objects", n-before)
	}
	l.Drive(e, same)
	if got := l.Digest(e, same); got != want {
		t.Errorf("the fork comes to %s, its origin to %s", got, want)
	}
	more, err := fork("stage-planning", "search.experiments=4", "parallel=3", "limits.run.cost=10USD",
		"hypotheses=[{id: good-wins, claim: good is better, compare: {a: {kind: good}, b: {kind: bad}}, expect: a > b}]")
	if err != nil {
		t.Fatal(err)
	}
	s := l.Drive(e, more)
	if len(s.Experiments) != 4 || s.Created.Study.Parallel != 3 || s.Created.Study.Limits.Run.Cost != 10_000_000 || s.Origin == nil || s.Origin.Run != run {
		t.Errorf("%d experiments, parallel %d, cost %v, from %+v", len(s.Experiments), s.Created.Study.Parallel, s.Created.Study.Limits.Run.Cost, s.Origin)
	}
	r, err := e.Results(context.Background(), more)
	if err != nil {
		t.Fatal(err)
	}
	last := r.Hypotheses[len(r.Hypotheses)-1]
	if last.ID != "good-wins" || last.Verdict == "" || last.Added == 0 {
		t.Errorf("%+v", last)
	}
	published, err := os.ReadFile(filepath.Join(s.Created.Output, "study.yaml"))
	if err != nil || !strings.Contains(string(published), "good-wins") {
		t.Errorf("the fork's study file: %s (%v)", published, err)
	}
	for sets, want := range map[string]string{
		"program.command=[true]": "cannot change", "search.experiments=1": "2 experiments were begun", "parallel=x": "write a finite number",
		"nonsense": "sets nothing", "parallel.x=1": "no keys of its own", "no.such=1": "unknown key", "parallel=[": "not YAML",
	} {
		var amend *history.AmendError
		if _, err := fork("experiments-2", sets); !errors.As(err, &amend) || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v", sets, err)
		}
	}
	l.Whole(e)
}

// remembering fails once, and writes down what it finds of the attempt before.
const remembering = `cat "$RATCHET_CHECKPOINT/deep/state" >> "$RATCHET_OUTPUT/found" 2>/dev/null
mkdir -p "$RATCHET_CHECKPOINT/deep"; echo "attempt $RATCHET_ATTEMPT of $RATCHET_TRIAL" > "$RATCHET_CHECKPOINT/deep/state"
head -c 3000000 /dev/zero | tr '\0' x > "$RATCHET_CHECKPOINT/large"
ln -sf /etc/passwd "$RATCHET_CHECKPOINT/link"
[ "$RATCHET_ATTEMPT" = 1 ] && { echo "first attempt of $RATCHET_TRIAL fails" >&2; exit 3; }
echo "{\"score\": $2}" >> "$RATCHET_METRICS"
`

// TestCheckpointsMove: what an attempt kept is there for the next one where
// the folder is not: on another machine, or after a rollback.
func TestCheckpointsMove(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, remembering)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	moved := false
	s, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(_ *research.State, events []research.Payload) {
		for _, p := range events {
			if a, ok := p.(research.AttemptEnded); ok && a.Attempt.Class != research.Succeeded {
				moved = true
				if err := os.RemoveAll(filepath.Join(l.Home(), "runs", run, "checkpoints", a.Attempt.Trial)); err != nil {
					t.Error(err)
				}
			}
		}
	}})
	if err != nil || !moved {
		t.Fatal(err)
	}
	found := 0
	for _, x := range s.Experiments {
		for _, trial := range x.Trials {
			if trial.Checkpoint == "" || len(trial.Attempts) != 2 {
				t.Fatalf("trial %s: checkpoint %q, %d attempts", trial.ID, trial.Checkpoint, len(trial.Attempts))
			}
			tree, err := e.Objects.Tree(objects.Digest(trial.Last().Evidence))
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(tree, func(f objects.File) bool { return f.Path == "output/found" })
			if i < 0 {
				t.Fatalf("trial %s found nothing", trial.ID)
			}
			if b, err := e.Objects.Get(tree[i].Digest); err != nil || string(b) != "attempt 1 of "+trial.ID+"\n" {
				t.Errorf("trial %s found %q (%v)", trial.ID, b, err)
			}
			found++
			kept, err := e.Objects.Tree(objects.Digest(trial.Checkpoint))
			if err != nil || len(kept) != 2 || kept[1].Path != "large" || kept[1].Size != 3_000_000 {
				t.Errorf("kept of trial %s: %+v (%v)", trial.ID, kept, err)
			}
		}
	}
	if found != enginetest.SmallTrials {
		t.Errorf("%d trials", found)
	}
	l.Whole(e)
}

// TestSnapshotsWhileRunning: what a running attempt keeps is stored at the
// study's interval, and no half of it.
func TestSnapshotsWhileRunning(t *testing.T) {
	t.Parallel()
	study := strings.Replace(enginetest.SmallStudy, "parallel: 2", "parallel: 2\ncheckpoints: {attempt: 1s}", 1)
	l := enginetest.New(t, study, `echo state > "$RATCHET_CHECKPOINT/state"
i=0; while [ ! -e "$RATCHET_CHECKPOINT/go" ] && [ $i -lt 300 ]; do i=$((i+1)); sleep 0.1; done
`+enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	stored := map[string]bool{}
	_, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(_ *research.State, events []research.Payload) {
		for _, p := range events {
			if a, ok := p.(research.AttemptCheckpointed); ok {
				stored[a.Trial] = true
				if err := os.WriteFile(filepath.Join(l.Home(), "runs", run, "checkpoints", a.Trial, "go"), nil, 0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}})
	if err != nil || len(stored) != enginetest.SmallTrials {
		t.Errorf("the checkpoints of %d trials were stored (%v)", len(stored), err)
	}
	l.Digest(e, run)
}

// TestGC: what is no longer needed is removed, and nothing else.
func TestGC(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, remembering)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	garbage, err := e.Objects.PutBytes([]byte("nobody speaks of this"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"runs/nobody", "runs/" + run + "/attempts/e0001-0123456789-a1"} {
		if err := os.MkdirAll(filepath.Join(l.Home(), dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, dry := range []bool{true, false} {
		g, err := e.GC(context.Background(), dry)
		if err != nil {
			t.Fatal(err)
		}
		if g.Objects != 1 || len(g.Attempts) != 1 || len(g.Checkpoints) != enginetest.SmallTrials || len(g.Folders) != 1 || len(g.Left) != 0 || g.Bytes < enginetest.SmallTrials*3_000_000 {
			t.Errorf("dry %v: %+v", dry, g)
		}
		if there := e.Objects.Verify(garbage) == nil; there != dry {
			t.Errorf("dry %v: the garbage is there: %v", dry, there)
		}
	}
	if g, err := e.GC(context.Background(), false); err != nil || g.Objects+len(g.Attempts)+len(g.Checkpoints)+len(g.Folders) > 0 {
		t.Errorf("again: %+v (%v)", g, err)
	}
	l.Whole(e)
}

// TestGCBesideARun: what a run works with is left alone.
func TestGCBesideARun(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e, other := l.Open(engine.Options{}), l.Open(engine.Options{})
	run := l.Create(e)
	asked := 0
	_, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(*research.State, []research.Payload) {
		asked++
		g, err := other.GC(context.Background(), false)
		if err != nil || g.Objects+len(g.Attempts)+len(g.Checkpoints)+len(g.Folders) > 0 || len(g.Left) != 1 {
			t.Errorf("%+v (%v)", g, err)
		}
	}})
	if err != nil || asked == 0 {
		t.Error(err)
	}
	l.Digest(e, run)
	l.Whole(e)
}
