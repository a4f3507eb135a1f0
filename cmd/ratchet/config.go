package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/spf13/cobra"

	"ratchet/internal/gateway"
	"ratchet/internal/maintenance"
	"ratchet/internal/notify"
	"ratchet/internal/research"
	"ratchet/internal/yamlfile"
	"ratchet/study"
)

// configKeys are the engine's settings that a home's config.yaml and the
// environment ($RATCHET_ and the key in capitals, with underscores for dots)
// can give, besides flags. One without a dot is the flag of that name with
// hyphens for underscores.
var configKeys = []configKey{
	{key: "isolation", value: "strict", choices: []string{"strict", "process"}},
	{key: "log_level", value: "warn", choices: []string{"debug", "info", "warn", "error"}},
	{key: "on_interrupt", value: "leave", choices: []string{"leave", "stop"}},
	{key: "private", value: "true", choices: []string{"true", "false"}},
	{key: "backup.to"},
	{key: "backup.every", check: span},
	{key: "backup.after_stage", value: "false", choices: []string{"true", "false"}},
	{key: "backup.keep.last", check: wholeNumber},
	{key: "backup.keep.daily", check: wholeNumber},
	{key: "backup.keep.weekly", check: wholeNumber},
	{key: "backup.recipients", list: true},
	{key: "backup.identity"},
	{key: "machine.cpu", check: shareOf("")},
	{key: "machine.memory", value: "90%", check: shareOf("memory")},
	{key: "machine.disk", value: "95%", check: shareOf("disk")},
	{key: "machine.gpu_memory", value: "95%", check: shareOf("")},
	{key: "monitor.every", value: "1s", check: span},
	{key: "monitor.health", value: "10s", check: span},
	{key: "alerts.to", list: true, between: " ", check: notify.Check, show: notify.Name},
	{key: "alerts.from", value: "warning", choices: research.Severities},
	{key: "breakers.failures", value: "5", check: wholeNumber},
	{key: "breakers.open_for", value: "30s", check: span},
	{key: "breakers.probes", value: "1", check: wholeNumber},
	{key: "prices.cpu_hour", check: price},
	{key: "prices.gpu_hour", check: price},
	{key: "prices.gib_month", check: price},
	{key: "log.format", value: "text", choices: []string{"text", "json"}},
	{key: "log.size", value: "10MiB", check: func(s string) error { _, err := study.ParseBytes(s); return err }},
	{key: "log.keep", value: "5", check: wholeNumber},
}

type configKey struct {
	key     string
	value   string   // the default; empty: none
	choices []string // any text if empty
	check   func(string) error
	list    bool // several texts, kept with commas, or what is between, between
	between string
	show    func(string) string // how one with secrets in it is shown
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

// configured reads config.yaml and the environment: the value of each key
// that is set, and where.
func (a *app) configured() (map[string]setting, error) {
	models, err := gateway.DefaultSettings()
	if err != nil {
		return nil, usageError{err}
	}
	return a.configuredWith(models)
}

// modelSettings are the settings of the gateway.
func (a *app) modelSettings() (*gateway.Settings, error) {
	models, err := gateway.DefaultSettings()
	if err != nil {
		return nil, usageError{err}
	}
	_, err = a.configuredWith(models)
	return models, err
}

func (a *app) configuredWith(models *gateway.Settings) (map[string]setting, error) {
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
	case a.stranger != nil: // mistakes are named, nothing is believed
		unused, err := gateway.DefaultSettings()
		if err != nil {
			return nil, usageError{err}
		}
		if err := readConfig(shorter(file), data, map[string]setting{}, unused); err != nil {
			return nil, err
		}
	default:
		if err := readConfig(shorter(file), data, out, models); err != nil {
			return nil, err
		}
	}
	for _, k := range configKeys {
		name := "RATCHET_" + strings.ToUpper(strings.ReplaceAll(k.key, ".", "_"))
		v, set := os.LookupEnv(name)
		if !set {
			continue
		}
		if len(k.choices) > 0 && !slices.Contains(k.choices, v) {
			return nil, usageError{fmt.Errorf("$%s is %q; it is %s", name, v, yamlfile.OneOf(k.choices))}
		}
		if err := k.checkAll(v); err != nil {
			return nil, usageError{fmt.Errorf("$%s: %w", name, err)}
		}
		out[k.key] = setting{k.key, v, "$" + name}
	}
	return out, nil
}

// readConfig reads config.yaml. What it says of models is laid over models.
func readConfig(file string, data []byte, out map[string]setting, models *gateway.Settings) error {
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
func readKeys(r *yamlfile.Reader, n ast.Node, what, prefix, file string, out map[string]setting, handlers map[string]func(ast.Node)) {
	for _, k := range configKeys {
		rest, below := strings.CutPrefix(k.key, prefix)
		if !below {
			continue
		}
		if group, _, nested := strings.Cut(rest, "."); nested {
			path := prefix + group
			handlers[group] = func(n ast.Node) { readKeys(r, n, path, path+".", file, out, map[string]func(ast.Node){}) }
			continue
		}
		handlers[rest] = func(n ast.Node) { out[k.key] = setting{k.key, k.read(r, n), file} }
	}
	r.Fields(n, what, handlers)
}

// checkAll checks a value that came as one text.
func (k configKey) checkAll(v string) error {
	if k.check == nil {
		return nil
	}
	if !k.list {
		return k.check(v)
	}
	for _, one := range strings.Split(v, cmp.Or(k.between, ",")) {
		if err := k.check(one); err != nil {
			return err
		}
	}
	return nil
}

func (k configKey) read(r *yamlfile.Reader, n ast.Node) string {
	switch {
	case k.list:
		texts := r.Texts(n, k.key)
		for _, t := range texts {
			if k.check == nil {
				break
			}
			if err := k.check(t); err != nil {
				r.Complain(n, k.key+": "+err.Error(), "see the list of services in shoutrrr's documentation")
			}
		}
		return strings.Join(texts, cmp.Or(k.between, ","))
	case len(k.choices) > 0:
		return r.Choice(n, k.key, k.choices...)
	case k.check != nil:
		return yamlfile.Unit(r, n, k.key, func(s string) (string, error) { return s, k.check(s) })
	}
	return r.Text(n, k.key)
}

// beside is a setting that names a file or folder. In config.yaml it is
// relative to the folder that the home is in, wherever the command is called.
func (s setting) beside(home string) string {
	if s.Value == "" || strings.Contains(s.Value, "://") || filepath.IsAbs(s.Value) || strings.HasPrefix(s.Source, "$") {
		return s.Value
	}
	return filepath.Join(filepath.Dir(home), s.Value)
}

// backupPolicy is what the settings say of backups.
func (a *app) backupPolicy() (maintenance.BackupPolicy, error) {
	set, err := a.configured()
	if err != nil {
		return maintenance.BackupPolicy{}, err
	}
	p := maintenance.BackupPolicy{AfterStage: set["backup.after_stage"].Value == "true"}
	home, _, err := a.homeFolder()
	if err != nil {
		return p, err
	}
	p.To, p.Identity = set["backup.to"].beside(home), set["backup.identity"].beside(home)
	if v := set["backup.recipients"].Value; v != "" {
		p.Recipients = strings.Split(v, ",")
	}
	if v := set["backup.every"].Value; v != "" {
		d, err := study.ParseDuration(v)
		if err != nil {
			return p, err
		}
		p.Every = time.Duration(d)
	}
	for key, to := range map[string]*int{"last": &p.Keep.Last, "daily": &p.Keep.Daily, "weekly": &p.Keep.Weekly} {
		if v := set["backup.keep."+key].Value; v != "" {
			if *to, err = strconv.Atoi(v); err != nil {
				return p, err
			}
		}
	}
	if p.To == "" && (p.Every > 0 || p.AfterStage) {
		return p, usageError{errors.New("the settings ask for backups and do not say where to; set backup.to, a folder or a URL")}
	}
	return p, nil
}

// applyConfig gives the flags of a command that were not given themselves
// their configured values.
func (a *app) applyConfig(c *cobra.Command) error {
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
			s = setting{k.key, k.value, "default"}
		}
		if k.show != nil && s.Value != "" {
			shown := strings.Split(s.Value, cmp.Or(k.between, ","))
			for i := range shown {
				shown[i] = k.show(shown[i])
			}
			s.Value = strings.Join(shown, " ")
		}
		out = append(out, s)
	}
	return out, nil
}
