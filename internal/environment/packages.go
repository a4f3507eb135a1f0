package environment

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
)

// packages makes the packages visible that the user has installed for Ruby, R and
// Julia, where these are, and gives the variables by which programs find them: their
// home is another. Beside packages, such folders may have credentials, which are not
// shown.
func (f *finder) packages() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	var out []string
	if f.lookPath("ruby") != "" {
		gems := f.shownOf(append(dirsIn("GEM_PATH", "GEM_HOME"), matches(home, ".gem/ruby/*", ".local/share/gem/ruby/*")...))
		if len(gems) > 0 { // the empty one at the end stands for Ruby's own
			out = append(out, "GEM_PATH="+strings.Join(gems, ":")+":")
		}
	}
	if f.lookPath("Rscript") != "" {
		if libraries := f.shownOf(dirsIn("R_LIBS")); len(libraries) > 0 {
			out = append(out, "R_LIBS="+strings.Join(libraries, ":"))
		}
		if libraries := f.shownOf(dirsIn("R_LIBS_USER")); len(libraries) > 0 {
			out = append(out, "R_LIBS_USER="+strings.Join(libraries, ":"))
		} else if len(f.shownOf(matches(home, "R/*-library/*"))) > 0 {
			out = append(out, "R_LIBS_USER="+filepath.Join(home, "R", "%p-library", "%v")) // R puts platform and version in
		}
	}
	if f.lookPath("julia") != "" {
		depots := dirsIn("JULIA_DEPOT_PATH")
		if len(depots) == 0 {
			depots = matches(home, ".julia")
		}
		for _, depot := range depots {
			f.shownOf(matches(depot, "packages", "artifacts", "compiled", "clones", "environments", "registries", "juliaup"))
		}
		if f.isolation == sandbox.Strict {
			depots = append([]string{"/tmp/.julia"}, depots...) // the first is written to
		}
		out = append(out, "JULIA_DEPOT_PATH="+strings.Join(depots, ":")+":")
		if up := matches(home, ".julia/juliaup"); len(up) > 0 {
			out = append(out, "JULIAUP_DEPOT_PATH="+filepath.Join(home, ".julia"))
		}
	}
	return out
}

// activation are the variables that activating an environment sets.
func activation(root string) (out []string) {
	for _, kind := range [][2]string{{"VIRTUAL_ENV", "pyvenv.cfg"}, {"CONDA_PREFIX", "conda-meta"}} {
		if _, err := os.Stat(filepath.Join(root, kind[1])); err == nil {
			out = append(out, kind[0]+"="+root)
		}
	}
	return out
}

// dirsIn are the folders that this process's variables name.
func dirsIn(variables ...string) (out []string) {
	for _, name := range variables {
		for _, dir := range filepath.SplitList(os.Getenv(name)) {
			if info, err := os.Stat(dir); err == nil && info.IsDir() && filepath.IsAbs(dir) && !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

// matches are the folders that patterns below a folder match.
func matches(top string, patterns ...string) (out []string) {
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(top, p)) // the patterns are right
		for _, dir := range found {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				out = append(out, dir)
			}
		}
	}
	return out
}

// shownOf shows folders, and gives those that are visible then.
func (f *finder) shownOf(dirs []string) (out []string) {
	for _, dir := range dirs {
		if f.show(dir); f.visible(dir) {
			out = append(out, dir)
		}
	}
	return out
}

// Editable is a package of Python that was installed from a folder, which it is in still.
type Editable struct{ Name, Folder string }

// editables are the packages of an environment that lie outside of it (PEP 610). What
// its files say may be a stranger's word.
func editables(environment string) (out []Editable) {
	top, err := untrusted.Open(environment)
	if err != nil {
		return nil
	}
	defer top.Close()
	lib, err := top.Folder("lib")
	if err != nil {
		return nil
	}
	defer lib.Close()
	where := []string{".", "python3*", "site-packages", "*.dist-info"}
	_ = lib.Walk(func(e *untrusted.Entry, err error) error {
		depth := 0
		if e.Path != "." {
			depth = 1 + strings.Count(e.Path, "/")
		}
		switch {
		case err != nil:
			return fs.SkipDir
		case e.Info.Mode.IsDir() && depth < len(where):
			if fits, _ := path.Match(where[depth], path.Base(e.Path)); !fits {
				return fs.SkipDir
			}
		case e.Info.Mode.IsDir():
			return fs.SkipDir
		case depth == len(where) && path.Base(e.Path) == "direct_url.json":
			if folder := editable(lib, e.Path); folder != "" {
				name, _, _ := strings.Cut(path.Base(path.Dir(e.Path)), "-")
				out = append(out, Editable{name, folder})
			}
		}
		return nil
	})
	return out
}

// editable is the folder that a package says it was installed from, to be edited
// there; "": it does not.
func editable(lib *untrusted.Folder, file string) string {
	text, err := readSmall(lib, file)
	var direct struct {
		URL string `json:"url"`
		Dir struct {
			Editable bool `json:"editable"`
		} `json:"dir_info"`
	}
	if err != nil || json.Unmarshal([]byte(text), &direct) != nil || !direct.Dir.Editable {
		return ""
	}
	u, err := url.Parse(direct.URL)
	if err != nil || u.Scheme != "file" || !filepath.IsAbs(u.Path) {
		return ""
	}
	if info, err := os.Stat(u.Path); err != nil || !info.IsDir() {
		return ""
	}
	return filepath.Clean(u.Path)
}
