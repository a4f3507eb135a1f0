package ratchet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"ratchet"
	mistakes "ratchet/study"
)

// Attempts are supervised by this test program, executed again.
func TestMain(m *testing.M) {
	ratchet.Main()
	os.Exit(m.Run())
}

// A study runs to its end; what it found is in the results, and in the report
// beside them.
func Example() {
	dir, err := os.MkdirTemp("", "ratchet-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	engine, err := ratchet.Open(filepath.Join(dir, "home"), ratchet.OpenOptions{})
	if err != nil {
		panic(err)
	}
	defer engine.Close()

	results, err := engine.Run(context.Background(), "examples/shell/study.yaml", ratchet.RunOptions{
		Output: filepath.Join(dir, "report"),
	})
	if err != nil {
		panic(err)
	}
	for _, h := range results.Hypotheses {
		fmt.Printf("%s: %s\n", h.Verdict, h.Claim)
	}
	fmt.Println("best:", results.Best.Parameters["stop"], results.Best.Metrics["divisions"])
	// Output:
	// supported: Stopping at the square root takes at least 1,000 divisions fewer
	// best: root 738
}

// home makes a folder with a small study, and opens a home beside it.
func home() (engine *ratchet.Engine, study, dir string) {
	dir, err := os.MkdirTemp("", "ratchet-example-")
	must(err)
	study = filepath.Join(dir, "study.yaml")
	must(os.WriteFile(study, []byte(`version: 1
name: small
program: {command: [sh, p.sh, "{side}", "{seed}"], files: [p.sh]}
objective: {metric: score, goal: maximize}
parameters: {side: [left, right]}
hypotheses: [{id: left, claim: left is better, compare: {a: {side: left}, b: {side: right}}, expect: a > b}]
search: {method: grid, experiments: 2}
validation: {seeds: 6}
`), 0o600))
	must(os.WriteFile(filepath.Join(dir, "p.sh"), []byte(`[ "$1" = left ] && score=$((10 + $2 % 3)) || score=$((5 + $2 % 2))
echo "{\"score\": $score}" >> "$RATCHET_METRICS"
`), 0o600))
	engine, err = ratchet.Open(filepath.Join(dir, "home"), ratchet.OpenOptions{})
	must(err)
	return engine, study, dir
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// create makes a run of a study whose report goes beside it.
func create(engine *ratchet.Engine, study string) string {
	data, err := os.ReadFile(study)
	must(err)
	run, err := engine.Create(context.Background(), study, data, ratchet.RunOptions{Output: filepath.Join(filepath.Dir(study), "report")})
	must(err)
	return run
}

// A run that was interrupted goes on where it was.
func ExampleEngine_Resume() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	run := create(engine, study)

	ctx, cancel := context.WithCancel(context.Background())
	driving := engine.Start(ctx, run, ratchet.DriveOptions{})
	trials := 0
	for e, err := range engine.Subscribe(context.Background(), run, 1) {
		must(err)
		if _, ended := e.Data.(ratchet.TrialCompleted); ended {
			if trials++; trials == 2 {
				break
			}
		}
	}
	cancel()
	_, err := driving.Wait()
	fmt.Println(err)

	results, err := engine.Resume(context.Background(), run, ratchet.DriveOptions{})
	fmt.Println(results.Status, err)
	// Output:
	// interrupted
	// completed <nil>
}

// What happens in a run can be followed, by this process or another.
func ExampleEngine_Subscribe() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	run := create(engine, study)
	driving := engine.Start(context.Background(), run, ratchet.DriveOptions{})

	for e, err := range engine.Subscribe(context.Background(), run, 1) {
		must(err)
		switch d := e.Data.(type) {
		case ratchet.StageStarted:
			fmt.Println("stage", d.Stage)
		case ratchet.HypothesisJudged:
			fmt.Println(d.Judgment.Hypothesis, "is", d.Judgment.Verdict)
		case ratchet.RunCompleted:
			fmt.Println(d.Status)
			_, err := driving.Wait()
			must(err)
			// Output:
			// stage ideation
			// stage planning
			// stage experimentation
			// stage validation
			// left is supported
			// stage reporting
			// completed
			return
		}
	}
}

// A wish is journaled, and the process that drives the run carries it out.
func ExampleEngine_Request() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	run := create(engine, study)

	must(engine.Request(context.Background(), run, ratchet.CancelRequested{By: "me"}))
	results, err := engine.Resume(context.Background(), run, ratchet.DriveOptions{})
	must(err)
	fmt.Println(results.Status)
	fmt.Println(engine.Request(context.Background(), run, ratchet.RunCompleted{}))
	// Output:
	// cancelled
	// run.completed is no wish: see Request
}

// Where runs stand, at a glance.
func ExampleEngine_List() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	_, err := engine.Run(context.Background(), study, ratchet.RunOptions{Output: filepath.Join(dir, "report")})
	must(err)

	runs, err := engine.List(context.Background())
	must(err)
	for _, s := range runs {
		fmt.Printf("%s: %d of %d experiments, %d trials, %d failed\n", s.Status, s.Completed, s.Planned, s.Trials, s.Failed)
	}
	// Output:
	// completed: 2 of 2 experiments, 15 trials, 0 failed
}

// A fork has another run's past, and goes on with a study that was changed.
func ExampleEngine_Fork() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	ctx := context.Background()
	run := create(engine, study)
	_, err := engine.Resume(ctx, run, ratchet.DriveOptions{})
	must(err)

	at, err := engine.Locate(ctx, run, "stage-planning")
	must(err)
	fork, err := engine.Fork(ctx, run, ratchet.ForkOptions{At: at, Set: []string{"validation.seeds=8"}, Output: filepath.Join(dir, "fork")})
	must(err)
	results, err := engine.Resume(ctx, fork, ratchet.DriveOptions{})
	must(err)
	fmt.Println(results.Status, "with", results.Hypotheses[0].N, "pairs")

	_, err = engine.Fork(ctx, run, ratchet.ForkOptions{Set: []string{"objective.goal=minimize"}, Output: filepath.Join(dir, "no")})
	var refused *ratchet.AmendError
	fmt.Println(errors.As(err, &refused))
	// Output:
	// completed with 8 pairs
	// true
}

// A run goes on from an earlier position; nothing of its journal is lost.
func ExampleEngine_Rollback() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	ctx := context.Background()
	run := create(engine, study)
	before, err := engine.Resume(ctx, run, ratchet.DriveOptions{})
	must(err)

	at, err := engine.Locate(ctx, run, "stage-experimentation")
	must(err)
	must(engine.Rollback(ctx, run, at, "me"))
	status, err := engine.Status(ctx, run)
	must(err)
	fmt.Println(status.Status, "in", status.Stage)
	after, err := engine.Resume(ctx, run, ratchet.DriveOptions{})
	must(err)
	fmt.Println("the same results:", after.Digest == before.Digest)
	// Output:
	// running in experimentation
	// the same results: true
}

// A backup is restored into another home.
func ExampleEngine_Backup() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	ctx := context.Background()
	run := create(engine, study)
	before, err := engine.Resume(ctx, run, ratchet.DriveOptions{})
	must(err)

	place := ratchet.BackupPlace{To: filepath.Join(dir, "backups")}
	_, err = engine.Backup(ctx, place)
	must(err)
	other, err := ratchet.Open(filepath.Join(dir, "another-home"), ratchet.OpenOptions{})
	must(err)
	defer other.Close()
	_, err = other.Restore(ctx, place, ratchet.RestoreOptions{Backup: "latest", Output: filepath.Join(dir, "reports")})
	must(err)
	after, err := other.Results(ctx, run)
	must(err)
	fmt.Println("the same results:", after.Digest == before.Digest)

	found, err := other.Verify(ctx, ratchet.VerifyOptions{})
	must(err)
	fmt.Println(found.Runs, "run,", len(found.Damages), "damages")
	// Output:
	// the same results: true
	// 1 run, 0 damages
}

// Mistakes in a study are named before anything is made.
func ExampleEngine_Create() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	_, err := engine.Create(context.Background(), study, []byte("version: 1\nname: small\nprogam: {command: [x]}\n"), ratchet.RunOptions{})
	var problems mistakes.Problems
	if errors.As(err, &problems) {
		fmt.Println(problems[0].Line, problems[0].What)
	}
	runs, err := engine.List(context.Background())
	must(err)
	fmt.Println(len(runs), "runs")
	// Output:
	// 3 unknown key "progam" in the study
	// 0 runs
}

// TestSealed: nothing of the engine's parts is reached through it.
func TestSealed(t *testing.T) {
	for _, of := range []reflect.Type{reflect.TypeFor[ratchet.Engine](), reflect.TypeFor[ratchet.Driving]()} {
		for i := range of.NumField() {
			if of.Field(i).IsExported() {
				t.Errorf("%s has the field %s", of, of.Field(i).Name)
			}
		}
	}
}

// What attempts printed, and what a run used, can be asked at any time.
func ExampleEngine_Logs() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	must(os.WriteFile(filepath.Join(dir, "p.sh"), []byte("echo \"side $1\"\necho '{\"score\": 1}' >> \"$RATCHET_METRICS\"\n"), 0o600))
	run := create(engine, study)
	_, err := engine.Resume(context.Background(), run, ratchet.DriveOptions{})
	must(err)

	for line, err := range engine.Logs(context.Background(), run, "e0001-", false) {
		must(err)
		fmt.Println(line.Stream, line.Text)
		break
	}
	costs, err := engine.Costs(context.Background(), run, 0)
	must(err)
	fmt.Println(costs.Total.Attempts > 0, costs.Failed.Attempts)
	// Output:
	// stdout side left
	// true 0
}

// Records are the journal's own, for those who keep evidence of it.
func ExampleEngine_Records() {
	engine, study, dir := home()
	defer os.RemoveAll(dir)
	defer engine.Close()
	run := create(engine, study)
	steps := 0
	results, err := engine.Resume(context.Background(), run, ratchet.DriveOptions{Observe: func(ratchet.Progress) { steps++ }})
	must(err)

	last := ""
	for r, err := range engine.Records(context.Background(), run, 1, 0) {
		must(err)
		last = r.Hash.String()
	}
	fmt.Println("the hash in the results:", last == results.Journal.Hash)
	fmt.Println("steps were seen:", steps > 0)
	// Output:
	// the hash in the results: true
	// steps were seen: true
}
