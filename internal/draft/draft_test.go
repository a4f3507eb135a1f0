package draft

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ratchet/internal/shim"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func parsed(t *testing.T, d *Draft) *study.Study {
	t.Helper()
	s, err := study.Parse("study.yaml", d.Study())
	if err != nil {
		t.Fatalf("%s\n%v", d.Study(), err)
	}
	return s
}

func TestDraft(t *testing.T) {
	dir := folder(t, map[string]string{"train.py": "", "data.csv": "", "conf/model.yaml": ""})
	for _, c := range []struct {
		command string
		want    []string // the command
		files   []string
		params  []study.Parameter
	}{
		{
			"python train.py --lr 0.1 --seed 1", []string{"python", "train.py", "--lr", "{lr}", "--seed", "{seed}"}, []string{"train.py"},
			[]study.Parameter{{Name: "lr", Kind: study.Float, Low: 0.01, High: 1, Log: true}},
		},
		{
			"python train.py --batch-size=32 --data data.csv --fast --random-seed=3 --opt adam --drop 0 --shift -1.5 --name {x}",
			[]string{"python", "train.py", "--batch-size={batch_size}", "--data", "data.csv", "--fast", "--random-seed={seed}", "--opt", "{opt}", "--drop", "{drop}", "--shift", "{shift}", "--name", "{name}"},
			[]string{"train.py", "data.csv"},
			[]study.Parameter{
				{Name: "batch_size", Kind: study.Int, Low: 8, High: 128, Log: true}, {Name: "opt", Kind: study.Categorical, Values: []any{"adam"}},
				{Name: "drop", Kind: study.Int, Low: 0, High: 4}, {Name: "shift", Kind: study.Float, Low: -3, High: 0},
				{Name: "name", Kind: study.Categorical, Values: []any{"{x}"}},
			},
		},
		{
			"python train.py optimizer.lr=0.01 +trainer.max_epochs=3 seed=7 --conf conf",
			[]string{"python", "train.py", "optimizer.lr={optimizer.lr}", "+trainer.max_epochs={trainer.max_epochs}", "seed={seed}", "--conf", "conf"}, []string{"train.py", "conf"},
			[]study.Parameter{{Name: "optimizer.lr", Kind: study.Float, Low: 0.001, High: 0.1, Log: true}, {Name: "trainer.max_epochs", Kind: study.Int, Low: 1, High: 12}},
		},
		{"make", []string{"make"}, nil, nil},
	} {
		s := parsed(t, Of(dir, strings.Fields(c.command)))
		if !slices.Equal(s.Program.Command, c.want) || !slices.Equal(s.Program.Files, c.files) {
			t.Errorf("%s: the command is %q of %q", c.command, s.Program.Command, s.Program.Files)
		}
		if diff := cmp.Diff(c.params, s.Parameters); diff != "" {
			t.Errorf("%s: %s", c.command, diff)
		}
	}
	if _, err := study.Parse("study.yaml", First()[0].Content); err != nil {
		t.Error(err)
	}
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct{ output, name, goal, found string }{
		{"Epoch 1: loss 0.5\nFinal accuracy: 0.93\n", "final_accuracy", study.Maximize, "0.93"},
		{"epoch 3 train_loss=0.2 val_loss=0.25 lr=0.001 time=3.2s\n", "val_loss", study.Minimize, "0.25"},
		{"\rEpoch 2: 100%|████| 50/50 [00:03<00:00, 15.2it/s, loss=0.31, v_num=0]", "loss", study.Minimize, "0.31"},
		{"│         val_acc         │    0.8950    │\n│        val_loss         │    0.3    │\nseed: 7\n", "val_loss", study.Minimize, "0.3"},
		{"{\"step\": 3, \"eval/f1\": 0.75}\n", "eval/f1", study.Maximize, "0.75"},
		{"\x1b[32mR2 score\x1b[0m = .81\n", "r2_score", study.Maximize, ".81"},
		{"wobble: 17.5\nversion: 2.1.0\ndone at 10:15:32\n", "wobble", study.Maximize, "17.5"},
		{"steps: 100\nhttp://127.0.0.1:8000\n", "", "", ""},
	} {
		found := candidatesIn([]byte(c.output))
		if c.name == "" {
			if len(found) > 0 {
				t.Errorf("%q has %+v", c.output, found)
			}
			continue
		}
		if len(found) == 0 || choose(found).name != c.name || choose(found).goal() != c.goal {
			t.Errorf("%q has %+v", c.output, found)
			continue
		}
		d := &Draft{dir: t.TempDir(), words: []word{{text: "true"}}, tried: &trial{ended: true, wall: 1, candidates: found}}
		s := parsed(t, d)
		if s.Objective.Metric != c.name || s.Metrics[c.name].Stdout == "" {
			t.Errorf("%q: the objective is %+v of %+v", c.output, s.Objective, s.Metrics)
		}
		if got, _ := lastMatch(s.Metrics[c.name].Stdout, c.output); got != c.found {
			t.Errorf("%q: %s finds %q, want %q", c.output, s.Metrics[c.name].Stdout, got, c.found)
		}
	}
}

func TestChoices(t *testing.T) {
	help := "usage: t.py [-h] [--opt {adam,sgd}] [--lr LR]\n  --opt {adam,sgd}\n"
	hydra := "== Configuration groups ==\nCompose your configuration from those groups (group=option)\n\nmodel: cnn, mlp\ndb: none\n\n\n== Config ==\n"
	if got := choicesIn(help)["opt"]; !slices.Equal(got, []string{"adam", "sgd"}) {
		t.Errorf("argparse's are %v", got)
	}
	if got := choicesIn(hydra)["model"]; !slices.Equal(got, []string{"cnn", "mlp"}) {
		t.Errorf("Hydra's are %v", got)
	}
}

// TestTry runs a program that misses its module, its data within the folder and its data
// elsewhere, one after the other, and then says what it measured.
func TestTry(t *testing.T) {
	elsewhere := folder(t, map[string]string{"points.txt": "4\n"})
	dir := folder(t, map[string]string{
		"train.py": `import argparse
import helper
p = argparse.ArgumentParser()
p.add_argument("--opt", choices=["adam", "sgd"], default="adam")
p.add_argument("--lr", type=float)
p.add_argument("--data")
a = p.parse_args()
print("Epoch 1: loss %s" % open("weights/w.txt").read().strip())
print("Final accuracy: 0.%s" % open(a.data).read().strip())
`,
		"helper.py": "", "weights/w.txt": "0.5\n",
	})
	ctx := context.Background()
	d := Of(dir, []string{"python3", "train.py", "--opt", "adam", "--lr", "0.1", "--data", filepath.Join(elsewhere, "points.txt")})
	if err := d.Try(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	s := parsed(t, d)
	if want := []string{"train.py", "helper.py", "weights/w.txt"}; !slices.Equal(s.Program.Files, want) {
		t.Errorf("the files are %q, want %q", s.Program.Files, want)
	}
	if len(s.Program.Inputs) != 1 || s.Program.Inputs[0].Path != "points.txt" || !slices.Contains(s.Program.Command, "points.txt") {
		t.Errorf("the inputs are %+v of %q", s.Program.Inputs, s.Program.Command)
	}
	if s.Objective != (study.Objective{Metric: "final_accuracy", Goal: study.Maximize}) {
		t.Errorf("the objective is %+v:\n%s", s.Objective, d.Study())
	}
	if opt, _ := s.Parameter("opt"); !slices.Equal(opt.Values, study.Values{"adam", "sgd"}) {
		t.Errorf("the optimizers are %v", opt.Values)
	}
	if !strings.Contains(d.Summary(), "it succeeded") || !strings.Contains(d.Summary(), "final_accuracy") {
		t.Errorf("it says %s", d.Summary())
	}

	d = Of(dir, []string{"sh", "-c", "echo 'val loss: 0.25' >&2; exit 3"})
	if err := d.Try(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	if s = parsed(t, d); s.Objective.Metric != "val_loss" || s.Program.Command[0] != "sh" || !strings.Contains(s.Program.Command[2], "2>&1") || !strings.Contains(d.Summary(), "failed with exit status 3") {
		t.Errorf("it says %s, and writes\n%s", d.Summary(), d.Study())
	}

	d = Of(dir, []string{"sh", "-c", `echo '{"step": 1, "score": 3}' >> $RATCHET_METRICS; sleep 600`})
	if err := d.Try(ctx, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if s = parsed(t, d); s.Objective.Metric != "score" || len(s.Metrics) > 0 || !strings.Contains(d.Summary(), "not done yet") {
		t.Errorf("it says %s, and writes\n%s", d.Summary(), d.Study())
	}
	over, stop := context.WithCancel(ctx)
	stop()
	if err := d.Try(over, time.Minute); err == nil {
		t.Error("interrupted, it ends as if it were not")
	}
}

// lastMatch is what a pattern finds last, as the engine reads output.
func lastMatch(pattern, output string) (string, bool) {
	m := regexp.MustCompile("(?m)"+pattern).FindAllStringSubmatch(string(colours.ReplaceAll([]byte(strings.ReplaceAll(output, "\r", "\n")), nil)), -1)
	if len(m) == 0 {
		return "", false
	}
	return m[len(m)-1][1], true
}

// TestDraftOfAStrangersFolder: what leads out of the folder, or has keys, is not taken,
// whatever the program says that it misses.
func TestDraftOfAStrangersFolder(t *testing.T) {
	home := folder(t, map[string]string{".ssh/id_ed25519": "the key"})
	t.Setenv("HOME", home)
	dir := folder(t, map[string]string{
		".env": "KEY=1", "t.sh": "cat link/id_ed25519 .env; for f in link .env " + home + "/.ssh " + home + "; do echo \"cat: $f: No such file or directory\" >&2; done; echo 'accuracy: 0.5'; exit 1\n",
	})
	if err := os.Symlink(filepath.Join(home, ".ssh"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	d := Of(dir, []string{"sh", "t.sh", "--keys", filepath.Join(home, ".ssh")})
	if err := d.Try(context.Background(), time.Minute); err != nil {
		t.Fatal(err)
	}
	s := parsed(t, d)
	if !slices.Equal(s.Program.Files, []string{"t.sh"}) || len(s.Program.Inputs) > 0 || strings.Contains(string(d.Study()), "the key") {
		t.Errorf("taken were %q and %+v:\n%s", s.Program.Files, s.Program.Inputs, d.Study())
	}
	if !strings.Contains(string(d.Study()), "link is not taken") || !strings.Contains(string(d.Study()), ".env is not taken") {
		t.Errorf("it says\n%s", d.Study())
	}
}
