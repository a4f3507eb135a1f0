package study

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/untrusted"
)

// checkOnDisk complains about files that the study names and that are not
// there, or are not what they should be. dir is the study file's folder.
func (p *parsing) checkOnDisk(dir string) {
	s := p.s
	p.checkFilesOnDisk(dir)
	p.checkWrittenOnDisk(dir)
	for _, in := range s.AllInputs() {
		if in.Source == "" {
			continue // complained about already
		}
		if info, err := os.Stat(in.Locate(dir)); err != nil {
			p.Complain(p.at["input "+in.Path], fmt.Sprintf("the input %q is not there", in.Source), "looked at %s", in.Locate(dir))
		} else if !info.Mode().IsRegular() && !info.IsDir() {
			p.Complain(p.at["input "+in.Path], fmt.Sprintf("the input %q is neither a file nor a folder", in.Source), "name a regular file or a folder")
		}
	}
	p.checkCommands(dir)
	if env := s.Program.Environment; env != "" {
		if info, err := os.Stat(Resolve(dir, env)); err != nil || !info.IsDir() {
			p.Complain(p.at["program"], fmt.Sprintf("the environment %q is not a folder", env), "looked at %s", Resolve(dir, env))
		}
	}
}

// checkFilesOnDisk complains about what is among the program's files and cannot
// be given to it.
func (p *parsing) checkFilesOnDisk(dir string) {
	folder, err := untrusted.Open(dir)
	if err != nil {
		p.Complain(p.at["program"], fmt.Sprintf("the study file's folder %s cannot be opened", dir), "%s", err)
		return
	}
	defer folder.Close()
	g := &p.s.Program
	g.Files = p.matched(dir, g.Files)
	p.checkTaken(folder, dir, g.Files, &g.Inputs)
	if e := p.s.Evaluation; e != nil {
		e.Files = p.matched(dir, e.Files)
		p.checkTaken(folder, dir, e.Files, &e.Inputs)
	}
}

// checkTaken complains about what is among files and cannot be taken. A link to what
// is an input, or in one, becomes an input in the link's place.
func (p *parsing) checkTaken(folder *untrusted.Folder, dir string, files []string, inputs *[]Input) {
	for _, f := range files {
		if !filepath.IsLocal(f) {
			continue // complained about already
		}
		var unfit *untrusted.UnfitError
		var err error
		for {
			unfit = nil
			err = folder.VisitFiles([]string{f}, func(path string) bool { return hasInput(*inputs, path) },
				func(string, func() (*os.File, untrusted.Info, error)) error { return nil })
			if !errors.As(err, &unfit) || unfit.Goal == "" {
				break
			}
			in, ok := linked(dir, *inputs, unfit)
			if !ok {
				break
			}
			*inputs = append(*inputs, in)
			p.at["input "+in.Path] = p.at["file "+f]
		}
		switch {
		case unfit != nil && unfit.Goal != "":
			p.Complain(p.at["file "+f], unfit.Error(), "copy here what it stands for, or declare it in its place: `program: {inputs: {%s: %s}}`", unfit.Path, goal(unfit.Path, unfit.Goal))
		case unfit != nil:
			p.Complain(p.at["file "+f], unfit.Error(), "a program gets regular files, and links within the study's folder to such; remove it, copy what it stands for here, or declare that under program.inputs")
		case errors.Is(err, fs.ErrNotExist):
			p.Complain(p.at["file "+f], fmt.Sprintf("the file %q is not there", f), "paths are relative to the study file's folder")
		case err != nil:
			p.Complain(p.at["file "+f], fmt.Sprintf("the file %q cannot be read", f), "%s", err)
		}
	}
}

// linked is the input that a link stands for; false: what it leads to is in none.
func linked(dir string, inputs []Input, link *untrusted.UnfitError) (Input, bool) {
	to, err := filepath.EvalSymlinks(Resolve(dir, goal(link.Path, link.Goal)))
	if err != nil {
		return Input{}, false
	}
	for _, in := range inputs {
		if of, err := filepath.EvalSymlinks(in.Locate(dir)); err == nil && within(to, of) {
			return Input{Path: link.Path, Source: to, Hash: in.Hash}, true
		}
	}
	return Input{}, false
}

// matched puts in the place of patterns, as filepath.Match has them, what they match in
// a folder; a file that has such a name is meant itself.
func (p *parsing) matched(dir string, files []string) (out []string) {
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f)); err == nil || !strings.ContainsAny(f, "*?[") || !filepath.IsLocal(f) {
			out = append(out, f)
			continue
		}
		found, err := filepath.Glob(filepath.Join(globbed.Replace(dir), f))
		switch {
		case err != nil:
			p.Complain(p.at["file "+f], fmt.Sprintf("the pattern %q cannot be read", f), "* stands for any name, ? for a character, [a-z] for one of some")
		case len(found) == 0:
			p.Complain(p.at["file "+f], fmt.Sprintf("the pattern %q matches no file", f), "paths are relative to the study file's folder")
		}
		for _, path := range found {
			if rel, err := filepath.Rel(dir, path); err == nil && !slices.Contains(out, filepath.ToSlash(rel)) {
				rel = filepath.ToSlash(rel)
				p.at["file "+rel] = p.at["file "+f]
				out = append(out, rel)
			}
		}
	}
	return out
}

// globbed keeps a folder's own name from being a pattern.
var globbed = strings.NewReplacer("\\", "\\\\", "*", "\\*", "?", "\\?", "[", "\\[")

// goal is where a link in a study's folder leads: absolute, or from that folder.
func goal(link, to string) string {
	if filepath.IsAbs(to) {
		return to
	}
	return filepath.Join(filepath.Dir(link), to)
}

// checkCommands complains about a command, or build command, that is not there
// or cannot be executed, as far as that can be known before it is built.
func (p *parsing) checkCommands(dir string) {
	g := p.s.Program
	for _, c := range []struct {
		key   string
		words []string
	}{{"command", g.Command}, {"build", g.Build}} {
		if len(c.words) == 0 || c.words[0] == "" || strings.ContainsAny(c.words[0], "{}") {
			continue
		}
		name, at := c.words[0], p.at[c.key]
		switch {
		case !strings.Contains(name, "/"):
			if !onPath(name, dir, g.Environment) {
				p.Complain(at, fmt.Sprintf("the program %q is not found in $PATH", name), "install it, or give its path")
			}
		case filepath.IsAbs(name):
			path, err := filepath.EvalSymlinks(name)
			if err != nil {
				p.Complain(at, fmt.Sprintf("the program %q is not there", name), "install it, or correct the path")
				continue
			}
			p.checkExecutable(at, name, "/", strings.TrimPrefix(path, "/"))
		case c.key == "command" && len(g.Build) > 0:
			// It may be there when the program has been built.
		case g.has(name):
			p.checkExecutable(at, name, dir, name)
		default:
			p.Complain(at, fmt.Sprintf("the program %q is not among program.files", name), "add it there")
		}
	}
}

// has reports whether the program's files or inputs include a path, itself or
// by a folder above it.
func (g Program) has(path string) bool {
	path = filepath.ToSlash(filepath.Clean(path))
	within := func(f string) bool { return f == "." || path == f || strings.HasPrefix(path, f+"/") }
	return slices.ContainsFunc(g.Files, within) || slices.ContainsFunc(g.Inputs, func(in Input) bool { return within(in.Path) })
}

// HasInput reports whether a path of the working folder is an input, or in one.
func (g Program) HasInput(path string) bool { return hasInput(g.Inputs, path) }

// HasInput reports whether a path of the evaluation's working folder is an input, or
// in one.
func (e Evaluation) HasInput(path string) bool { return hasInput(e.Inputs, path) }

func hasInput(inputs []Input, path string) bool {
	return slices.ContainsFunc(inputs, func(in Input) bool { return path == in.Path || strings.HasPrefix(path, in.Path+"/") })
}

// onPath reports whether a program is in the study's environment or the
// user's PATH.
func onPath(name, dir, environment string) bool {
	if environment != "" {
		if _, err := os.Stat(filepath.Join(Resolve(dir, environment), "bin", name)); err == nil {
			return true
		}
	}
	_, err := exec.LookPath(name)
	return err == nil
}

// checkExecutable complains about a file that the kernel will not execute. path
// is below dir, and may lead through links that stay there.
func (p *parsing) checkExecutable(at ast.Node, name, dir, path string) {
	folder, err := untrusted.Open(dir)
	if err != nil {
		return
	}
	defer folder.Close()
	f, info, err := folder.Follow(path)
	switch {
	case errors.Is(err, untrusted.ErrNotRegular):
		p.Complain(at, fmt.Sprintf("the program %q is not a regular file", name), "name a file")
		return
	case err != nil:
		// An input that is elsewhere, a missing file that was complained about
		// already, or one that may be executed and not read.
		return
	}
	defer f.Close()
	if info.Mode&0o111 == 0 {
		p.Complain(at, fmt.Sprintf("the program %q is not executable", name), "set its x bit or name its interpreter, [python3, %s]", name)
		return
	}
	head := make([]byte, 256)
	n, _ := io.ReadFull(f, head) // a shorter file is as good
	if bytes.HasPrefix(head[:n], []byte(elf.ELFMAG)) {
		p.checkMachine(at, name, f)
		return
	}
	line, script := strings.CutPrefix(string(head[:n]), "#!")
	if !script {
		return
	}
	line, _, _ = strings.Cut(line, "\n")
	if words := strings.Fields(line); len(words) == 0 || !filepath.IsAbs(words[0]) {
		p.Complain(at, fmt.Sprintf("the first line of %q names no interpreter", name), "write #!/bin/sh or the like")
	} else if _, err := os.Stat(words[0]); err != nil {
		p.Complain(at, fmt.Sprintf("the interpreter of %q, %s, is not there", name, words[0]), "install it, or change the first line of the file")
	} else if len(words) == 2 && filepath.Base(words[0]) == "env" && !onPath(words[1], dir, "") {
		p.Complain(at, fmt.Sprintf("the interpreter of %q, %s, is not found in $PATH", name, words[1]), "install it, or change the first line of the file")
	}
}

// machines are the processors of the platforms that Go names so.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkMachine complains about a program that was built for other machines.
func (p *parsing) checkMachine(at ast.Node, name string, f *os.File) {
	program, err := elf.NewFile(f)
	if err != nil {
		return // the kernel says what is wrong with it
	}
	if own, known := machines[runtime.GOARCH]; known && runtime.GOOS == "linux" && program.Machine != own {
		p.Complain(at, fmt.Sprintf("the program %q is for another machine, %s", name, strings.TrimPrefix(program.Machine.String(), "EM_")), "build it for %s", runtime.GOARCH)
	}
}
