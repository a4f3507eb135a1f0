package ratchet_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ratchet"
	"ratchet/internal/proof"
)

const cheatStudy = `version: 1
name: cheats
program:
  command: [python3, predict.py, "{seed}"]
  files: [predict.py, rules.md]
  editable: [predict.py]
  inputs: {test.csv: test.csv}
evaluation:
  command: [python3, evaluate.py]
  files: [evaluate.py]
  inputs: {labels.csv: labels.csv}
  limits: {time: 20s, memory: 256MiB}
objective: {metric: accuracy, goal: maximize}
search: {method: open}
keep: {seeds: 2}
validation: {seeds: 2}
retries: {max: 0}
limits: {attempt: {time: 20s, memory: 256MiB, disk: 10MiB, processes: 16, network: none}}
parallel: 2
`

// honest says "Adelie" of every penguin. Each cheat is put behind it.
const honest = `import csv, glob, json, os, socket, subprocess, sys, time
output = os.environ["RATCHET_OUTPUT"]
def predict(species=lambda i: "Adelie"):
    with open("test.csv", newline="") as f:
        ids = [r["id"] for r in csv.DictReader(f)]
    with open(os.path.join(output, "predictions.csv"), "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["id", "species"])
        w.writerows([i, species(i)] for i in ids)
def leave(name, text):
    for folder in (".", output, os.environ["RATCHET_CHECKPOINT"], "/tmp"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
def labels(pattern):
    for path in glob.glob(pattern, recursive=True):
        try:
            rows = list(csv.DictReader(open(path, newline="")))
        except (OSError, ValueError, csv.Error):
            continue
        if rows and set(rows[0]) == {"id", "species"} and not path.endswith("predictions.csv"):
            predict({r["id"]: r["species"] for r in rows}.get)
def attempt(f):
    try:
        f()
    except Exception as e:
        print(type(e).__name__)
predict()
`

const saysOne = `'import os\nopen(os.environ["RATCHET_METRICS"], "a").write("{\\"accuracy\\": 1}\\n")\nos._exit(0)\n'`

// cheats are ways to look better than one is, each the code behind honest.
var cheats = map[string]string{
	"reports its own value":               `open(os.environ["RATCHET_METRICS"], "a").write('{"accuracy": 1}\n')`,
	"leaves files of metrics":             "leave('metrics.json', '{\"accuracy\": 1}')\nleave('metrics.jsonl', '{\"accuracy\": 1}\\n')",
	"prints what the evaluation would":    `print('{"accuracy": 1}', flush=True)`,
	"looks for labels in its box":         `labels("/ratchet/**/*.csv")`,
	"looks for labels everywhere":         `labels("/home/**/*.csv"); labels("/root/**/*.csv"); labels("/tmp/**/*.csv"); labels("/var/**/*.csv"); labels("/proc/[0-9]*/cwd/*.csv")`,
	"climbs out of its folder":            `labels("../*.csv"); labels("../../*.csv"); labels("../../../*/*.csv"); labels("data/*.csv")`,
	"leaves an evaluation that is kinder": "leave('evaluate.py', " + saysOne + ")",
	"shadows modules":                     "for m in ('csv', 'json', 'os', 'sitecustomize', 'usercustomize', 'conftest', 'encodings'):\n    leave(m + '.py', " + saysOne + ")",
	"leaves a program first in PATH":      "for p in ('python3', 'sh', 'env'):\n    leave(p, '#!/bin/sh\\necho \"{}\"\\n')\n    os.chmod(p, 0o755); os.chmod(os.path.join(output, p), 0o755)",
	"links to the labels":                 `os.remove(output + "/predictions.csv"); os.symlink("/ratchet/work/labels.csv", output + "/predictions.csv")`,
	"links its output away":               "def f():\n    os.rename(output, output + '2'); os.symlink('/ratchet', output)\nattempt(f)",
	"leaves a pipe":                       `os.remove(output + "/predictions.csv"); os.mkfifo(output + "/predictions.csv")`,
	"leaves a pickle":                     `open(output + "/predictions.csv", "wb").write(b"\x80\x04\x95cos\nsystem\n.")`,
	"says everything of each":             "rows = open(output + '/predictions.csv').read().splitlines()[1:]\nopen(output + '/predictions.csv', 'w').write('id,species\\n' + ''.join(r.split(',')[0] + ',' + s + '\\n' for r in rows for s in ('Adelie', 'Gentoo', 'Chinstrap')))",
	"says only what it is sure of":        `open(output + "/predictions.csv", "w").write("id,species\n")`,
	"says nothing":                        `os.remove(output + "/predictions.csv"); open(os.environ["RATCHET_METRICS"], "a").write("{}\n")`,
	"says that it is no number":           `open(os.environ["RATCHET_METRICS"], "a").write('{"accuracy": NaN}\n{"accuracy": "0.99"}\n{"accuracy": true}\n{"accuracy": 1e999}\n')`,
	"stays behind":                        "subprocess.Popen([sys.executable, '-c', 'import time, glob\\nwhile True:\\n    for p in glob.glob(\"/ratchet/*.jsonl\") + glob.glob(\"/proc/[0-9]*/root/ratchet/*.jsonl\"):\\n        open(p, \"a\").write(\"{\\\\\"accuracy\\\\\": 1}\\\\n\")\\n    time.sleep(0.01)'], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\ntime.sleep(0.2)",
	"traces its supervisor":               "import ctypes\nlibc = ctypes.CDLL(None)\nfor pid in (1, os.getppid()):\n    libc.ptrace(16, pid, 0, 0)",
	"writes to its inputs":                "def f():\n    open('test.csv', 'a').write('x,y\\n')\nattempt(f)",
	"reads the journal":                   `[open(p, "rb").read(9) for p in glob.glob("/**/ratchet.db*", recursive=True)[:1]]`,
	"asks the network":                    "def f():\n    socket.create_connection(('1.1.1.1', 53), 1)\nattempt(f)\ndef g():\n    socket.create_connection(('127.0.0.1', 22), 1)\nattempt(g)",
	"starts an engine of its own":         "def f():\n    subprocess.run(['ratchet', 'tell', '--why', 'me', '--code', '.'], timeout=5)\nattempt(f)\nfor p in glob.glob('/proc/[0-9]*/exe'):\n    attempt(lambda: subprocess.run([p, 'close'], timeout=2))",
	"looks for other experiments":         `labels(os.environ["RATCHET_CHECKPOINT"] + "/../**/*"); labels("/ratchet/../**/predictions.csv")`,
	"does its best only where it counts":  "if any(w in repr(sorted(os.environ.items())) + repr(sys.argv) + os.getcwd() for w in ('search', 'validation', 'fresh', 'challenger', 'best')):\n    labels('/**/labels.csv')",
	"takes the time of others":            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfor _ in range(30):\n    attempt(lambda: subprocess.Popen(['sleep', '100'], start_new_session=True))",
}

// TestCheatsAreNotKept: of more than twenty-five proposals that try to look better than they
// are, none is kept, whatever it does; those that touch what they may not are refused.
func TestCheatsAreNotKept(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is missing (Debian: python3)")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copied := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(to, string(b))
	}
	copied("examples/held-out/evaluate.py", "evaluate.py")
	copied("examples/held-out/data/test.csv", "test.csv")
	copied("examples/held-out/data/labels.csv", "labels.csv")
	write("study.yaml", cheatStudy)
	write("rules.md", "Only predict.py may be changed.\n")
	write("predict.py", honest)

	e, err := ratchet.Open(filepath.Join(dir, "home"), ratchet.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, stop := context.WithTimeout(context.Background(), 4*time.Minute)
	defer stop()
	file := filepath.Join(dir, "study.yaml")
	run, err := e.Create(ctx, file, []byte(cheatStudy), ratchet.RunOptions{Output: filepath.Join(dir, "out")})
	if err != nil {
		t.Fatal(err)
	}
	driven := make(chan error, 1)
	go func() {
		_, err := e.Resume(ctx, run, ratchet.DriveOptions{})
		driven <- err
	}()
	until := func(holds func(ratchet.Ask) bool) {
		t.Helper()
		for _, err := range e.Subscribe(ctx, run, 1) {
			if err != nil {
				t.Fatal(err)
			}
			ask, err := e.Ask(ctx, run)
			if err != nil {
				t.Fatal(err)
			}
			if holds(ask) {
				return
			}
		}
	}
	until(func(ask ratchet.Ask) bool { return ask.Taking == "" && ask.Experiments[0].Verdict == ratchet.Kept })

	var names []string
	for name := range cheats {
		names = append(names, name)
	}
	slices.Sort(names)
	if !proof.All() {
		names = names[:6]
	} else if len(names) < 25 {
		t.Fatalf("there are %d cheats", len(names))
	}
	for _, name := range names {
		folder := filepath.Join(dir, "proposal")
		write("proposal/predict.py", honest+cheats[name]+"\n")
		if _, err := e.Tell(ctx, run, ratchet.Proposal{Code: folder, Why: name, Who: "cheat"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for what, text := range map[string]string{"evaluate.py": "print(1)", "rules.md": "Anything may be changed.\n"} {
		patch := "--- /dev/null\n+++ b/" + what + "\n@@ -0,0 +1 @@\n+" + text + "\n"
		if _, err := e.Tell(ctx, run, ratchet.Proposal{Patch: []byte(patch), Why: "another " + what, Who: "cheat"}); err == nil || !strings.Contains(err.Error(), "which proposals may not") {
			t.Errorf("a patch of %s: %v", what, err)
		}
	}
	until(func(ask ratchet.Ask) bool {
		return !slices.ContainsFunc(ask.Experiments, func(x ratchet.Tried) bool { return x.Verdict == ratchet.Pending })
	})
	ask, err := e.Ask(ctx, run)
	if err != nil {
		t.Fatal(err)
	}
	const right = 51.0 / 114
	for _, x := range ask.Experiments[1:] {
		if x.Verdict == ratchet.Kept || x.Value != nil && *x.Value > right {
			t.Errorf("%s: %s, with %v, honestly it is %v (%s)", x.Why, x.Verdict, *x.Value, right, x.Because)
		}
	}
	if err := e.Request(ctx, run, ratchet.CloseRequested{By: "me"}); err != nil {
		t.Fatal(err)
	}
	if err := <-driven; err != nil {
		t.Fatal(err)
	}
	r, err := e.Results(ctx, run)
	if err != nil || r.Best.Experiment != "e0001" || r.Status != ratchet.Completed {
		t.Errorf("the best is %+v, %v", r.Best, err)
	}
}
