// Command vulndb makes a database for govulncheck of the module
// golang.org/x/vulndb, which the module proxy has, where the database itself
// cannot be reached. Its form is that of https://go.dev/doc/security/vuln/database.
// What a file of accepted vulnerabilities names is left out.
//
//	go run .ci/vulndb.go OSV-FOLDER OUT ACCEPTED
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: vulndb OSV-FOLDER OUT ACCEPTED")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
}

type report struct {
	ID, Modified string
	Withdrawn    string
	Aliases      []string
	Affected     []struct {
		Package struct{ Name string }
		Ranges  []struct {
			Events []struct{ Introduced, Fixed string }
		}
	}
}

type vulnerability struct {
	ID       string   `json:"id"`
	Modified string   `json:"modified"`
	Fixed    string   `json:"fixed,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
}

type module struct {
	Path  string          `json:"path"`
	Vulns []vulnerability `json:"vulns"`
}

func run(osv, out, acceptedFile string) error {
	accepted, err := readAccepted(acceptedFile)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(osv, "GO-*.json"))
	if err != nil || len(files) == 0 {
		return errors.Join(fmt.Errorf("%s has no reports", osv), err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(out, "ID"), 0o755), os.MkdirAll(filepath.Join(out, "index"), 0o755)); err != nil {
		return err
	}
	modules := map[string]*module{}
	vulns := []vulnerability{}
	latest := ""
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if r.Withdrawn != "" || accepted[r.ID] {
			continue
		}
		if err := os.WriteFile(filepath.Join(out, "ID", r.ID+".json"), b, 0o644); err != nil {
			return err
		}
		latest = max(latest, r.Modified)
		vulns = append(vulns, vulnerability{ID: r.ID, Modified: r.Modified, Aliases: r.Aliases})
		seen := map[string]bool{}
		for _, a := range r.Affected {
			fixed := ""
			for _, rg := range a.Ranges {
				for _, e := range rg.Events {
					fixed = max(fixed, e.Fixed)
				}
			}
			m := modules[a.Package.Name]
			if m == nil {
				m = &module{Path: a.Package.Name}
				modules[a.Package.Name] = m
			}
			if !seen[m.Path] {
				seen[m.Path] = true
				m.Vulns = append(m.Vulns, vulnerability{ID: r.ID, Modified: r.Modified, Fixed: fixed})
			}
		}
	}
	list := []module{}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		list = append(list, *modules[path])
	}
	write := func(name string, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(out, "index", name), b, 0o644)
	}
	return errors.Join(write("db.json", map[string]string{"modified": latest}), write("modules.json", list), write("vulns.json", vulns))
}

// readAccepted reads the ids at the beginning of lines; behind each is why.
func readAccepted(file string) (map[string]bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		id, why, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		switch {
		case id == "" || strings.HasPrefix(id, "#"):
		case why == "":
			return nil, fmt.Errorf("%s accepts %s and does not say why", file, id)
		default:
			out[id] = true
		}
	}
	return out, nil
}
