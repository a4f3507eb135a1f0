package environment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Interpreter is the Python that programs see, by its own word.
type Interpreter struct {
	Executable string            `json:"executable"`
	Version    string            `json:"version"`
	Prefix     string            `json:"prefix"`
	BasePrefix string            `json:"base_prefix"`
	Packages   map[string]string `json:"packages"`
}

// askPython asks an interpreter where it really is. It is asked in a sandbox
// like the program's own: the interpreter may be a stranger's. What a version
// manager puts into PATH is often a script that chooses one.
func (f *finder) askPython(ctx context.Context, path string) error {
	const question = `
import sys, json
from importlib import metadata
print(json.dumps({"executable": sys.executable, "version": sys.version.split()[0], "prefix": sys.prefix, "base_prefix": sys.base_prefix,
  "packages": {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}}))`
	home, _ := os.UserHomeDir()
	spec := &sandbox.Spec{
		Command: []string{path, "-I", "-c", question}, Isolation: f.isolation, ReadOnly: f.shown,
		Env: []string{"PATH=" + strings.Join(append(f.path, standardPath), ":"), "HOME=" + home, "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"},
		Limits: study.AttemptLimits{
			Time: study.Duration(30 * time.Second), Memory: 1 << 30, CPUs: 1, Disk: 64 << 20, Output: 4 << 20, Processes: 64, Network: study.NetworkNone,
		},
	}
	for _, name := range []string{"PYENV_VERSION", "ASDF_PYTHON_VERSION", "MISE_PYTHON_VERSION"} {
		if v := os.Getenv(name); v != "" {
			spec.Env = append(spec.Env, name+"="+v)
		}
	}
	out, err := shim.Ask(ctx, spec, f.choices)
	if err != nil {
		return ctx.Err() // not a Python that answers: taken as any other program
	}
	var p Interpreter
	if json.Unmarshal(bytes.TrimSpace(out), &p) != nil || !f.visible(filepath.Clean(p.Executable)) {
		return nil // it ran, and is not where it says
	}
	for _, text := range []*string{&p.Executable, &p.Version, &p.Prefix, &p.BasePrefix} {
		*text = research.Printable(*text, 500)
	}
	f.python = &p
	// In the place of what chose it, which in the program's sandbox, without the
	// user's home, may choose another.
	if bin := filepath.Dir(p.Executable); bin != filepath.Dir(path) {
		f.path = slices.DeleteFunc(f.path, func(dir string) bool { return dir == filepath.Dir(path) })
		f.prependPath(bin)
	}
	return nil
}

// choices puts the files by which version managers choose into a box: the
// nearest at or above the study's folder, or the user's own.
func (f *finder) choices(box string) error {
	home, _ := os.UserHomeDir()
	for _, name := range []string{".python-version", ".tool-versions", "mise.toml"} {
		dirs := []string{f.dir}
		for dir := f.dir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			dirs = append(dirs, filepath.Dir(dir))
		}
		for _, dir := range append(dirs, home) {
			text, err := readIn(dir, name)
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(box, sandbox.WorkFolder, name), []byte(text), 0o600); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func readIn(dir, name string) (string, error) {
	folder, err := untrusted.Open(dir)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	return readSmall(folder, name)
}

// mostSmall is the largest file that readSmall reads, in bytes.
const mostSmall = 64 << 10

// readSmall reads a text in a folder that may be a stranger's.
func readSmall(folder *untrusted.Folder, name string) (string, error) {
	file, info, err := folder.Follow(name)
	if err != nil {
		return "", err
	}
	defer file.Close() // only read from
	if info.Size > mostSmall {
		return "", errors.New("it is too long")
	}
	b, err := io.ReadAll(io.LimitReader(file, mostSmall))
	return string(b), err
}
