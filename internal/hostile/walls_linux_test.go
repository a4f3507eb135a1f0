package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/environment"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/proof"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// canary is what no program may see, and canaryValue a number of it.
const (
	canary      = "a canary that nobody may see"
	canaryValue = "987654321"
)

// canaries is a folder of this user alone that programs lead the engine to. It
// has the names that the engine looks for. check reports what has become of it.
func canaries(t *testing.T) (dir string, check func(h *haunted)) {
	t.Helper()
	dir = t.TempDir()
	files := map[string]string{
		"secret": canary, "deep/key": canary, "metrics.json": `{"pin": ` + canaryValue + `, "note": "` + canary + `"}`,
		"metrics.jsonl": `{"pin": ` + canaryValue + `, "` + canary + `": 1}` + "\n", "data": canary, "data.txt": canary,
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
		if err = errors.Join(err, os.Chtimes(path, time.Now().Add(-48*time.Hour), time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	stats := func() map[string][2]syscall.Timespec {
		out := map[string][2]syscall.Timespec{}
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			var s syscall.Stat_t
			if err = errors.Join(err, syscall.Lstat(path, &s)); err == nil && !e.IsDir() {
				out[path] = [2]syscall.Timespec{s.Atim, s.Ctim}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return out
	}
	before := stats()
	return dir, func(h *haunted) {
		t.Helper()
		after := stats()
		if len(after) != len(before) {
			t.Errorf("of %d canaries there are %d", len(before), len(after))
		}
		for path, was := range before {
			if after[path] != was {
				t.Errorf("%s was read or changed", path)
			}
		}
		for _, secret := range []string{canary, canaryValue} {
			if h != nil {
				h.nowhere(t, secret)
			}
		}
	}
}

// nowhere looks for a text in all that the home and the report have of a run.
func (h *haunted) nowhere(t *testing.T, text string) {
	t.Helper()
	for d, err := range h.engine.Objects.All() {
		if err != nil {
			t.Fatal(err)
		}
		if b, err := h.engine.Objects.Get(d); err != nil || bytes.Contains(b, []byte(text)) {
			t.Errorf("object %s has the canary (%v)", d, err)
		}
	}
	for r, err := range h.engine.Journal.Read(context.Background(), journal.Of(h.run), 1) {
		if err != nil || bytes.Contains(r.Payload, []byte(text)) {
			t.Errorf("record %s has the canary (%v)", r.Type, err)
		}
	}
	err := filepath.WalkDir(filepath.Join(h.Dir, "out"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			t.Errorf("%s has the canary", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// astray is a program that leads the engine to the canaries; $OUTSIDE is where
// they are.
type astray struct {
	name, program string // of sh
	more          string // of `program` in the study
	study         string // the rest of it
	want          research.Class
}

var strays = []astray{
	{name: "a link above an output", program: `ln -s "$OUTSIDE" a; mkdir b; echo mine > b/kept`, more: "outputs: [a/secret, a/deep, b]"},
	{name: "a link in place of an output", program: `ln -s "$OUTSIDE/secret" s; ln -s "$OUTSIDE" d`, more: "outputs: [s, d]"},
	{name: "a link in place of the working folder", program: `cd ..; mv work w2; ln -s "$OUTSIDE" work`, more: "outputs: [deep, secret]"},
	{name: "all outputs of another folder", program: `cd ..; mv work w2; ln -s "$OUTSIDE" work`, more: `outputs: ["."]`},
	{name: "a link above a metric's file", program: `ln -s "$OUTSIDE" a`, study: pin + "metrics: {pin: {file: a/metrics.json, key: pin}}", want: research.InvalidOutput},
	{name: "a link in place of the output folder", program: `mv "$RATCHET_OUTPUT" o2; ln -s "$OUTSIDE" "$RATCHET_OUTPUT"`, study: pin, want: research.InvalidOutput},
	{name: "a link in place of the metrics", program: `rm "$RATCHET_METRICS"; ln -s "$OUTSIDE/metrics.jsonl" "$RATCHET_METRICS"`, study: pin, want: research.InvalidOutput},
	{name: "a link in the checkpoint", program: `ln -s "$OUTSIDE" "$RATCHET_CHECKPOINT/a"; ln -s "$OUTSIDE/secret" "$RATCHET_CHECKPOINT/s"; exit 3`, want: research.ProgramFault},
	{name: "a link above the checkpoint", program: `cd ..; rm -rf w2; mv work w2; ln -s "$OUTSIDE" work; exit 3`, more: "checkpoint: deep", want: research.ProgramFault},
	// The mount point of the input is in the folder that the link replaces.
	{name: "a build that exchanges an input's folder", program: `mv a z; ln -s "$OUTSIDE" a`, more: "build: [sh, x.sh], inputs: {a/deep: data.txt}"},
	{name: "a build that leaves files in the way", program: `[ "$1" = build ] || exec cat a/deep a/b/kept/x; rm -rf a; echo file > a; echo 1 > "$RATCHET_CHECKPOINT/x"`, more: `build: [sh, x.sh, build], inputs: {a/deep: data.txt}, checkpoint: a/b/kept`, want: research.ProgramFault},
	{name: "a build that exchanges the working folder", program: `cd ..; mv work w2; ln -s "$OUTSIDE" work`, more: "build: [sh, x.sh], inputs: {deep: data.txt}"},
}

// pin makes a metric of the canaries the objective.
const pin = "objective: {metric: pin, goal: maximize}\nsearch: {method: random, experiments: 1}\nvalidation: {seeds: 2}\n"

func TestProgramsThatLeadAstray(t *testing.T) {
	for _, p := range strays {
		t.Run(p.name, func(t *testing.T) {
			outside, check := canaries(t)
			more := p.more
			if more != "" {
				more = ", " + more
			}
			study := fmt.Sprintf("version: 1\nname: astray\nprogram: {command: [sh, x.sh], files: [x.sh]%s}\nretries: {max: 1}\nlimits: {attempt: {disk: 64MiB}}\n%s", more, p.study)
			h := &haunted{Lab: enginetest.New(t, study, fmt.Sprintf("OUTSIDE=%q\n%s", outside, p.program))}
			h.engine = h.Open(engine.Options{})
			h.run = h.Create(h.engine)
			h.state = h.Drive(h.engine, h.run)
			if h.state.Status == "" {
				t.Errorf("the run did not end: %v", h.state.Pending)
			}
			if len(h.state.Experiments) > 0 && p.want != "" {
				if got := h.state.Experiments[0].Trials[0].Outcome; got != p.want {
					t.Errorf("it ended as %s", got)
				}
			}
			check(h)
			h.nothingLeft(t)
		})
	}
}

// TestAStrangersInterpreter: what a study's folder has for a Python is executed
// in a sandbox alone.
func TestAStrangersInterpreter(t *testing.T) {
	for name, program := range map[string]string{"environment": "command: [python3, x.sh], environment: env", "absolute": "command: [%s/env/bin/python3, x.sh], environment: env", "build": "command: [sh, x.sh], build: [python3, x.sh], environment: env"} {
		t.Run(name, func(t *testing.T) {
			outside, check := canaries(t)
			h := &haunted{Lab: enginetest.New(t, "", "exit 0")}
			if strings.Contains(program, "%s") {
				program = fmt.Sprintf(program, h.Dir)
			}
			bin := filepath.Join(h.Dir, "env", "bin")
			script := fmt.Sprintf("#!/bin/sh\n{ echo ran outside; env; cat %[1]s/secret; } > %[2]s/proof\n{ env; cat %[1]s/secret; } >&2\necho '{\"executable\": \"%[1]s/secret\", \"prefix\": \"%[1]s\", \"base_prefix\": \"%[1]s\", \"version\": \"9.9\"}'\n", outside, h.Dir)
			err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o755),
				os.WriteFile(filepath.Join(h.Dir, "env", "pyvenv.cfg"), []byte("home = "+outside+"\n"), 0o644))
			if err != nil {
				t.Fatal(err)
			}
			h.Write("study.yaml", "version: 1\nname: stranger\nprogram: {"+program+", files: [x.sh]}\nretries: {max: 0}\n")
			h.engine = h.Open(engine.Options{})
			h.run = h.Create(h.engine)
			h.state = h.Drive(h.engine, h.run)
			if b, err := os.ReadFile(filepath.Join(h.Dir, "proof")); err == nil {
				t.Errorf("the stranger's interpreter ran outside: %s", b)
			}
			check(h)
			var env environment.Environment
			b, err := h.engine.Objects.Get(objects.Digest(h.state.Created.Environment))
			if err = errors.Join(err, json.Unmarshal(b, &env)); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(env.ReadOnly, func(dir string) bool { return strings.HasPrefix(dir, outside) }) || strings.Contains(env.Path, outside) || env.Interpreter != nil {
				t.Errorf("the interpreter's word is believed: %+v", env)
			}
		})
	}
}

// TestStrangersFiles: what cannot be given to a program is refused by name.
func TestStrangersFiles(t *testing.T) {
	outside, check := canaries(t)
	h := &haunted{Lab: enginetest.New(t, "version: 1\nname: files\nprogram: {command: [sh, x.sh], files: [x.sh, data]}\n", "exit 0")}
	data := filepath.Join(h.Dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(string) error{
		"leads out of the folder by a link": func(p string) error { return os.Symlink(filepath.Join(outside, "secret"), p) },
		"is a named pipe":                   func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"is a link to a folder":             func(p string) error { return os.Symlink(".", p) },
	} {
		path := filepath.Join(data, "x")
		if err := place(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(h.File)
		if err != nil {
			t.Fatal(err)
		}
		_, err = engine.Check(h.File, text, engine.RunOptions{})
		if err == nil || !strings.Contains(err.Error(), `"data/x" `+name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	check(nil)
}

// TestCalmCheckpoints: a program replaces and removes files of its checkpoint all
// the time, each by a rename as the documentation advises, and its snapshots are
// of one moment: the files of one step, or of the next.
func TestCalmCheckpoints(t *testing.T) {
	h := &haunted{Lab: enginetest.New(t, `version: 1
name: calm
program: {command: [sh, x.sh], files: [x.sh]}
checkpoints: {attempt: 1s}
retries: {max: 0}
`, python(fmt.Sprintf(`
import os, time
os.chdir(os.environ["RATCHET_CHECKPOINT"])
end, n = time.time() + %d, 0
while time.time() < end:
    n += 1
    for name in ("a", "b"):
        with open("tmp", "w") as f: f.write(str(n) * 50000)
        os.rename("tmp", "step%%06d.%%s" %% (n, name))
        if n > 50: os.unlink("step%%06d.%%s" %% (n - 50, name))
    time.sleep(0.002)
`, proof.Of(3, 10))))}
	h.engine = h.Open(engine.Options{})
	h.run = h.Create(h.engine)
	h.state = h.Drive(h.engine, h.run)
	if h.state.Status != research.Completed {
		t.Errorf("the run ended as %s: %s", h.state.Status, h.state.Why)
	}
	snapshots := 0
	for r, err := range h.engine.Journal.Read(context.Background(), journal.Of(h.run), 1) {
		if err != nil {
			t.Fatal(err)
		}
		p, err := research.Decode(r.Type, r.Version, r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		c, ok := p.(research.AttemptCheckpointed)
		if !ok {
			continue
		}
		snapshots++
		h.ofOneMoment(t, c.Snapshot)
	}
	if snapshots == 0 {
		t.Error("no snapshot was taken")
	}
}

// ofOneMoment: a snapshot of the calm program has, of each step that it has, both
// files, but for the step that was being written or removed; all are whole, and
// no step between the first and the last is missing.
func (h *haunted) ofOneMoment(t *testing.T, snapshot string) {
	t.Helper()
	tree, err := h.engine.Objects.Tree(objects.Digest(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string]int{}
	for _, f := range tree {
		if f.Path == "tmp" {
			continue
		}
		step, _, _ := strings.Cut(strings.TrimPrefix(f.Path, "step"), ".")
		steps[step]++
		var b bytes.Buffer
		if err := h.engine.Objects.CopyFile(&b, f); err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat(strings.TrimLeft(step, "0"), 50000)
		if b.String() != want {
			t.Errorf("%s is not whole: %d bytes", f.Path, b.Len())
		}
	}
	names := slices.Sorted(maps.Keys(steps))
	if len(names) < 1 || len(names) > 52 {
		t.Errorf("it has %d steps", len(names))
	}
	for i, name := range names {
		first, err1 := strconv.Atoi(names[0])
		n, err2 := strconv.Atoi(name)
		if err := errors.Join(err1, err2); err != nil || n != first+i {
			t.Fatalf("it has the steps %v (%v)", names, err)
		}
		if steps[name] != 2 && i != 0 && i != len(names)-1 {
			t.Errorf("step %s has %d files of 2", name, steps[name])
		}
	}
}

// swaps changes the program's folders at random, in several processes, as one
// would that wants the engine to come to another: $1 changes in all, links to
// $OUTSIDE among them.
const swaps = `
cat > swaps.py <<'END'
import ctypes, os, random, sys
libc = ctypes.CDLL(None)
outside, n = os.environ["OUTSIDE"], int(sys.argv[1]) // 4
roots = [os.environ[v] for v in ("RATCHET_OUTPUT", "RATCHET_CHECKPOINT")] + [os.getcwd()]
above = os.path.dirname(roots[0])
workers = [os.fork() for _ in range(2)]  # four processes
r = random.Random(os.getpid())
names = ["a", "b", "c", "deep", "in"]
def path():
    if sys.argv[2] != "build" and r.random() < 0.02:
        return os.path.join(above, r.choice(["output", "work", "metrics.jsonl", "metrics.json", "w"]))
    p = r.choice(roots)
    for _ in range(r.randint(1, 3)): p = os.path.join(p, r.choice(names))
    return p
def write(p):
    f = os.open(p, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK)  # waits at no pipe
    os.write(f, b'{"pin": 1}')
    os.close(f)
def lock(p, mode):
    if not os.path.islink(p): os.chmod(p, mode)
links = [outside, outside + "/secret", "..", "../..", "/", "/proc/self/root", "/proc/1/root" + outside, "a", "deep"]
steps = [
    lambda: libc.renameat2(-100, path().encode(), -100, path().encode(), 2),
    lambda: libc.renameat2(-100, path().encode(), -100, path().encode(), 2),
    lambda: os.rename(path(), path()),
    lambda: os.symlink(r.choice(links), path()),
    lambda: os.symlink(r.choice(links), path()),
    lambda: os.mkdir(path()),
    lambda: os.mkdir(path()),
    lambda: write(path()),
    lambda: os.link(path(), path()),
    lambda: os.mkfifo(path()),
    lambda: os.unlink(path()),
    lambda: os.rmdir(path()),
    lambda: lock(path(), r.choice([0, 0o755, 0o755])),
]
for _ in range(n):
    try: r.choice(steps)()
    except (OSError, UnicodeError): pass
if all(workers):
    for w in workers: os.waitpid(w, 0)
    sys.exit(3 if os.environ.get("RATCHET_ATTEMPT") == "1" and sys.argv[2] != "build" else 0)
else:
    os._exit(0)
END
`

// TestSwappingPrograms: whatever a program makes of its folders, while it builds,
// while snapshots are taken and sizes are measured, and when all is collected, the
// engine comes to nothing of the host's.
func TestSwappingPrograms(t *testing.T) {
	outside, check := canaries(t)
	changes := proof.Of(12_000, 1_000_000)
	study := `version: 1
name: swaps
program: {command: [sh, x.sh, "{seed}"], files: [x.sh], build: [sh, x.sh, build], inputs: {in/deep: data.txt, deep/a: in}, outputs: [a, deep/b, in, "."], checkpoint: a/kept}
objective: {metric: pin, goal: maximize}
metrics: {pin: {file: deep/metrics.json, key: pin}}
search: {method: random, experiments: 2}
validation: {seeds: 2}
checkpoints: {attempt: 1s}
retries: {max: 1}
parallel: 2
limits: {attempt: {time: 10m, disk: 64MiB, processes: 20}}
`
	// A third each for the build, an attempt that fails, and the one after it.
	h := &haunted{Lab: enginetest.New(t, study, fmt.Sprintf("export OUTSIDE=%q\n%sexec python3 swaps.py %d $1\n", outside, swaps, changes/3))}
	t.Cleanup(func() { // locked folders included
		if err := untrusted.RemoveAll(h.Home()); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(filepath.Join(h.Dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.engine = h.Open(engine.Options{})
	h.run = h.Create(h.engine)
	h.state = h.Drive(h.engine, h.run)
	if !h.state.Ended() {
		t.Errorf("the run did not end: %v", h.state.Pending)
	}
	check(h)
	h.nothingLeft(t)
}
