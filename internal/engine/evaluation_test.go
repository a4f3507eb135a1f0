package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
)

const evaluatedStudy = `version: 1
name: evaluated
program: {command: [sh, x.sh, "{kind}", "{seed}"], files: [x.sh], outputs: [left]}
evaluation: {command: [sh, e.sh], files: [e.sh], inputs: {labels: data.txt}, limits: {time: 10m, memory: 64MiB, disk: 10MiB}}
objective: {metric: score, goal: maximize}
parameters: {kind: [good, bad]}
search: {method: grid, experiments: 2}
validation: {seeds: 2}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB}}
parallel: 2
`

const evaluatedProgram = `ls; ls ..; cat labels data.txt e.sh ../*/labels 2>/dev/null
[ "$1" = good ] && echo 7 > "$RATCHET_OUTPUT/answer" || echo 3 > "$RATCHET_OUTPUT/answer"
mkdir left; echo more > left/more
echo '{"score": 100}' >> "$RATCHET_METRICS"
`

const evaluation = `cat "$RATCHET_EVALUATED/left/more" || exit 3
echo "{\"score\": $(($(cat labels) + $(cat "$RATCHET_EVALUATED/answer")))}" >> "$RATCHET_METRICS"
`

func evaluatedLab(t *testing.T, study, program, evaluation string) *enginetest.Lab {
	l := enginetest.New(t, study, program)
	write(t, filepath.Join(l.Dir, "data.txt"), "1000")
	write(t, filepath.Join(l.Dir, "e.sh"), evaluation)
	return l
}

// TestEvaluation: what counts is what the evaluation measures; the program's own
// word is kept beside it, and it sees nothing of how it is measured.
func TestEvaluation(t *testing.T) {
	t.Parallel()
	l := evaluatedLab(t, evaluatedStudy, evaluatedProgram, evaluation)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	s := l.Drive(e, run)
	if s.Status != research.Completed || s.Tally.Failed > 0 || s.NullTests == nil || len(s.NullTests.Checks) != 1 || s.NullTests.Checks[0].Class != research.ProgramFault {
		t.Fatalf("%s (%s), %+v, %+v", s.Status, s.Why, s.Tally, s.NullTests)
	}
	for _, x := range s.Experiments {
		want := map[any]float64{"good": 1007, "bad": 1003}[x.Parameters["kind"]]
		for _, trial := range x.Trials {
			last := trial.Last()
			if last.Metrics["score"] != want || last.Reported["score"] != 100 {
				t.Errorf("%s: measured %v, reported %v", trial.ID, last.Metrics, last.Reported)
			}
			streams, err := e.Logs(s, trial.ID)
			if err != nil {
				t.Fatal(err)
			}
			if said := enginetest.TextOf(t, streams); strings.Contains(said, "1000") || strings.Contains(said, "labels") || strings.Contains(said, "e.sh") {
				t.Errorf("the program sees how it is measured:\n%s", said)
			}
		}
	}
	l.Whole(e)
	if left, err := filepath.Glob(filepath.Join(l.Home(), "runs", "*", "attempts", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// TestEvaluationsThatFail: a failure of the evaluation is the attempt's, and says
// whose it is.
func TestEvaluationsThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		evaluation string
		class      research.Class
		says       string
	}{
		"exit":   {`[ -e "$RATCHET_EVALUATED/answer" ] || exit 1; echo oops >&2; exit 3`, research.ProgramFault, "the evaluation: exit status 3"},
		"silent": {`[ -e "$RATCHET_EVALUATED/answer" ] || exit 1`, research.InvalidOutput, "the evaluation: it reported no value"},
		"true":   {`[ -e "$RATCHET_EVALUATED/answer" ] || exit 1; echo '{"score": true}' >> "$RATCHET_METRICS"`, research.InvalidOutput, "which is no number"},
		"slow":   {`[ -e "$RATCHET_EVALUATED/answer" ] || exit 1; echo '{"score": 1}' >> "$RATCHET_METRICS"; sleep 1000`, research.Timeout, "the evaluation: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := evaluatedLab(t, strings.Replace(evaluatedStudy, "limits: {time: 10m, memory: 64MiB, disk: 10MiB}}\nobj", "limits: {time: 2s, grace: 1s, memory: 64MiB, disk: 10MiB}}\nobj", 1)+"retries: {max: 0}\n", evaluatedProgram, c.evaluation)
			e := l.Open(engine.Options{})
			s := l.Drive(e, l.Create(e))
			last := s.Experiments[0].Trials[0].Last()
			if last.Class != c.class || !strings.Contains(last.Message, c.says) || last.Metrics != nil {
				t.Errorf("%s: %s, %v", last.Class, last.Message, last.Metrics)
			}
		})
	}
}

// TestEvaluationsThatAnybodyPasses: an evaluation that has a good word for nothing
// is refused before the first experiment, with its figures.
func TestEvaluationsThatAnybodyPasses(t *testing.T) {
	t.Parallel()
	always := `echo '{"score": 0.25}' >> "$RATCHET_METRICS"`
	for name, c := range map[string]struct {
		more, evaluation, says string
	}{
		"an empty folder":           {"", always, "of an empty folder it says score 0.25, so anybody passes it"},
		"what the null leaves":      {`null: [sh, -c, "echo 1 > $RATCHET_OUTPUT/answer"], `, `[ -e "$RATCHET_EVALUATED/answer" ] || exit 1; ` + always, "of what evaluation.null leaves it says score 0.25"},
		"a gate that nothing meets": {"", always + "\n# gates", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(evaluatedStudy, "evaluation: {", "evaluation: {"+c.more, 1)
			if c.says == "" {
				text += "gates: [success_rate == 1, best.score > 0.3]\n"
			}
			l := evaluatedLab(t, text, evaluatedProgram, c.evaluation)
			e := l.Open(engine.Options{})
			s := l.Drive(e, l.Create(e))
			if c.says == "" {
				if s.Status != research.Completed || len(s.NullTests.Checks) != 1 || s.NullTests.Checks[0].Metrics["score"] != 0.25 {
					t.Errorf("%s (%s), %+v", s.Status, s.Why, s.NullTests)
				}
				return
			}
			if s.Status != research.Failed || !strings.Contains(s.Why, c.says) || len(s.Experiments) > 0 {
				t.Errorf("%s (%s), %d experiments", s.Status, s.Why, len(s.Experiments))
			}
		})
	}
}

// TestEvaluatedOnce: an engine that leaves while an evaluation runs leaves it to
// itself, and the next one takes what it measured: neither the program nor the
// evaluation runs again.
func TestEvaluatedOnce(t *testing.T) {
	t.Parallel()
	notes := t.TempDir()
	study := strings.Replace(strings.Replace(evaluatedStudy, "experiments: 2", "experiments: 1", 1), "parallel: 2", "parallel: 1", 1)
	l := evaluatedLab(t, study, "echo . >> "+notes+"/programs\n"+evaluatedProgram, "[ -e \"$RATCHET_EVALUATED/answer\" ] || exit 1\necho . >> "+notes+"/evaluations\nuntil [ -e "+notes+"/go ]; do sleep 0.02; done\n"+evaluation)
	e := l.Open(engine.Options{})
	data, err := os.ReadFile(l.File)
	if err != nil {
		t.Fatal(err)
	}
	run, err := e.Create(context.Background(), l.File, data, engine.RunOptions{Output: t.TempDir(), Isolation: sandbox.Process}) // to be seen at work
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
			if _, err := os.Stat(filepath.Join(notes, "evaluations")); err == nil {
				return
			}
		}
	}()
	if _, err := e.Drive(ctx, run, engine.DriveOptions{OnInterrupt: engine.Leave}); !errors.Is(err, engine.ErrInterrupted) {
		t.Fatal(err)
	}
	write(t, filepath.Join(notes, "go"), "")
	s := l.Drive(e, run)
	for _, name := range []string{"programs", "evaluations"} {
		b, err := os.ReadFile(filepath.Join(notes, name))
		if n := strings.Count(string(b), "."); err != nil || n != s.Tally.Trials {
			t.Errorf("%d %s for %d trials (%v)", n, name, s.Tally.Trials, err)
		}
	}
	if s.Status != research.Completed || s.Tally.Failed > 0 {
		t.Errorf("%s (%s)", s.Status, s.Why)
	}
}

// TestWhatIsLeftInTheWay: a program that leaves a file in its output folder where
// its working folder has a folder, or the other way round, ends nothing but itself.
func TestWhatIsLeftInTheWay(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{
		"a file":   `echo 1 > "$RATCHET_OUTPUT/answer"; mkdir left; echo more > left/more; echo file > "$RATCHET_OUTPUT/left"`,
		"a folder": `echo 1 > "$RATCHET_OUTPUT/answer"; echo file > left; mkdir "$RATCHET_OUTPUT/left"; echo more > "$RATCHET_OUTPUT/left/more"`,
	} {
		l := evaluatedLab(t, evaluatedStudy, program, evaluation)
		e := l.Open(engine.Options{})
		s := l.Drive(e, l.Create(e))
		want := map[string]research.Class{"a file": research.ProgramFault, "a folder": research.Succeeded}[name]
		if got := s.Experiments[0].Trials[0].Outcome; got != want {
			t.Errorf("%s: %s (%s), run %s (%s)", name, got, s.Experiments[0].Trials[0].Last().Message, s.Status, s.Why)
		}
	}
}
