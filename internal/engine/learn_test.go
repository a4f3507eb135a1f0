package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
)

// TestLearnFrom: a search begins with the best of a run, of a results.json and of a table; what
// does not fit is counted; none of it is an experiment of the run.
func TestLearnFrom(t *testing.T) {
	const study = `version: 1
name: learns
program: {command: [sh, x.sh, "{rate}"], files: [x.sh]}
objective: {metric: loss, goal: minimize}
parameters: {rate: {float: [0, 1]}, kind: [a, b]}
search: {experiments: %d%s}
validation: {seeds: 2}
`
	l := enginetest.New(t, fmt.Sprintf(study, 3, ""), `echo "{\"loss\": $1}" >> "$RATCHET_METRICS"`)
	e := l.Open(engine.Options{})
	first := l.Create(e)
	before := l.Drive(e, first)
	table := "run,rate,kind,loss\nx,0.5,a,0.1\ny,7,a,0.01\nz,0.25,b,-3\n,,,\n"
	if err := os.WriteFile(filepath.Join(l.Dir, "t.csv"), []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	results := filepath.Join(e.Output(before), "results.json")
	create := func(more string) (string, error) {
		file := filepath.Join(l.Dir, "study.yaml")
		data := []byte(fmt.Sprintf(study, 8, ", learn_from: ["+more+"]"))
		return e.Create(context.Background(), file, data, engine.RunOptions{Output: filepath.Join(t.TempDir(), "out")})
	}
	run, err := create(first + ", " + results + ", t.csv")
	if err != nil {
		t.Fatal(err)
	}
	s := l.Drive(e, run)
	if len(s.Prior) != 3 || len(s.Prior[0].Outcomes) != 3 || len(s.Prior[1].Outcomes) != 3 || len(s.Prior[2].Outcomes) != 2 || s.Prior[2].Left != 1 {
		t.Fatalf("learned: %+v", s.Prior)
	}
	if len(s.Experiments) != 8 || s.Experiments[0].By.Method != "start" {
		t.Errorf("%d experiments, the first by %+v", len(s.Experiments), s.Experiments[0].By)
	}
	for from, why := range map[string]string{
		"nothing":   `search.learn_from: nothing: `,
		"none.csv":  `search.learn_from: none.csv: `,
		"x.sh.json": `search.learn_from: x.sh.json: `,
		"other.csv": `it has no column "loss"`,
		"far.csv":   `none of its 1 outcomes fits the study (its rate is 7)`,
		"pipe.csv":  `not a regular file`,
	} {
		switch from {
		case "other.csv":
			err = os.WriteFile(filepath.Join(l.Dir, from), []byte("rate,kind\n1,a\n"), 0o644)
		case "far.csv":
			err = os.WriteFile(filepath.Join(l.Dir, from), []byte("rate,kind,loss\n7,a,1\n"), 0o644)
		case "pipe.csv":
			err = os.Mkdir(filepath.Join(l.Dir, from), 0o755)
		default:
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := create(from); !errors.As(err, new(*engine.LearnError)) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", from, err)
		}
	}
}
