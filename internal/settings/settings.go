// Package settings is what a home's config.yaml and the environment say of how an
// engine works.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/gateway/provider"
	"ratchet/internal/notify"
	"ratchet/internal/research"
	"ratchet/internal/yamlfile"
	"ratchet/study"
)

// Keys are the engine's settings that a home's config.yaml and the
// environment ($RATCHET_ and the key in capitals, with underscores for dots)
// can give, besides flags. One without a dot is the flag of that name with
// hyphens for underscores.
var keys = []key{
	{Name: "isolation", Default: "strict", Choices: []string{"strict", "process"}},
	{Name: "log_level", Default: "warn", Choices: []string{"debug", "info", "warn", "error"}},
	{Name: "on_interrupt", Default: "leave", Choices: []string{"leave", "stop"}},
	{Name: "private", Default: "true", Choices: []string{"true", "false"}},
	{Name: "backup.to"},
	{Name: "backup.every", Check: span},
	{Name: "backup.after_stage", Default: "false", Choices: []string{"true", "false"}},
	{Name: "backup.keep.last", Check: wholeNumber},
	{Name: "backup.keep.daily", Check: wholeNumber},
	{Name: "backup.keep.weekly", Check: wholeNumber},
	{Name: "backup.recipients", List: true},
	{Name: "backup.identity"},
	{Name: "machine.cpu", Check: shareOf("")},
	{Name: "machine.memory", Default: "90%", Check: shareOf("memory")},
	{Name: "machine.disk", Default: "95%", Check: shareOf("disk")},
	{Name: "machine.gpu_memory", Default: "95%", Check: shareOf("")},
	{Name: "monitor.every", Default: "1s", Check: span},
	{Name: "monitor.health", Default: "10s", Check: span},
	{Name: "alerts.to", List: true, Between: " ", Check: notify.Check, Show: notify.Name},
	{Name: "alerts.from", Default: "warning", Choices: research.Severities},
	{Name: "breakers.failures", Default: "5", Check: wholeNumber},
	{Name: "breakers.open_for", Default: "30s", Check: span},
	{Name: "breakers.probes", Default: "1", Check: wholeNumber},
	{Name: "prices.cpu_hour", Check: price},
	{Name: "prices.gpu_hour", Check: price},
	{Name: "prices.gib_month", Check: price},
	{Name: "log.format", Default: "text", Choices: []string{"text", "json"}},
	{Name: "log.size", Default: "10MiB", Check: func(s string) error { _, err := study.ParseBytes(s); return err }},
	{Name: "log.keep", Default: "5", Check: wholeNumber},
}

// key is a setting that can be given.
type key struct {
	Name    string
	Default string   // empty: none
	Choices []string // any text if empty
	Check   func(string) error
	List    bool // several texts, kept with commas, or what is between, between
	Between string
	Show    func(string) string // how one with secrets in it is shown
}

func span(s string) error {
	_, err := study.ParseDuration(s)
	return err
}

func price(s string) error {
	_, err := study.ParseMoney(s)
	return err
}

func wholeNumber(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 0 {
		return fmt.Errorf("%q is not a whole number; write one like 7", s)
	}
	return nil
}

// Error is a setting that cannot be.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Setting is one effective setting, with where it came from.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// Settings are those of a home. A setting that is not there has its default.
type Settings struct {
	home   string
	set    map[string]Setting
	Models *provider.Settings // of model calls
}

// Options say how settings are read.
type Options struct {
	// Shown is the path of config.yaml as messages have it; "": as it is.
	Shown string
	// Distrust: mistakes in config.yaml are named, and nothing in it is believed.
	Distrust bool
}

// Read reads a home's config.yaml, if there is one, and the environment. Its
// mistakes are study.Problems, and those of the environment an Error.
func Read(home string, o Options) (*Settings, error) {
	models, err := provider.DefaultSettings()
	if err != nil {
		return nil, &Error{err}
	}
	out := &Settings{home: home, set: map[string]Setting{}, Models: models}
	file := filepath.Join(home, "config.yaml")
	shown := cmp.Or(o.Shown, file)
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading the engine's settings: %w", err)
	case o.Distrust:
		unused, err := provider.DefaultSettings()
		if err != nil {
			return nil, &Error{err}
		}
		if err := readConfig(shown, data, map[string]Setting{}, unused); err != nil {
			return nil, err
		}
	default:
		if err := readConfig(shown, data, out.set, models); err != nil {
			return nil, err
		}
	}
	for _, k := range keys {
		name := "RATCHET_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
		v, set := os.LookupEnv(name)
		if !set {
			continue
		}
		if len(k.Choices) > 0 && !slices.Contains(k.Choices, v) {
			return nil, &Error{fmt.Errorf("$%s is %q; it is %s", name, v, yamlfile.OneOf(k.Choices))}
		}
		if err := k.checkAll(v); err != nil {
			return nil, &Error{fmt.Errorf("$%s: %w", name, err)}
		}
		out.set[k.Name] = Setting{k.Name, v, "$" + name}
	}
	return out, nil
}

// Get is a setting as it was given; "": it was not.
func (s *Settings) Get(name string) string { return s.set[name].Value }

// Given are the settings that were given.
func (s *Settings) Given() map[string]Setting { return maps.Clone(s.set) }

// All are all settings, the defaults included, without secrets.
func (s *Settings) All() []Setting {
	var out []Setting
	for _, k := range keys {
		one, ok := s.set[k.Name]
		if !ok {
			one = Setting{k.Name, k.Default, "default"}
		}
		if k.Show != nil && one.Value != "" {
			shown := strings.Split(one.Value, cmp.Or(k.Between, ","))
			for i := range shown {
				shown[i] = k.Show(shown[i])
			}
			one.Value = strings.Join(shown, " ")
		}
		out = append(out, one)
	}
	return out
}

// readConfig reads config.yaml. What it says of models is laid over models.
func readConfig(file string, data []byte, out map[string]Setting, models *provider.Settings) error {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil
	}
	r := &yamlfile.Reader{File: file, MaxSize: 1 << 20}
	if top := r.Root(data); top != nil {
		readKeys(r, top, "the engine's settings", "", file, out, map[string]func(ast.Node){
			"models": func(n ast.Node) { models.Read(r, n) },
		})
	}
	if len(r.Problems) > 0 {
		return r.Problems.Sorted()
	}
	return nil
}

// readKeys reads the settings whose keys begin with a prefix, besides those
// that handlers read.
func readKeys(r *yamlfile.Reader, n ast.Node, what, prefix, file string, out map[string]Setting, handlers map[string]func(ast.Node)) {
	for _, k := range keys {
		rest, below := strings.CutPrefix(k.Name, prefix)
		if !below {
			continue
		}
		if group, _, nested := strings.Cut(rest, "."); nested {
			path := prefix + group
			handlers[group] = func(n ast.Node) { readKeys(r, n, path, path+".", file, out, map[string]func(ast.Node){}) }
			continue
		}
		handlers[rest] = func(n ast.Node) { out[k.Name] = Setting{k.Name, k.read(r, n), file} }
	}
	r.Fields(n, what, handlers)
}

// checkAll checks a value that came as one text.
func (k key) checkAll(v string) error {
	if k.Check == nil {
		return nil
	}
	if !k.List {
		return k.Check(v)
	}
	for _, one := range strings.Split(v, cmp.Or(k.Between, ",")) {
		if err := k.Check(one); err != nil {
			return err
		}
	}
	return nil
}

func (k key) read(r *yamlfile.Reader, n ast.Node) string {
	switch {
	case k.List:
		texts := r.Texts(n, k.Name)
		for _, t := range texts {
			if k.Check == nil {
				break
			}
			if err := k.Check(t); err != nil {
				r.Complain(n, k.Name+": "+err.Error(), "see the list of services in shoutrrr's documentation")
			}
		}
		return strings.Join(texts, cmp.Or(k.Between, ","))
	case len(k.Choices) > 0:
		return r.Choice(n, k.Name, k.Choices...)
	case k.Check != nil:
		return yamlfile.Unit(r, n, k.Name, func(s string) (string, error) { return s, k.Check(s) })
	}
	return r.Text(n, k.Name)
}

// beside is a setting that names a file or folder. In config.yaml it is
// relative to the folder that the home is in, wherever the command is called.
func (s Setting) beside(home string) string {
	if s.Value == "" || strings.Contains(s.Value, "://") || filepath.IsAbs(s.Value) || strings.HasPrefix(s.Source, "$") {
		return s.Value
	}
	return filepath.Join(filepath.Dir(home), s.Value)
}
