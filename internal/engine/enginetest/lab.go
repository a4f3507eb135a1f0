// Package enginetest has what tests of the whole engine share: a study in a
// folder, and a home beside it.
package enginetest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ratchet/internal/backup"
	"ratchet/internal/engine"
	"ratchet/internal/maintenance"
	"ratchet/internal/research"
)

// SmallStudy is a study of SmallTrials trials that takes a second.
const SmallStudy = `version: 1
name: small
program: {command: [sh, x.sh, "{kind}", "{seed}"], files: [x.sh], inputs: {data: data.txt}}
objective: {metric: score, goal: maximize}
parameters: {kind: [good, bad]}
search: {method: grid, experiments: 2}
validation: {seeds: 2}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB}}
parallel: 2
`

// SmallProgram is the program of SmallStudy. It notes each start in its
// checkpoint folder.
const SmallProgram = `echo "$RATCHET_ATTEMPT" >> "$RATCHET_CHECKPOINT/starts"
[ "$1" = good ] && base=10 || base=5
echo "{\"score\": $((base + $2 % 3 + $(cat data)))}" >> "$RATCHET_METRICS"
`

// Score is a line of a program that reports a score of 1.
const Score = `echo '{"score": 1}' >> "$RATCHET_METRICS"` + "\n"

// SmallTrials are the trials of SmallStudy: two of the search, four fresh ones
// and a repetition.
const SmallTrials = 2 + 2*2 + 1

// Lab is a study in a folder, and a home beside it.
type Lab struct {
	T    testing.TB
	Dir  string
	File string // the study
}

// Engine is an engine with the maintenance of its home.
type Engine struct {
	*engine.Engine
	*maintenance.Maintenance
}

// New makes a lab: study.yaml, x.sh with a program, data.txt with "1".
func New(t testing.TB, study, program string) *Lab {
	t.Helper()
	l := &Lab{T: t, Dir: t.TempDir()}
	l.File = filepath.Join(l.Dir, "study.yaml")
	for name, text := range map[string]string{"study.yaml": study, "x.sh": program, "data.txt": "1"} {
		l.Write(name, text)
	}
	return l
}

// Write writes a file in the study's folder.
func (l *Lab) Write(name, text string) {
	l.T.Helper()
	if err := os.WriteFile(filepath.Join(l.Dir, name), []byte(text), 0o644); err != nil {
		l.T.Fatal(err)
	}
}

// Home is the home's folder.
func (l *Lab) Home() string { return filepath.Join(l.Dir, "home") }

// Open opens the home. It is closed at the test's end.
func (l *Lab) Open(o engine.Options) *Engine {
	l.T.Helper()
	return Open(l.T, l.Home(), o)
}

// Open opens a home. It is closed at the test's end.
func Open(t testing.TB, home string, o engine.Options) *Engine {
	t.Helper()
	e, err := engine.Open(home, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return &Engine{e, maintenance.Of(e.Home, e.Publisher, e.Executor)}
}

// Create makes a run of the study. Its report goes to the folder out.
func (l *Lab) Create(e *Engine) string {
	l.T.Helper()
	data, err := os.ReadFile(l.File)
	if err != nil {
		l.T.Fatal(err)
	}
	run, err := e.Create(context.Background(), l.File, data, engine.RunOptions{Output: filepath.Join(l.Dir, "out")})
	if err != nil {
		l.T.Fatal(err)
	}
	return run
}

// Drive drives a run until it ends or pauses.
func (l *Lab) Drive(e *Engine, run string) *research.State {
	l.T.Helper()
	s, err := e.Drive(context.Background(), run, engine.DriveOptions{})
	if err != nil {
		l.T.Fatal(err)
	}
	return s
}

// Digest is the digest of the results of a run, which is to be complete.
func (l *Lab) Digest(e *Engine, run string) string {
	l.T.Helper()
	r, err := e.Results(context.Background(), run)
	if err != nil {
		l.T.Fatal(err)
	}
	if r.Status != research.Completed {
		l.T.Errorf("the run is %s (%s)", r.Status, r.Why)
	}
	return r.Digest
}

// OnceEach fails the test unless every trial of SmallStudy was started once, as
// its first attempt.
func (l *Lab) OnceEach() {
	l.T.Helper()
	starts, err := filepath.Glob(filepath.Join(l.Home(), "runs", "*", "checkpoints", "*", "starts"))
	if err != nil || len(starts) != SmallTrials {
		l.T.Errorf("%d trials were started, want %d (%v)", len(starts), SmallTrials, err)
	}
	for _, f := range starts {
		if b, err := os.ReadFile(f); err != nil || string(b) != "1\n" {
			l.T.Errorf("%s: attempts %q (%v)", f, b, err)
		}
	}
}

// Locate finds a position of a run.
func (l *Lab) Locate(e *Engine, run, at string) int64 {
	l.T.Helper()
	seq, err := e.Locate(context.Background(), run, at)
	if err != nil {
		l.T.Fatal(err)
	}
	return seq
}

// Whole fails the test if the home is damaged.
func (l *Lab) Whole(e *Engine) {
	l.T.Helper()
	v, err := e.Verify(context.Background(), nil)
	if err != nil || len(v.Damages) > 0 {
		l.T.Errorf("verify: %v (%v)", v.Damages, err)
	}
}

// Place is a folder for backups.
func (l *Lab) Place() maintenance.BackupPlace {
	return maintenance.BackupPlace{To: filepath.Join(l.Dir, "backups")}
}

// BackUp makes a backup of the home, which is to be whole.
func (l *Lab) BackUp(e *Engine) *backup.Manifest {
	l.T.Helper()
	m, err := e.Backup(context.Background(), l.Place(), nil)
	if err != nil || len(m.Damaged) > 0 {
		l.T.Fatalf("backing up: %+v (%v)", m, err)
	}
	return m
}

// TextOf is what attempts have printed.
func TextOf(t testing.TB, streams []engine.Log) string {
	t.Helper()
	var all []byte
	for _, s := range streams {
		r, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

// Count is how many objects the home has.
func (l *Lab) Count(e *Engine) int {
	l.T.Helper()
	n := 0
	for _, err := range e.Objects.All() {
		if err != nil {
			l.T.Fatal(err)
		}
		n++
	}
	return n
}

// Flipped is a copy with one bit flipped.
func Flipped(b []byte, at int) []byte {
	out := slices.Clone(b)
	out[at] ^= 1
	return out
}
