// Package environment is what of this machine a program sees and its result may
// depend on: hardware, interpreter, folders, inputs outside the study's folder.
package environment

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/home"
	"ratchet/internal/redact"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
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
	Path        string              `json:"path"`                // PATH of programs
	ReadOnly    []string            `json:"read_only"`           // folders that programs see besides the system's
	Variables   []string            `json:"variables,omitempty"` // by which programs find packages, NAME=value
	Release     string              `json:"ratchet"`
	Code        []research.Code     `json:"code"` // of folders in git repositories
}

// standardPath is where every system has its programs.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Inspect records the machine and finds the folders outside the system's own
// that the program needs to be seen in a sandbox.
func Inspect(ctx context.Context, c *research.RunCreated, secrets *redact.Redactor) (Environment, error) {
	env := Environment{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GPUs: gpus(ctx),
		Limits: c.Study.Limits.Attempt, Isolation: c.Isolation, Release: home.Release, ReadOnly: []string{},
	}
	if info, err := host.InfoWithContext(ctx); err == nil {
		env.OS, env.Kernel = strings.TrimSpace(info.Platform+" "+info.PlatformVersion), info.KernelVersion
	}
	env.Memory = MemoryOf(ctx)
	if info, err := cpu.InfoWithContext(ctx); err == nil && len(info) > 0 {
		env.CPU = info[0].ModelName
	}
	env.Code = codeOf(ctx, c, secrets)
	f := finder{isolation: sandbox.Isolation(c.Isolation), dir: c.Folder}
	if p := c.Study.Program.Environment; p != "" {
		root := study.Resolve(c.Folder, p)
		f.show(root)
		f.path = append(f.path, filepath.Join(root, "bin"))
		f.base(root)
		env.Variables = activation(root)
		for _, e := range editables(root) {
			f.show(e.Folder)
		}
	}
	asked := false
	names := []string{c.Study.Program.Command[0], first(c.Study.Program.Build), "python3", "python"}
	if _, packages := packagesOf(f.lookPath(names[0])); packages {
		names = append(names, "node") // which a package's programs are for
	}
	for _, name := range names {
		found, err := f.find(name)
		if err == nil && !asked && strings.HasPrefix(filepath.Base(found), "python") {
			asked, err = true, f.askPython(ctx, found)
		}
		if err != nil {
			return env, err
		}
	}
	env.Variables = append(env.Variables, f.packages()...)
	env.Interpreter = f.python
	env.ReadOnly = append(env.ReadOnly, f.shown...)
	env.Path = strings.Join(append(f.path, standardPath), ":")
	return env, nil
}

// MemoryOf is the machine's memory, in bytes; 0: it does not say.
func MemoryOf(ctx context.Context) int64 {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0
	}
	return int64(m.Total)
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
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
