package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/spf13/cobra"

	"ratchet/internal/yamlfile"
)

// configKeys are the engine's settings that a home's config.yaml and the
// environment can give, besides flags. Each is the flag of that name with
// underscores for hyphens.
var configKeys = []struct {
	key     string
	choices []string // any word if empty
}{
	{"isolation", []string{"strict", "process"}},
	{"log_level", []string{"debug", "info", "warn", "error"}},
	{"on_interrupt", []string{"leave", "stop"}},
}

// configured reads config.yaml and the environment: the value of each key
// that is set, and where.
func (a *app) configured() (map[string]setting, error) {
	home, _, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	out := map[string]setting{}
	file := filepath.Join(home, "config.yaml")
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading the engine's settings: %w", err)
	default:
		if err := readConfig(shorter(file), data, out); err != nil {
			return nil, err
		}
	}
	for _, k := range configKeys {
		name := "RATCHET_" + strings.ToUpper(k.key)
		v, set := os.LookupEnv(name)
		if !set {
			continue
		}
		if len(k.choices) > 0 && !contains(k.choices, v) {
			return nil, usageError{fmt.Errorf("$%s is %q; it is %s", name, v, yamlfile.OneOf(k.choices))}
		}
		out[k.key] = setting{k.key, v, "$" + name}
	}
	return out, nil
}

func readConfig(file string, data []byte, out map[string]setting) error {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil
	}
	r := yamlfile.Reader{File: file, MaxSize: 1 << 20}
	if top := r.Root(data); top != nil {
		handlers := map[string]func(ast.Node){}
		for _, k := range configKeys {
			handlers[k.key] = func(n ast.Node) {
				out[k.key] = setting{k.key, r.Choice(n, k.key, k.choices...), file}
			}
		}
		r.Fields(top, "the engine's settings", handlers)
	}
	if len(r.Problems) > 0 {
		return r.Problems.Sorted()
	}
	return nil
}

func contains(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

// applyConfig gives the flags of a command that were not given themselves
// their configured values.
func (a *app) applyConfig(c *cobra.Command) error {
	if c.Name() == "help" || c.Name() == "version" || c.Name() == "completion" {
		return nil
	}
	settings, err := a.configured()
	if err != nil {
		return err
	}
	for _, s := range settings {
		f := c.Flags().Lookup(strings.ReplaceAll(s.Name, "_", "-"))
		if f == nil || f.Changed {
			continue
		}
		if err := f.Value.Set(s.Value); err != nil {
			return fmt.Errorf("%s from %s: %w", s.Name, s.Source, err)
		}
	}
	return nil
}

// settings are the effective settings, the defaults included.
func (a *app) settings(c *cobra.Command) ([]setting, error) {
	home, source, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	set, err := a.configured()
	if err != nil {
		return nil, err
	}
	if f := c.Flags().Lookup("log-level"); f != nil && f.Changed {
		set["log_level"] = setting{"log_level", f.Value.String(), "--log-level"}
	}
	out := []setting{{"home", home, source}}
	for _, k := range configKeys {
		s, ok := set[k.key]
		if !ok {
			s = setting{k.key, map[string]string{"isolation": "strict", "log_level": "warn", "on_interrupt": "leave"}[k.key], "default"}
		}
		out = append(out, s)
	}
	return out, nil
}
