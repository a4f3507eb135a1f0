package draft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"ratchet/internal/attempt"
	"ratchet/internal/environment"
	"ratchet/internal/executor"
	"ratchet/internal/failure"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// trial is what came of trying a command.
type trial struct {
	wall       float64 // seconds
	memory     int64   // bytes
	ended      bool    // by itself
	exit       int
	failed     string // its last words; "": it succeeded
	candidates []candidate
	onErrors   bool // they are on standard error
	choices    map[string][]string
}

// How often a command is tried again with what it has missed, how long it is asked for
// its help, and how much of its output is read.
const (
	mostTries  = 12
	helpTime   = 20 * time.Second
	mostOutput = 4 << 20
)

// Try runs the command as it was given, in a sandbox without a network, for a time at
// most, and learns from what it does: its metrics, the files that it has not found, its
// time and memory, and from --help the values of its flags. It runs nothing outside of the
// sandbox, and leaves nothing behind. When ctx ends, the error is ctx's.
func (d *Draft) Try(ctx context.Context, longest time.Duration) error {
	var out *ran
	for range mostTries {
		var err error
		if out, err = d.run(ctx, d.original(), longest); err != nil {
			return err
		}
		if out.Exit == 0 && out.EndedBy == shim.ByItself || !d.add(out.words()) {
			break
		}
	}
	t := &trial{wall: out.Wall, memory: out.Memory, exit: out.Exit, ended: out.EndedBy == shim.ByItself && out.SetUp == ""}
	switch {
	case out.SetUp != "":
		t.failed = out.SetUp
	case t.ended && out.Exit != 0:
		t.failed = failure.Classify(failure.Evidence{Exit: out.Exit, Signal: out.Signal, Stderr: out.LastErr, Stdout: out.LastOut}).Message
	}
	d.tried = t
	var names []string
	if out.Series != nil {
		names = out.Series.Names()
	}
	printed, complained := candidatesIn(out.stdout), candidatesIn(out.stderr)
	switch {
	case len(names) > 0:
		t.candidates = reported(names)
	case len(printed) == 0 || choose(printed).more == nil && len(complained) > 0 && choose(complained).more != nil:
		t.candidates, t.onErrors = complained, len(complained) > 0
	default:
		t.candidates = printed
	}
	if t.failed != "" {
		d.note("When the command was tried, it failed: %s", t.failed)
	}
	if help, err := d.run(ctx, append(d.original(), "--help"), min(helpTime, longest)); err != nil {
		return err
	} else if text := string(help.stdout) + string(help.stderr); strings.Contains(text, "usage:") || strings.Contains(text, "Usage:") || strings.Contains(text, "Powered by Hydra") {
		t.choices = choicesIn(text)
	}
	return nil
}

// original is the command as it was given, with the inputs where the program sees them.
func (d *Draft) original() []string {
	out := make([]string, len(d.given))
	for i, w := range d.given {
		out[i] = w
		if i > 0 {
			out[i] = d.seen(w)
		}
	}
	return out
}

// ran is what a run of the command came to.
type ran struct {
	*executor.Outcome
	stdout, stderr []byte
}

func (r *ran) words() string { return r.LastErr + "\n" + r.LastOut }

// run runs a command once.
func (d *Draft) run(ctx context.Context, command []string, longest time.Duration) (*ran, error) {
	top, err := os.MkdirTemp("", "ratchet-init-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = untrusted.RemoveAll(top) }()
	store, err := objects.Open(filepath.Join(top, "store"))
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return nil, err
	}
	folder, err := untrusted.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	tree, err := store.PutPaths(folder, d.files, nil)
	if err != nil {
		return nil, err
	}
	files, err := store.PutTree(tree)
	if err != nil {
		return nil, err
	}
	limits := study.AttemptLimits{
		Time: study.Duration(longest), Grace: study.Duration(2 * time.Second), Memory: study.Bytes(environment.MemoryOf(ctx) / 4 * 3), CPUs: float64(runtime.NumCPU()), Disk: 20 << 30,
		Output: mostOutput, Processes: 4096, Network: study.NetworkNone,
	}
	st := &study.Study{Program: study.Program{Command: command}, Limits: study.Limits{Attempt: limits}}
	secrets := redact.OfEnvironment(os.Environ())
	env, err := environment.Inspect(ctx, &research.RunCreated{Study: st, Folder: dir, Isolation: string(sandbox.Strict)}, secrets)
	if err != nil {
		return nil, err
	}
	job := executor.Job{
		ID: "init-a1", Run: "init", Trial: "init", Attempt: 1, Command: command, Parameters: study.Params{}, Seed: 1, Limits: limits, Isolation: sandbox.Strict,
		ReadOnly: env.ReadOnly, Path: env.Path, Env: env.Variables, Files: string(files), Keep: executor.KeepTexts,
	}
	for _, in := range d.inputs {
		source, err := filepath.EvalSymlinks(study.Resolve(dir, in.source))
		if err != nil {
			return nil, err
		}
		job.Inputs = append(job.Inputs, sandbox.Bind{Source: source, Target: in.path})
	}
	at := filepath.Join(top, "attempt")
	if err := attempt.Pack(at, job, store); err != nil {
		return nil, err
	}
	out, err := attempt.Run(ctx, at, secrets)
	if err = errors.Join(ctx.Err(), err); err != nil {
		return nil, err
	}
	r := &ran{Outcome: out}
	if r.stdout, err = read(shim.Stdout(at), secrets); err == nil {
		r.stderr, err = read(shim.Stderr(at), secrets)
	}
	return r, err
}

func read(file string, secrets *redact.Redactor) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostOutput))
	return []byte(secrets.Text(string(b))), err
}

// add gives the program what it has not found; false: there is nothing to give.
func (d *Draft) add(words string) bool {
	before := len(d.files) + len(d.inputs)
	paths, modules := missingIn(words)
	for _, m := range modules {
		name := strings.ReplaceAll(strings.TrimPrefix(m, "./"), ".", "/")
		top, _, _ := strings.Cut(name, "/")
		if !slices.ContainsFunc([]string{name, name + ".py", top, top + ".py", name + ".js", name + ".mjs"}, d.takeOwn) {
			d.note("When it was tried, the program did not find the module %s: install it in the environment that `python3` is of", research.Printable(m, 60))
		}
	}
	for _, p := range paths {
		switch {
		case filepath.IsLocal(p) && d.takeOwn(p):
			d.note("%s was missing when the command was tried: is it all that the program reads there?", research.Printable(p, 100))
		case !filepath.IsLocal(p) && d.named(p) && d.take(p):
		default:
			d.note("When it was tried, the program did not find %s: give it under inputs", research.Printable(p, 100))
		}
	}
	return len(d.files)+len(d.inputs) > before
}

// takeOwn takes what is in the study's own folder.
func (d *Draft) takeOwn(path string) bool {
	before := len(d.files) + len(d.inputs)
	return filepath.IsLocal(path) && d.take(path) && len(d.files)+len(d.inputs) > before
}

// named reports whether the command has a path in its arguments.
func (d *Draft) named(path string) bool {
	return slices.ContainsFunc(d.given[1:], func(w string) bool { return w == path || strings.HasSuffix(w, "="+path) })
}

// Summary says what was learned, in a sentence or two; "": the command was not tried.
func (d *Draft) Summary() string {
	t := d.tried
	if t == nil {
		return ""
	}
	took := fmt.Sprintf("%s, %s of memory", study.Duration(time.Duration(t.wall*1e9).Round(time.Second/10)), study.Bytes(t.memory>>20<<20))
	var text string
	switch {
	case t.failed != "":
		text = fmt.Sprintf("tried the command: it failed with exit status %d (%s)", t.exit, t.failed)
	case !t.ended:
		text = fmt.Sprintf("tried the command: it was not done yet after %s", took)
	default:
		text = fmt.Sprintf("tried the command: it succeeded after %s", took)
	}
	if len(t.candidates) == 0 {
		return text + "; it printed nothing that looks like a metric"
	}
	best := choose(t.candidates)
	return fmt.Sprintf("%s; the metric is %s, to %s", text, best.name, best.goal())
}
