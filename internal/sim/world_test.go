package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/executor"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/journal/faultdisk"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/maintenance"
	"ratchet/internal/objects"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

const run = "simulated-1"

// world is one history: a run on machines that fail.
type world struct {
	seed    uint64
	dir     string
	db      *faultdisk.Disk
	disk    *disk
	cluster *cluster
	boots   int

	mu       sync.Mutex
	ops      int
	killAt   int             // the machine goes off at this operation; 0: never
	decided  map[string]bool // actions that are in the journal
	ended    map[string]bool // attempts whose outcome is in the journal
	complete map[string]int  // by trial: outcomes
	acked    journal.Head    // of the last append that was acknowledged
	broken   []string        // invariants
	trace    []string        // what happened
}

// breaks notes that something happened that must not.
func (w *world) breaks(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, fmt.Sprintf("boot %d: ", w.boots)+fmt.Sprintf(format, args...))
}

func (w *world) chance(names ...any) float64 { return chance(w.seed, names...) }

func (w *world) below(n int, names ...any) int { return below(n, w.seed, names...) }

// score is what a trial measures, whenever and wherever it runs.
func (w *world) score(experiment string, seed int64) float64 {
	return float64(w.below(1000, "score", experiment, seed)) / 8
}

// step is an operation of any part of the machine.
func (w *world) step() {
	w.mu.Lock()
	w.ops++
	off := w.killAt > 0 && w.ops == w.killAt
	w.mu.Unlock()
	if off {
		w.turnOff()
	}
}

func (w *world) turnOff() {
	w.db.Kill()
	w.disk.kill()
	w.cluster.turn(true)
}

// mustBeDecided: no action without a journaled decision.
func (w *world) mustBeDecided(id string) {
	w.mu.Lock()
	ok := w.decided[id] || w.db == nil
	w.mu.Unlock()
	if !ok {
		w.breaks("%s is started, and no decision of it is in the journal", id)
	}
}

// mustNotBeNeeded: what an attempt left goes when its outcome is in the
// journal, or when the journal never asked for it.
func (w *world) mustNotBeNeeded(id string) {
	w.mu.Lock()
	needed := w.decided[id] && !w.ended[id]
	w.mu.Unlock()
	if needed {
		w.breaks("what %s left is thrown away, and its outcome is not in the journal", id)
	}
}

// watched is the journal with a memory of what it acknowledged.
type watched struct {
	journal.Journal
	w *world
}

func (j watched) Append(ctx context.Context, c journal.Chain, expected journal.Head, entries ...journal.Entry) (journal.Head, error) {
	head, err := j.Journal.Append(ctx, c, expected, entries...)
	if err != nil {
		return head, err
	}
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	if head.Seq > j.w.acked.Seq {
		j.w.acked = head
	}
	for _, e := range entries {
		j.w.note(e.Type, e.Version, e.Payload)
	}
	return head, nil
}

// note keeps what a record says. The caller holds mu.
func (w *world) note(kind string, version int, payload []byte) {
	p, err := research.Decode(kind, version, payload)
	if err != nil {
		w.broken = append(w.broken, err.Error())
		return
	}
	what := kind
	switch d := p.(type) {
	case research.ActionDecided:
		w.decided[d.Action.ID] = true
		what += " " + d.Action.ID
	case research.AttemptEnded:
		if w.ended[d.Action] {
			w.broken = append(w.broken, fmt.Sprintf("attempt %s ended twice", d.Action))
		}
		w.ended[d.Action] = true
		what += " " + d.Action + " " + string(d.Attempt.Class)
	case research.TrialCompleted:
		if w.complete[d.Trial]++; w.complete[d.Trial] > 1 {
			w.broken = append(w.broken, fmt.Sprintf("trial %s has %d outcomes", d.Trial, w.complete[d.Trial]))
		}
		what += " " + d.Trial
	}
	w.trace = append(w.trace, what)
}

// theStudy is drawn from the seed.
func (w *world) theStudy() *study.Study {
	text := fmt.Sprintf(`version: 1
name: simulated
program: {command: [x]}
objective: {metric: score, goal: maximize}
parameters: {kind: [a, b, c], level: {int: [1, 4]}}
hypotheses: [{id: h, claim: a is better, compare: {a: {kind: a}, b: {kind: b}}, expect: a > b}]
search: {method: random, experiments: %d, seeds: %d}
validation: {seeds: 2}
limits: {attempt: {time: 60s, memory: 1MiB}, run: {time: 2h, experiments: 9}}
retries: {max: 100}
parallel: %d
checkpoints: {experiments: 2, every: 0s, attempt: 0s}
gates: []
`, 3+w.below(4, "experiments"), 1+w.below(2, "seeds"), 1+w.below(3, "parallel"))
	st, err := study.Parse("study", []byte(text))
	if err != nil {
		panic(err)
	}
	return st
}

// begin puts the run's first record into the journal, before anything fails.
func (w *world) begin() error {
	store, err := objects.OpenOn(w.disk, filepath.Join(w.dir, "objects"))
	if err != nil {
		return err
	}
	environment, err := store.PutBytes([]byte("{}"))
	if err != nil {
		return err
	}
	snapshot, err := store.PutTree(objects.Tree{})
	if err != nil {
		return err
	}
	created := research.RunCreated{
		Run: run, Study: w.theStudy(), StudyFile: string(environment), Snapshot: string(snapshot), Environment: string(environment),
		Folder: w.dir, Seed: 1, Draw: research.DrawnByHMAC, Isolation: "process", Output: filepath.Join(w.dir, "out"), Machine: research.Machine{CPUs: 8, Memory: 1 << 34},
	}
	b, err := json.Marshal(created)
	if err != nil {
		return err
	}
	j, err := sqlite.Open(filepath.Join(w.dir, "journal.db"), sqlite.VFS(w.db.Name))
	if err != nil {
		return err
	}
	_, err = watched{j, w}.Append(context.Background(), journal.Of(run), journal.Head{}, journal.Entry{Time: time.Now(), Type: created.Type(), Version: 1, Payload: b})
	return errors.Join(err, j.Close())
}

// open opens an engine on one of the machines that share journal, objects and
// cluster. Their clocks differ.
func (w *world) open(machine string) (*engine.Engine, error) {
	j, err := sqlite.Open(filepath.Join(w.dir, "journal.db"), sqlite.VFS(w.db.Name))
	if err != nil {
		return nil, err
	}
	store, err := objects.OpenOn(w.disk, filepath.Join(w.dir, "objects"))
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	skew := time.Duration(w.below(120, "skew", machine, w.boots)-60) * time.Second
	e, err := engine.Open(filepath.Join(w.dir, machine), engine.Options{
		Options:  home.Options{Journal: watched{j, w}, Objects: store, Now: func() time.Time { return time.Now().Add(skew) }},
		Executor: func(string) executor.Executor { return access{w.cluster, store} },
		Report:   func(string, *report.Results, report.Sources) error { return nil },
	})
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return e, nil
}

// observe looks at every state that an engine comes to.
func (w *world) observe(e *engine.Engine) func(*research.State, []research.Payload) {
	n := 0
	return func(s *research.State, _ []research.Payload) {
		flying := 0
		for _, a := range s.Pending {
			if a.Kind == research.Try {
				flying++
			}
		}
		if flying > s.Created.Study.Parallel {
			w.breaks("%d attempts are in flight, and %d may be", flying, s.Created.Study.Parallel)
		}
		if most := s.Created.Study.Limits.Run.Experiments; len(s.Experiments) > most {
			w.breaks("there are %d experiments, and %d may be", len(s.Experiments), most)
		}
		if n++; n%8 == 0 {
			w.sameAsFresh(e, s)
		}
	}
}

// sameAsFresh: the state in memory is what the journal gives.
func (w *world) sameAsFresh(e *engine.Engine, s *research.State) {
	fresh, _, err := e.LoadAt(context.Background(), run, s.Seq)
	if err != nil {
		if !w.isOff() {
			w.breaks("at record %d the journal does not fold: %v", s.Seq, err)
		}
		return
	}
	if fresh.Digest() != s.Digest() {
		w.breaks("at record %d the state in memory is not the journal's", s.Seq)
	}
}

func (w *world) isOff() bool {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	return w.cluster.off
}

// boot drives the run on once, with one disturbance, and reports whether it
// has ended.
func (w *world) boot(calm bool) (ended bool) {
	w.boots++
	w.mu.Lock()
	w.killAt = 0
	w.mu.Unlock()
	kind := []string{"nothing", "crash", "crash", "power", "power", "interrupt", "full", "eio", "takeover", "wish"}[w.below(10, "kind", w.boots)]
	if calm {
		kind = "nothing"
	}
	e, err := w.open("one")
	if err != nil {
		w.breaks("the home does not open: %v", err)
		return true
	}
	w.remembers(e)
	if len(w.broken) > 0 {
		_ = e.Close()
		return true
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var others sync.WaitGroup
	when := time.Duration(w.below(60_000, "when", w.boots))*time.Millisecond + 3*time.Microsecond
	later := func(f func()) {
		others.Go(func() {
			t := time.NewTimer(when)
			defer t.Stop()
			select {
			case <-t.C:
				f()
			case <-ctx.Done():
			}
		})
	}
	o := engine.DriveOptions{Observe: w.observe(e)}
	switch kind {
	case "crash", "power":
		w.mu.Lock()
		w.killAt = w.ops + 1 + w.below(400, "operation", w.boots)
		w.mu.Unlock()
	case "interrupt":
		later(cancel)
	case "full", "eio":
		w.fill(kind)
	case "takeover":
		later(func() { w.takeOver() })
	case "wish":
		later(func() {
			err := e.Request(context.Background(), run, []research.Payload{research.PauseRequested{By: "somebody"}, research.CheckpointMade{Name: fmt.Sprint("boot-", w.boots)}}[w.below(2, "wish", w.boots)])
			_ = err // the run may have ended
		})
	}
	w.tell("boot %d: %s", w.boots, kind)
	s, err := e.Drive(ctx, run, o)
	w.mu.Lock()
	w.killAt = 0
	w.mu.Unlock()
	if w.isOff() { // by which of several operations the engine notices that is left to chance
		w.tell("%s", errOff)
	} else {
		w.tell("%s", brief(err))
	}
	w.disk.mu.Lock()
	w.disk.full = nil
	w.disk.mu.Unlock()
	w.db.Heal()
	if err != nil && !expected(kind, err) {
		w.breaks("with %s the run stops: %v", kind, err)
	}
	if err == nil && !w.isOff() {
		w.sameAsFresh(e, s)
	}
	cancel()
	others.Wait()
	ended = err == nil && s.Ended()
	off := w.isOff()
	_ = e.Close()
	if off {
		w.reboot(kind == "power")
		return false
	}
	return ended
}

// expected reports whether a disturbance may end the driving with an error.
func expected(kind string, err error) bool {
	switch kind {
	case "crash", "power", "full", "eio":
		return true // whatever is lost by it shows afterwards
	case "interrupt":
		return errors.Is(err, engine.ErrInterrupted) || nodeDown(err)
	case "takeover":
		return errors.As(err, new(*engine.FencedError)) || errors.Is(err, errGone) || nodeDown(err)
	}
	return nodeDown(err)
}

func nodeDown(err error) bool { return strings.Contains(err.Error(), "the node does not answer") }

// brief is an error without what differs between runs of the same seed.
func brief(err error) string {
	if err == nil {
		return "it went well"
	}
	text, _, _ := strings.Cut(err.Error(), "/")
	return text
}

func (w *world) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// fill makes one of the disks fail from some operation on, for a while.
func (w *world) fill(kind string) {
	from := 1 + w.below(60, "fault", w.boots)
	if kind == "eio" || w.below(2, "which disk", w.boots) == 0 {
		f := faultdisk.Faults[w.below(len(faultdisk.Faults), "fault kind", w.boots)]
		w.db.FailFrom(from, f)
		return
	}
	n := 0
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	w.disk.full = func() bool { n++; return n >= from }
}

// takeOver lets another machine drive the run for a moment.
func (w *world) takeOver() {
	e, err := w.open("two")
	if err != nil {
		return // the disk of the first is full, or off
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.below(30_000, "takes over for", w.boots))*time.Millisecond+5*time.Microsecond)
	defer cancel()
	_, _ = e.Drive(ctx, run, engine.DriveOptions{Observe: w.observe(e)})
}

// reboot turns the machine on again.
func (w *world) reboot(powerCut bool) {
	survives := func(what string) bool { return w.chance("survives", w.boots, what) < 0.5 }
	n := 0
	var sectors func() bool
	if powerCut {
		sectors = func() bool { n++; return survives(fmt.Sprint("sector ", n)) }
		w.cluster.cut()
	}
	if err := errors.Join(w.db.Restart(sectors), w.disk.restart(powerCut, survives)); err != nil {
		w.breaks("restarting: %v", err)
	}
	w.cluster.turn(false)
}

// remembers: whatever was acknowledged is in the journal. What else is there
// was not acknowledged, and counts from now on.
func (w *world) remembers(e *engine.Engine) {
	w.mu.Lock()
	acked := w.acked
	w.decided, w.ended, w.complete = map[string]bool{}, map[string]bool{}, map[string]int{}
	told := len(w.trace)
	w.mu.Unlock()
	found := false
	last := time.Time{}
	for r, err := range e.Journal.Read(context.Background(), journal.Of(run), 1) {
		if err != nil {
			w.breaks("the journal is damaged: %v", err)
			return
		}
		if r.Time.Before(last) {
			w.breaks("record %d is from before the one in front of it", r.Seq)
		}
		last = r.Time
		found = found || r.Seq == acked.Seq && r.Hash == acked.Hash
		w.mu.Lock()
		w.note(r.Type, r.Version, r.Payload)
		w.acked = journal.Head{Seq: max(w.acked.Seq, r.Seq), Hash: r.Hash}
		w.mu.Unlock()
	}
	w.mu.Lock()
	w.trace = w.trace[:told]
	w.mu.Unlock()
	if !found {
		w.breaks("record %d was acknowledged, and is not in the journal", acked.Seq)
	}
	w.evidence(e)
}

// evidence: every object that a record speaks of is there, and whole.
func (w *world) evidence(e *engine.Engine) {
	v, err := maintenance.Of(e.Home, e.Publisher, e.Executor).Verify(context.Background(), []string{run})
	if err != nil {
		w.breaks("verifying: %v", err)
		return
	}
	for _, d := range v.Damages {
		w.breaks("damaged: %s", d)
	}
}

// history plays a whole history and gives the digest of its results, and what
// broke.
func history(t *testing.T, seed uint64, disturbed bool) (w *world, digest string) {
	dir, err := os.MkdirTemp(memory(), "sim-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w = &world{seed: seed, dir: dir, decided: map[string]bool{}, ended: map[string]bool{}, complete: map[string]int{}}
	w.db = faultdisk.New()
	defer w.db.Close()
	w.disk = newDisk(w.step)
	w.db.Step = w.step
	w.cluster = &cluster{w: w, jobs: map[string]*job{}, runs: map[string]int{}}
	if err := w.begin(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if ended := w.boot(!disturbed || w.boots > 12); ended || len(w.broken) > 0 {
			break
		}
	}
	if len(w.broken) > 0 {
		return w, ""
	}
	e, err := w.open("one")
	if err != nil {
		w.breaks("the home does not open: %v", err)
		return w, ""
	}
	defer e.Close()
	w.remembers(e)
	r, err := e.Results(context.Background(), run)
	if err != nil {
		w.breaks("the results: %v", err)
		return w, ""
	}
	if r.Status != research.Completed && r.Status != research.Failed {
		w.breaks("the run is %s after %d boots", r.Status, w.boots)
	}
	return w, r.Digest
}

// memory is a folder in memory, where there is one.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}
