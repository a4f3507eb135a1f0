package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/research"
	"ratchet/study"
)

// Environment is what a result may depend on besides the study: the content
// of environment.json.
type Environment struct {
	OS          string              `json:"os"`
	Kernel      string              `json:"kernel"`
	Arch        string              `json:"arch"`
	CPU         string              `json:"cpu"`
	CPUs        int                 `json:"cpus"`
	Memory      int64               `json:"memory_bytes"`
	GPUs        []string            `json:"gpus"`
	Interpreter *Interpreter        `json:"interpreter,omitempty"`
	Limits      study.AttemptLimits `json:"limits"`
	Isolation   string              `json:"isolation"`
	Path        string              `json:"path"`      // PATH of programs
	ReadOnly    []string            `json:"read_only"` // folders that programs see besides the system's
	Release     string              `json:"ratchet"`
}

// Interpreter is the Python that programs see.
type Interpreter struct {
	Executable string            `json:"executable"`
	Version    string            `json:"version"`
	Prefix     string            `json:"prefix"`
	BasePrefix string            `json:"base_prefix"`
	Packages   map[string]string `json:"packages"`
}

// standardPath is where every system has its programs.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// inspect records the machine and finds the folders outside the system's own
// that the program needs to be seen in a sandbox.
func inspect(ctx context.Context, c *research.RunCreated) (Environment, error) {
	env := Environment{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GPUs: gpus(ctx),
		Limits: c.Study.Limits.Attempt, Isolation: c.Isolation, Release: Release, ReadOnly: []string{},
	}
	if info, err := host.InfoWithContext(ctx); err == nil {
		env.OS, env.Kernel = strings.TrimSpace(info.Platform+" "+info.PlatformVersion), info.KernelVersion
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		env.Memory = int64(m.Total)
	}
	if info, err := cpu.InfoWithContext(ctx); err == nil && len(info) > 0 {
		env.CPU = info[0].ModelName
	}
	f := finder{dir: c.Folder}
	if p := c.Study.Program.Environment; p != "" {
		root := study.Resolve(c.Folder, p)
		f.show(root)
		f.path = append(f.path, filepath.Join(root, "bin"))
	}
	for _, name := range []string{c.Study.Program.Command[0], first(c.Study.Program.Build), "python3", "python"} {
		if err := f.find(ctx, name); err != nil {
			return env, err
		}
	}
	env.Interpreter = f.python
	env.ReadOnly = append(env.ReadOnly, f.shown...)
	env.Path = strings.Join(append(f.path, standardPath), ":")
	return env, nil
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// finder looks programs up as the user's shell would and notes what must be
// visible for them to run.
type finder struct {
	dir    string // the study's folder
	path   []string
	shown  []string
	python *Interpreter
}

func (f *finder) find(ctx context.Context, name string) error {
	if name == "" || strings.Contains(name, "/") && !filepath.IsAbs(name) {
		return nil // nothing, or a file of the program itself
	}
	found := f.look(name)
	if found == "" {
		return nil // the sandbox says so, with the PATH it looked in
	}
	if strings.HasPrefix(filepath.Base(name), "python") && f.python == nil {
		if err := f.askPython(ctx, found); err != nil {
			return err
		}
		if f.python != nil {
			return nil
		}
	}
	if inSystem(found) && !filepath.IsAbs(name) {
		return nil
	}
	resolved, err := filepath.EvalSymlinks(found)
	if err != nil {
		return fmt.Errorf("looking up %s: %w", name, err)
	}
	f.lead(filepath.Dir(found))
	f.show(prefixOf(found))
	f.show(prefixOf(resolved))
	return nil
}

// look finds a program in the study's environment or the user's PATH.
func (f *finder) look(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	for _, dir := range append(slices.Clone(f.path), filepath.SplitList(os.Getenv("PATH"))...) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// askPython asks an interpreter where it really is. What a version manager
// puts into PATH is often a script that chooses one; it is asked in the
// study's folder, where the choice may depend on a file.
func (f *finder) askPython(ctx context.Context, path string) error {
	const question = `
import sys, json
from importlib import metadata
print(json.dumps({"executable": sys.executable, "version": sys.version.split()[0], "prefix": sys.prefix, "base_prefix": sys.base_prefix,
  "packages": {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}}))`
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-I", "-c", question)
	cmd.Dir = f.dir
	out, err := cmd.Output()
	var p Interpreter
	if err == nil {
		err = json.Unmarshal(bytes.TrimSpace(out), &p)
	}
	if err != nil {
		return ctx.Err() // not a Python that answers: taken as any other program
	}
	f.python = &p
	if !inSystem(p.Executable) {
		f.lead(filepath.Dir(p.Executable))
	}
	for _, dir := range []string{p.Prefix, p.BasePrefix} {
		f.show(dir)
	}
	if resolved, err := filepath.EvalSymlinks(p.Executable); err == nil {
		f.show(prefixOf(resolved))
	}
	return nil
}

// lead puts a folder in front of PATH.
func (f *finder) lead(dir string) {
	if !slices.Contains(f.path, dir) && !slices.Contains(filepath.SplitList(standardPath), dir) {
		f.path = append(f.path, dir)
	}
}

// show makes a folder visible, unless it is already, or is too much to show.
func (f *finder) show(path string) {
	home, _ := os.UserHomeDir() // "" where there is none
	if path == "" || inSystem(path) || path == "/" || path == home || filepath.Dir(path) == "/" {
		return
	}
	for _, s := range f.shown {
		if path == s || strings.HasPrefix(path, s+"/") {
			return
		}
	}
	f.shown = append(f.shown, path)
}

// prefixOf is the folder of an installation that a program in its bin folder
// belongs to; where that would show too much, as ~/.local, the program alone.
func prefixOf(path string) string {
	bin := filepath.Dir(path)
	prefix := filepath.Dir(bin)
	home, _ := os.UserHomeDir()
	if base := filepath.Base(bin); base != "bin" && base != "shims" || prefix == home || prefix == filepath.Join(home, ".local") {
		return path
	}
	return prefix
}

// inSystem reports whether every sandbox sees a path anyway.
func inSystem(path string) bool {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix/store", "/gnu/store"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// gpus names the machine's NVIDIA GPUs; none where there is no driver.
func gpus(ctx context.Context) []string {
	out := []string{}
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, path, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader").Output()
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
