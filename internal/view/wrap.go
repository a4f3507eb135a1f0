package view

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Wrap says how a command becomes a run of its own; see `ratchet wrap`. Texts are
// as a study file has them.
type Wrap struct {
	Name          string   // of the run; "": the program's
	Budget        string   // what model calls may cost; "": no bound
	Tokens, Calls int64    // of model calls; 0: no bound
	Models        []string // that may be called; nil: all
	Replay        string   // what becomes of calls that are on record
	Ignore        []string // regular expressions: parts of texts that make no request another one
	Checkpoint    string   // folder that survives a crash; "": none
	Isolation     sandbox.Isolation
	Hosts         []string // that the program may reach; "*": the machine's network
	Tools         bool     // record what it fetches from them
	Inputs        []string // files and folders, PATH or NAME=PATH, seen read-only instead of being copied
	Environment   string   // Python environment; "": the one that is active, or .venv
	Time          time.Duration
	Memory, Disk  string // "" for Memory: three quarters of the machine's
	GPUs          float64
	Retries       int
}

// object is a mapping of a study file, in the order in which it is written.
type object = yaml.MapSlice

// Study writes the study that a wrapped command is. dir is its working folder;
// inputs are those of Inputs.
func (o Wrap) Study(dir string, inputs map[string]string, command []string) ([]byte, error) {
	environment, err := o.python(dir)
	if err != nil {
		return nil, err
	}
	files, err := wrapped(dir, inputs, environment)
	if err != nil {
		return nil, err
	}
	command = slices.Clone(command)
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
	add(&program, "checkpoint", o.Checkpoint, o.Checkpoint != "")
	memory := o.Memory
	if memory == "" {
		memory = "4GiB"
		if m, err := mem.VirtualMemory(); err == nil {
			memory = study.Bytes(m.Total / 4 * 3 >> 20 << 20).String()
		}
	}
	attempt := object{
		{Key: "time", Value: o.Time.String()}, {Key: "memory", Value: memory}, {Key: "cpus", Value: runtime.NumCPU()},
		{Key: "disk", Value: o.Disk}, {Key: "processes", Value: 4096}, {Key: "output", Value: "64MiB"},
	}
	add(&attempt, "gpus", o.GPUs, o.GPUs > 0)
	add(&attempt, "network", study.NetworkHost, slices.Contains(o.Hosts, "*") || o.Isolation == sandbox.Process)
	run := object{}
	add(&run, "cost", o.Budget, o.Budget != "")
	add(&run, "tokens", o.Tokens, o.Tokens > 0)
	add(&run, "calls", o.Calls, o.Calls > 0)
	limits := object{{Key: "attempt", Value: attempt}}
	add(&limits, "run", run, len(run) > 0)
	models := object{{Key: "replay", Value: o.Replay}}
	add(&models, "allow", o.Models, len(o.Models) > 0)
	add(&models, "ignore", object{{Key: "text", Value: o.Ignore}}, len(o.Ignore) > 0)
	file := object{
		{Key: "version", Value: study.Version}, {Key: "name", Value: o.runName(command[0])}, {Key: "program", Value: program},
		{Key: "models", Value: models}, {Key: "limits", Value: limits}, {Key: "retries", Value: object{{Key: "max", Value: o.Retries}}},
	}
	tools := object{{Key: "record", Value: o.Tools}}
	add(&tools, "hosts", o.Hosts, len(o.Hosts) > 0)
	add(&file, "tools", tools, (o.Tools || len(o.Hosts) > 0) && !slices.Contains(o.Hosts, "*"))
	return yaml.Marshal(file)
}

// InputsOf are the inputs, by their names in the working folder: those that are named,
// and a project's packages of Node.js.
func (o Wrap) InputsOf(dir string) map[string]string {
	inputs := map[string]string{}
	for _, in := range o.Inputs {
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
	if packages := packages(dir); packages != "" && inputs[nodeModules] == "" {
		inputs[nodeModules] = packages
	}
	return inputs
}

// nodeModules is the folder in which Node.js looks for packages.
const nodeModules = "node_modules"

// packages is the nearest folder of packages of Node.js at or above a folder, of a
// project there; "": none.
func packages(dir string) string {
	for {
		_, project := os.Stat(filepath.Join(dir, "package.json"))
		if info, err := os.Stat(filepath.Join(dir, nodeModules)); err == nil && info.IsDir() && project == nil {
			return filepath.Join(dir, nodeModules)
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// runName makes a name of what was given, or of the program.
func (o Wrap) runName(program string) string {
	if o.Name != "" {
		return o.Name
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
func (o Wrap) python(dir string) (string, error) {
	if o.Environment != "" {
		if _, err := os.Stat(o.Environment); err != nil {
			return "", fmt.Errorf("--environment: %w", err)
		}
		return absolute(dir, o.Environment), nil
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
var left = []string{".git", ".ratchet", "results", ".venv", "venv", "__pycache__", nodeModules, ".mypy_cache", ".pytest_cache", ".ruff_cache", ".env"}

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
