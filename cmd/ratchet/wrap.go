package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/internal/engine"
	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// wrapOptions are the flags of wrap.
type wrapOptions struct {
	name, budget, checkpoint, isolation, output, environment, interrupt, replay string
	tokens, calls                                                               int64
	inputs, allow, models                                                       []string
	ignore                                                                      []string
	tools                                                                       bool
	limit                                                                       time.Duration
	memory, disk                                                                string
	gpus                                                                        float64
	seed                                                                        int64
	retries                                                                     int
	detach                                                                      bool
}

func (a *app) wrapCommand() *cobra.Command {
	var o wrapOptions
	c := &cobra.Command{
		Use:   "wrap [flags] -- COMMAND…",
		Short: "Run any program, unmodified, as a run: contained, watched, its model calls recorded and capped",
		Long: `Wrap runs a program as a run of its own: in a sandbox, within limits, started
again when it crashes. Its model calls go through the gateway, which journals
each before it is sent; a program that was started again gets the answers it
has paid for out of the record. The program works on a copy of the files of the
working folder, and what it leaves there is in results/RUN/files at the end.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("which command? `ratchet wrap -- python agent.py`")}
			}
			return a.wrap(c.Context(), o, args)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVar(&o.name, "name", "", "name of the run (default: the program's)")
	f.StringVar(&o.budget, "budget", "", "what model calls may cost in all, like 5USD")
	f.Int64Var(&o.tokens, "tokens", 0, "how many tokens model calls may use in all")
	f.Int64Var(&o.calls, "calls", 0, "how many model calls may be made in all")
	f.StringVar(&o.checkpoint, "checkpoint", "", "folder of the working folder that survives a crash")
	f.StringVar(&o.isolation, "isolation", "strict", "walls around the program: strict, or process for limits only")
	f.StringSliceVar(&o.allow, "allow-network", nil, "hosts that the program may reach through a proxy, besides models: HOST (ports 80 and 443), HOST:PORT, or an address of this machine or its network (127.0.0.1:8000); '*' opens the machine's whole network")
	f.BoolVar(&o.tools, "tools", false, "record what the program fetches from those hosts, and what it asks of model providers at their own addresses")
	f.StringSliceVar(&o.inputs, "input", nil, "file or folder, seen read-only in the working folder instead of being copied: PATH or NAME=PATH")
	f.StringVar(&o.environment, "environment", "", "Python environment of the program (default $VIRTUAL_ENV, $CONDA_PREFIX or .venv)")
	f.StringSliceVar(&o.models, "allow-model", nil, "models that may be called, like openai/gpt-4o or anthropic/* (default: all)")
	f.StringVar(&o.replay, "replay", "resume", "what becomes of calls that are on record: resume, strict-replay (nothing new is sent) or off")
	f.StringArrayVar(&o.ignore, "ignore", nil, "parts of texts, as a regular expression, that do not make a request another one")
	f.StringVar(&o.output, "output-dir", "", "folder of the report and of what the program leaves (default results/RUN)")
	f.DurationVar(&o.limit, "time", 48*time.Hour, "how long the program may run")
	f.StringVar(&o.memory, "memory", "", "memory that it may use, like 16GiB (default three quarters of the machine's)")
	f.StringVar(&o.disk, "disk", "20GiB", "disk that it may use")
	f.Float64Var(&o.gpus, "gpus", 0, "GPUs that it needs")
	f.Int64Var(&o.seed, "seed", 0, "$RATCHET_SEED, with which Python's random begins in every attempt (default another for each run)")
	f.IntVar(&o.retries, "retries", 100, "how often it is started again after a crash")
	f.BoolVar(&o.detach, "detach", false, "go on in the background")
	f.StringVar(&o.interrupt, "on-interrupt", engine.Leave, "what an interrupt does to the program: leave it, to be picked up by resume, or stop it")
	return c
}

func (a *app) wrap(ctx context.Context, o wrapOptions, command []string) error {
	level, err := sandbox.ParseIsolation(o.isolation)
	if err != nil {
		return usageError{err}
	}
	if o.interrupt != engine.Leave && o.interrupt != engine.Stop {
		return usageError{fmt.Errorf("--on-interrupt is %q; it is leave or stop", o.interrupt)}
	}
	if o.budget != "" {
		if _, err := study.ParseMoney(o.budget); err != nil {
			return usageError{fmt.Errorf("--budget: %w", err)}
		}
	}
	for flag, size := range map[string]string{"--memory": o.memory, "--disk": o.disk} {
		if size == "" {
			continue
		}
		if _, err := study.ParseBytes(size); err != nil {
			return usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	if o.tools && slices.Contains(o.allow, "*") {
		return usageError{errors.New("--tools records what goes through the gateway, and --allow-network '*' leads round it; name the hosts, like --allow-network api.semanticscholar.org")}
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	inputs := o.inputsOf(dir)
	data, err := o.study(dir, inputs, command, level)
	if err != nil {
		return usageError{err}
	}
	options := ratchet.RunOptions{AllowInputs: slices.Collect(maps.Values(inputs)), Seed: cmp.Or(o.seed, 1+rand.Int64N(9999)), Output: o.output, Isolation: level}
	file := filepath.Join(dir, "the command line")
	if _, err := engine.Check(file, data, options); err != nil {
		return err
	}
	e, err := a.open(true)
	if err != nil {
		return err
	}
	defer e.Close()
	run, err := e.Create(ctx, file, data, options)
	if err != nil {
		return err
	}
	if o.detach {
		return a.detach(e, run)
	}
	return a.drive(ctx, e, run, ratchet.DriveOptions{OnInterrupt: o.interrupt})
}

// object is a mapping of a study file, in the order in which it is written.
type object = yaml.MapSlice

// study writes the study that a wrapped command is.
func (o wrapOptions) study(dir string, inputs map[string]string, command []string, level sandbox.Isolation) ([]byte, error) {
	environment, err := o.python(dir)
	if err != nil {
		return nil, err
	}
	files, err := wrapped(dir, inputs, environment)
	if err != nil {
		return nil, err
	}
	for i, arg := range command {
		command[i] = strings.NewReplacer("{", "{{", "}", "}}").Replace(arg)
	}
	program := object{{Key: "command", Value: command}, {Key: "files", Value: files}, {Key: "outputs", Value: []string{"."}}}
	add := func(to *object, key string, value any, there bool) {
		if there {
			*to = append(*to, yaml.MapItem{Key: key, Value: value})
		}
	}
	add(&program, "inputs", inputs, len(inputs) > 0)
	add(&program, "environment", environment, environment != "")
	add(&program, "checkpoint", o.checkpoint, o.checkpoint != "")
	memory := o.memory
	if memory == "" {
		memory = "4GiB"
		if m, err := mem.VirtualMemory(); err == nil {
			memory = study.Bytes(m.Total / 4 * 3 >> 20 << 20).String()
		}
	}
	attempt := object{
		{Key: "time", Value: o.limit.String()}, {Key: "memory", Value: memory}, {Key: "cpus", Value: runtime.NumCPU()},
		{Key: "disk", Value: o.disk}, {Key: "processes", Value: 4096}, {Key: "output", Value: "64MiB"},
	}
	add(&attempt, "gpus", o.gpus, o.gpus > 0)
	add(&attempt, "network", study.NetworkHost, slices.Contains(o.allow, "*") || level == sandbox.Process)
	run := object{}
	add(&run, "cost", o.budget, o.budget != "")
	add(&run, "tokens", o.tokens, o.tokens > 0)
	add(&run, "calls", o.calls, o.calls > 0)
	limits := object{{Key: "attempt", Value: attempt}}
	add(&limits, "run", run, len(run) > 0)
	models := object{{Key: "replay", Value: o.replay}}
	add(&models, "allow", o.models, len(o.models) > 0)
	add(&models, "ignore", object{{Key: "text", Value: o.ignore}}, len(o.ignore) > 0)
	file := object{
		{Key: "version", Value: study.Version}, {Key: "name", Value: o.runName(command[0])}, {Key: "program", Value: program},
		{Key: "models", Value: models}, {Key: "limits", Value: limits}, {Key: "retries", Value: object{{Key: "max", Value: o.retries}}},
	}
	tools := object{{Key: "record", Value: o.tools}}
	add(&tools, "hosts", o.allow, len(o.allow) > 0)
	add(&file, "tools", tools, (o.tools || len(o.allow) > 0) && !slices.Contains(o.allow, "*"))
	return yaml.Marshal(file)
}

// inputsOf are the inputs that the command line names: whoever writes it means
// them.
func (o wrapOptions) inputsOf(dir string) map[string]string {
	inputs := map[string]string{}
	for _, in := range o.inputs {
		name, path, ok := strings.Cut(in, "=")
		if !ok {
			path = name
			if rel, err := filepath.Rel(dir, absolute(dir, path)); err == nil && filepath.IsLocal(rel) {
				name = rel
			} else {
				name = filepath.Base(path)
			}
		}
		inputs[filepath.ToSlash(filepath.Clean(name))] = absolute(dir, path)
	}
	return inputs
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// runName makes a name of what was given, or of the program.
func (o wrapOptions) runName(program string) string {
	if o.name != "" {
		return o.name
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, filepath.Base(program))
	if name = strings.Trim(name, "-"); name == "" {
		return "wrap"
	}
	return name[:min(len(name), 40)]
}

// python is the Python environment that the program is to have.
func (o wrapOptions) python(dir string) (string, error) {
	if o.environment != "" {
		if _, err := os.Stat(o.environment); err != nil {
			return "", fmt.Errorf("--environment: %w", err)
		}
		return absolute(dir, o.environment), nil
	}
	for _, path := range []string{os.Getenv("VIRTUAL_ENV"), os.Getenv("CONDA_PREFIX"), filepath.Join(dir, ".venv")} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(path, "bin")); err == nil {
			return path, nil
		}
	}
	return "", nil
}

// left are files and folders of the working folder that no program needs a
// copy of; .env has keys in it that only the gateway is to have.
var left = []string{".git", ".ratchet", "results", ".venv", "venv", "__pycache__", "node_modules", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".env"}

// What of a working folder is copied at most.
const (
	mostWrapped      = 512 << 20 // bytes
	mostWrappedFiles = 20_000
)

// wrapped are the files and folders of a working folder that a program gets a
// copy of.
func wrapped(dir string, inputs map[string]string, environment string) ([]string, error) {
	folder, err := untrusted.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	out := []string{}
	var size, count int64
	sizes := map[string]int64{} // by the first name
	err = folder.Walk(func(e *untrusted.Entry, err error) error {
		top, _, below := strings.Cut(e.Path, "/")
		if _, isInput := inputs[top]; !below && (slices.Contains(left, top) || isInput || filepath.Join(dir, top) == environment) {
			return fs.SkipDir
		}
		if err == nil && !below && (e.Info.Mode.IsDir() || e.Info.Mode.IsRegular()) {
			out = append(out, top)
		}
		if err == nil && e.Info.Mode.IsRegular() {
			size += e.Info.Size
			sizes[top] += e.Info.Size
			count++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	largest := ""
	for top, n := range sizes {
		if n > sizes[largest] {
			largest = top
		}
	}
	if size > mostWrapped || count > mostWrappedFiles {
		return nil, fmt.Errorf("the working folder has %d files of %s in all, too much for a copy; show the largest read-only with --input %s, or start in the program's own folder", count, study.Bytes(size>>20<<20), largest)
	}
	return out, nil
}
