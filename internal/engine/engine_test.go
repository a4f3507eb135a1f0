package engine_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/journal/faultdisk"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/objects"
	"ratchet/internal/proof"
	"ratchet/internal/research"
	"ratchet/internal/shim"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

// TestFaultyDisk: whatever the journal's disk does, and whenever, the run
// stops with an error that says so, and goes on when the fault is gone, with
// nothing lost and nothing done twice.
func TestFaultyDisk(t *testing.T) {
	t.Parallel()
	undisturbed := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := undisturbed.Open(engine.Options{})
	run := undisturbed.Create(e)
	undisturbed.Drive(e, run)
	want := undisturbed.Digest(e, run)
	for _, fault := range faultdisk.Faults {
		t.Run(fault.Name, func(t *testing.T) {
			stops := 0
			for _, n := range proof.Of([]int{8}, []int{1, 3, 8, 15, 30}) {
				l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
				disk := faultdisk.New()
				t.Cleanup(disk.Close)
				if err := os.MkdirAll(l.Home(), 0o700); err != nil {
					t.Fatal(err)
				}
				j, err := sqlite.Open(filepath.Join(l.Home(), "journal.db"), sqlite.VFS(disk.Name))
				if err != nil {
					t.Fatal(err)
				}
				e := l.Open(engine.Options{Options: home.Options{Journal: j}})
				run := l.Create(e)
				disk.FailFrom(n, fault)
				_, err = e.Drive(context.Background(), run, engine.DriveOptions{})
				if disk.Heal() && err != nil {
					stops++
					if !strings.Contains(err.Error(), "journal") {
						t.Errorf("operation %d: the error does not say that it was the journal: %v", n, err)
					}
				}
				l.Drive(e, run)
				if got := l.Digest(e, run); got != want {
					t.Errorf("operation %d: the digest is %s, want %s", n, got, want)
				}
				l.OnceEach()
				if v, err := e.Verify(context.Background(), nil); err != nil || len(v.Damages) > 0 {
					t.Errorf("operation %d: %v (%v)", n, v.Damages, err)
				}
			}
			if stops == 0 {
				t.Error("the fault never stopped the run")
			}
		})
	}
}

// TestClockSetBack: a clock that is set back an hour in the middle of a run
// delays nothing, not even a back-off, and the journal's times stay in order.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, `[ "$RATCHET_ATTEMPT" = 1 ] && kill -KILL $$
`+enginetest.SmallProgram)
	var back atomic.Int64
	e := l.Open(engine.Options{Options: home.Options{Now: func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }}})
	run := l.Create(e)
	s, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(s *research.State, _ []research.Payload) {
		if s.Tally.Attempts == 2 {
			back.Store(int64(time.Hour))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != research.Completed || s.Tally.Attempts != 2*enginetest.SmallTrials {
		t.Errorf("the run is %s after %d attempts", s.Status, s.Tally.Attempts)
	}
	if took := s.Time.Sub(s.Began); took > 10*time.Minute || took < 0 {
		t.Errorf("by its journal the run took %s", took)
	}
	last := time.Time{}
	for r, err := range e.Journal.Read(context.Background(), journal.Of(run), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Time.Before(last) {
			t.Errorf("record %d is from %s, the one before from %s", r.Seq, r.Time, last)
		}
		last = r.Time
	}
}

// TestInputsAreHeld: a run does not go on with other data than it began with.
func TestInputsAreHeld(t *testing.T) {
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	data := filepath.Join(l.Dir, "data.txt")
	if err := os.WriteFile(data, []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Drive(context.Background(), run, engine.DriveOptions{}); err == nil || !strings.Contains(err.Error(), "data.txt) has changed") {
		t.Errorf("with another input: %v", err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Drive(context.Background(), run, engine.DriveOptions{}); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("without the input: %v", err)
	}
	if err := os.WriteFile(data, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The program's own files are kept: they may change or go.
	if err := os.Remove(filepath.Join(l.Dir, "x.sh")); err != nil {
		t.Fatal(err)
	}
	l.Drive(e, run)
	l.Digest(e, run)
}

// TestOneDrives: of two engines that drive a run, one does and the other says
// who.
func TestOneDrives(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, "sleep 0.2\n"+enginetest.SmallProgram)
	first, second := l.Open(engine.Options{}), l.Open(engine.Options{})
	run := l.Create(first)
	asked := false
	_, err := first.Drive(context.Background(), run, engine.DriveOptions{Observe: func(*research.State, []research.Payload) {
		if asked {
			return
		}
		asked = true
		var driven *home.DrivenError
		if _, err := second.Drive(context.Background(), run, engine.DriveOptions{}); !errors.As(err, &driven) || driven.PID != os.Getpid() || driven.Run != run {
			t.Errorf("the second engine: %v", err)
		}
		if d := second.Driven(run); d == nil || d.PID != os.Getpid() {
			t.Errorf("driven by %+v", d)
		}
	}})
	if err != nil || !asked {
		t.Fatal(err)
	}
	if d := second.Driven(run); d != nil {
		t.Errorf("driven by %+v, long after", d)
	}
	l.OnceEach()
}

// TestFence: an engine whose run another machine has taken over stops, and
// writes nothing more.
func TestFence(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, "sleep 0.2\n"+enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	var taken journal.Head
	_, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(s *research.State, _ []research.Payload) {
		if taken.Seq > 0 || len(s.Pending) == 0 {
			return
		}
		if err := e.Request(context.Background(), run, research.EngineStarted{Engine: "another", Host: "elsewhere"}); err != nil {
			t.Error(err)
		}
		var err error
		if taken, err = e.Journal.Head(context.Background(), journal.Of(run)); err != nil {
			t.Error(err)
		}
	}})
	var fenced *engine.FencedError
	if !errors.As(err, &fenced) || fenced.Host != "elsewhere" {
		t.Fatalf("driving ends with %v", err)
	}
	if head, err := e.Journal.Head(context.Background(), journal.Of(run)); err != nil || head != taken {
		t.Errorf("behind the takeover it wrote up to record %d (%v)", head.Seq, err)
	}
	l.Drive(e, run)
	l.Digest(e, run)
	l.OnceEach()
}

// TestInterrupted: attempts that run are left to themselves and picked up, or
// stopped and begun anew; either way the run ends as ever.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, on := range []string{engine.Leave, engine.Stop} {
		l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram+"until [ -e \"$RATCHET_CHECKPOINT/go\" ]; do sleep 0.02; done\n")
		e := l.Open(engine.Options{})
		run := l.Create(e)
		ctx, cancel := context.WithCancel(context.Background())
		starts := func() int {
			files, _ := filepath.Glob(filepath.Join(l.Home(), "runs", "*", "checkpoints", "*", "starts"))
			return len(files)
		}
		go func() {
			defer cancel()
			for tick := time.NewTicker(5 * time.Millisecond); starts() < 2; <-tick.C {
				continue
			}
		}()
		if _, err := e.Drive(ctx, run, engine.DriveOptions{OnInterrupt: on}); !errors.Is(err, engine.ErrInterrupted) {
			t.Fatalf("%s: %v", on, err)
		}
		s, _, err := e.Load(context.Background(), run)
		if err != nil || s.Engine.Engine != "" || s.Tally.Attempts != 0 {
			t.Errorf("%s: driven by %q, %d attempts (%v)", on, s.Engine.Engine, s.Tally.Attempts, err)
		}
		stop := letGo(filepath.Join(l.Home(), "runs", run, "checkpoints"))
		s = l.Drive(e, run)
		stop()
		l.Digest(e, run)
		if s.Tally.Attempts != enginetest.SmallTrials {
			t.Errorf("%s: %d attempts for %d trials", on, s.Tally.Attempts, enginetest.SmallTrials)
		}
		if on == engine.Leave {
			l.OnceEach()
		}
	}
}

// letGo puts a file named go into each folder that is or comes below one, until
// it is stopped.
func letGo(dir string) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				folders, _ := filepath.Glob(filepath.Join(dir, "*"))
				for _, f := range folders {
					_ = os.WriteFile(filepath.Join(f, "go"), nil, 0o644) // where it is gone, so is its attempt
				}
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// TestBuild: the program is built once, and what the build left is what
// attempts get.
func TestBuild(t *testing.T) {
	t.Parallel()
	study := strings.Replace(enginetest.SmallStudy, "files: [x.sh]", `files: [x.sh], build: [sh, -c, 'cp x.sh built.sh; echo building']`, 1)
	study = strings.Replace(study, "[sh, x.sh,", "[sh, built.sh,", 1)
	l := enginetest.New(t, study, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	if s := l.Drive(e, run); s.Snapshot == s.Created.Snapshot {
		t.Error("the built files are the files as they were")
	}
	l.Digest(e, run)

	l = enginetest.New(t, strings.Replace(study, "cp x.sh", "echo no compiler >&2; exit 2; cp x.sh", 1), enginetest.SmallProgram)
	e = l.Open(engine.Options{})
	s := l.Drive(e, l.Create(e))
	if s.Status != research.Failed || !strings.Contains(s.Why, "could not be built") || !strings.Contains(s.Why, "no compiler") {
		t.Errorf("the run is %s (%s)", s.Status, s.Why)
	}
}

// TestArtifacts: regular files are kept by digest; everything else is named
// and skipped, never followed, never waited for.
func TestArtifacts(t *testing.T) {
	const program = `cd "$RATCHET_OUTPUT"
echo kept > kept.txt; mkdir -p deep/er; echo deep > deep/er/file
ln -s /etc/passwd link; ln -s /etc linkdir; mkfifo fifo; echo x > mode000; chmod 000 mode000
mkdir closed; echo x > closed/file; chmod 000 closed
echo x > "$(printf 'new\nline')"; echo x > "$(printf 'esc\033[31m')"; echo x > '\back'; echo x > "$(printf 'bad\377')"
echo '{"score": 1, "test": {"loss": 0.5, "by": {"class": [1, 2]}}}' > metrics.json
`
	study := strings.NewReplacer(`parameters: {kind: [good, bad]}`, `parameters: {kind: [good]}`).Replace(enginetest.SmallStudy)
	l := enginetest.New(t, study, program)
	e := l.Open(engine.Options{})
	s := l.Drive(e, l.Create(e))
	if s.Status != research.Completed {
		t.Fatalf("the run is %s (%s)", s.Status, s.Why)
	}
	at := s.Experiments[0].Trials[0].Last()
	if want := map[string]float64{"score": 1, "test.loss": 0.5}; !maps.Equal(at.Metrics, want) {
		t.Errorf("metrics %v, want %v", at.Metrics, want)
	}
	streams, err := e.Objects.Tree(objects.Digest(at.Evidence))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range streams {
		names = append(names, f.Path)
	}
	for _, want := range []string{"output/kept.txt", "output/deep/er/file", "output/metrics.json"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not kept", want)
		}
	}
	for _, name := range names {
		if strings.Contains(name, "link") || strings.ContainsAny(name, "\n\x1b\\") {
			t.Errorf("%q is kept", name)
		}
	}
	notes := strings.Join(at.Notes, "; ")
	for _, want := range []string{`"link" is a symbolic link`, `"linkdir" is a symbolic link`, `"fifo" is a named pipe`, `"new\nline" has a name`, `"esc\x1b[31m" has a name`} {
		if !strings.Contains(notes, want) {
			t.Errorf("no word of %s in %s", want, notes)
		}
	}
}

// TestDamageIsNamed: a flipped byte in any object is found, with the run and
// what it was.
func TestDamageIsNamed(t *testing.T) {
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	files, err := filepath.Glob(filepath.Join(l.Home(), "objects", "??", "*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d objects (%v)", len(files), err)
	}
	for _, path := range files {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := slices.Clone(whole)
		b[len(b)-1] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := e.Verify(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Damages) == 0 || !strings.Contains(v.Damages[0], run) || !strings.Contains(strings.Join(v.Damages, "\n"), filepath.Base(path)) {
			t.Errorf("%s is damaged, and verify says %q", path, v.Damages)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	results := filepath.Join(l.Dir, "out", "results.json")
	b, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(b), `"score": 1`, `"score": 9`, 1)
	if err := os.WriteFile(results, []byte(forged), 0o644); err != nil {
		t.Fatal(err)
	}
	if v, err := e.Verify(context.Background(), []string{run}); err != nil || len(v.Damages) != 1 || !strings.Contains(v.Damages[0], "does not match its own digest") {
		t.Errorf("the results are forged, and verify says %q (%v)", v.Damages, err)
	}
}

// TestInterruptedAtAnyMoment: whenever the context ends, also while the run is
// being taken over, the error is ErrInterrupted and the run goes on later.
func TestInterruptedAtAnyMoment(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	for d := time.Duration(0); ; d += 7 * time.Millisecond {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		_, err := e.Drive(ctx, run, engine.DriveOptions{})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, engine.ErrInterrupted) {
			t.Fatalf("interrupted after %s: %v", d, err)
		}
	}
	l.Digest(e, run)
	l.OnceEach()
}
