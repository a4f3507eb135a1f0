package environment

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
)

// finder looks programs up as the user's shell would and notes what must be
// visible for them to run. What it finds may be a stranger's: it executes
// nothing.
type finder struct {
	isolation sandbox.Isolation
	dir       string // the study's folder
	path      []string
	shown     []string
	python    *Interpreter
}

// find notes what a program needs; what it does not find, the sandbox says, with
// the PATH it looked in.
func (f *finder) find(name string) (found string, err error) {
	if name == "" || strings.Contains(name, "/") && !filepath.IsAbs(name) {
		return "", nil // nothing, or a file of the program itself
	}
	if found = f.lookPath(name); found == "" || inSystem(found) && !filepath.IsAbs(name) {
		return found, nil
	}
	resolved, err := filepath.EvalSymlinks(found)
	if err != nil {
		return "", fmt.Errorf("looking up %s: %w", name, err)
	}
	f.prependPath(filepath.Dir(found))
	for _, path := range []string{found, resolved} {
		prefix := prefixOf(path)
		f.show(prefix)
		f.base(prefix) // where it is an environment of a tool's own, as pipx and uv make them
	}
	return found, nil
}

// lookPath finds a program in the study's environment or the user's PATH.
func (f *finder) lookPath(name string) string {
	paths := []string{name}
	if !filepath.IsAbs(name) {
		paths = nil
		for _, dir := range append(slices.Clone(f.path), filepath.SplitList(os.Getenv("PATH"))...) {
			if filepath.IsAbs(dir) {
				paths = append(paths, filepath.Join(dir, name))
			}
		}
	}
	for _, path := range paths {
		if isExecutable(path) {
			return path
		}
	}
	return ""
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// prependPath puts a folder in front of PATH.
func (f *finder) prependPath(dir string) {
	if !slices.Contains(f.path, dir) && !slices.Contains(filepath.SplitList(standardPath), dir) {
		f.path = append(f.path, dir)
	}
}

// show makes a folder visible, unless it is already, or is too much to show.
func (f *finder) show(path string) {
	home, _ := os.UserHomeDir() // "" where there is none
	if path == "" || f.visible(path) || path == "/" || path == home || filepath.Dir(path) == "/" {
		return
	}
	f.shown = append(f.shown, path)
}

// visible reports whether a path is visible.
func (f *finder) visible(path string) bool {
	return inSystem(path) || slices.ContainsFunc(f.shown, func(s string) bool { return within(path, s) })
}

// prefixOf is the folder of an installation that a program in its bin folder
// belongs to, or the packages that it is one of; where that would show too much, as
// ~/.local, the program alone.
func prefixOf(path string) string {
	if packages, ok := packagesOf(path); ok {
		return packages
	}
	bin := filepath.Dir(path)
	prefix := filepath.Dir(bin)
	home, _ := os.UserHomeDir()
	if base := filepath.Base(bin); base != "bin" && base != "shims" && base != "condabin" || prefix == home || prefix == filepath.Join(home, ".local") {
		return path
	}
	return prefix
}

// packagesOf is the outermost node_modules that a path lies in: a package of Node.js
// finds what it needs beside itself.
func packagesOf(path string) (string, bool) {
	const folder = "/node_modules"
	i := strings.Index(path, folder+"/")
	if i <= 0 {
		return "", false
	}
	return path[:i+len(folder)], true
}

// inSystem reports whether every sandbox sees a path anyway.
func inSystem(path string) bool {
	return slices.ContainsFunc([]string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix/store", "/gnu/store"}, func(dir string) bool { return within(path, dir) })
}

// base shows the installation that a virtual environment was made of, as it
// says itself in pyvenv.cfg (PEP 405). A file can say anything: what is shown is
// a Python's, or nothing.
func (f *finder) base(environment string) {
	folder, err := untrusted.Open(environment)
	if err != nil {
		return
	}
	defer folder.Close()
	text, err := readSmall(folder, "pyvenv.cfg")
	if err != nil {
		return
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, "=")
		bin := strings.TrimSpace(value)
		if strings.TrimSpace(key) != "home" || !filepath.IsAbs(bin) {
			continue
		}
		programs, _ := filepath.Glob(filepath.Join(prefixOf(filepath.Join(bin, "python3")), "lib", "python3*"))
		if isExecutable(filepath.Join(bin, "python3")) && len(programs) > 0 {
			f.show(prefixOf(filepath.Join(bin, "python3")))
		}
	}
}
