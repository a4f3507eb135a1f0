// Command typecheck checks that packages and their tests hold together, by their
// source alone: a fraction of what compiling them takes, for platforms and tags
// (by the variables of go itself) for which nothing is to be built.
//
//	GOOS=darwin GOARCH=arm64 go run .ci/typecheck.go [PACKAGES]
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// listed is a package as `go list` describes it.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string // by the path in the source: another one
	Module          *struct {
		Main      bool
		GoVersion string
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "typecheck:", err)
		os.Exit(1)
	}
}

func run(patterns []string) error {
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	list := exec.Command("go", append([]string{"list", "-deps", "-test", "-json=ImportPath,Dir,GoFiles,ImportMap,Module"}, patterns...)...)
	// cgo's files are made by cgo: nothing here reads them.
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err == nil {
		err = list.Start()
	}
	if err != nil {
		return err
	}
	checked, ours := map[string]*types.Package{"unsafe": types.Unsafe}, 0
	var failed []error
	for d := json.NewDecoder(out); ; { // what a package imports comes before it
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") { // made by go test
			continue
		}
		if p.Module != nil && p.Module.Main {
			ours++
		}
		done, err := check(p, checked)
		if err != nil {
			failed = append(failed, err)
		}
		checked[p.ImportPath] = done
	}
	if err := list.Wait(); err != nil {
		return err
	}
	fmt.Printf("%s/%s: %d packages, with tests, and the %d they stand on\n", env("GOOS", runtime.GOOS), env("GOARCH", runtime.GOARCH), ours, len(checked)-ours)
	return errors.Join(failed...)
}

// check checks a package of which all imports are checked. Of others' packages,
// what is inside of functions is left out.
func check(p listed, checked map[string]*types.Package) (*types.Package, error) {
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	var failed []error
	config := types.Config{
		Importer: importer(func(path string) (*types.Package, error) {
			if other, ok := p.ImportMap[path]; ok {
				path = other
			}
			if done := checked[path]; done != nil {
				return done, nil
			}
			return nil, fmt.Errorf("%s was not checked before", path)
		}),
		Sizes:            types.SizesFor("gc", env("GOARCH", runtime.GOARCH)),
		IgnoreFuncBodies: p.Module == nil || !p.Module.Main,
		FakeImportC:      true,
		Error:            func(err error) { failed = append(failed, err) },
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	path, _, _ := strings.Cut(p.ImportPath, " ") // behind it, for which test it is
	done, _ := config.Check(path, set, files, nil)
	return done, errors.Join(failed...)
}

type importer func(path string) (*types.Package, error)

func (f importer) Import(path string) (*types.Package, error) { return f(path) }

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
