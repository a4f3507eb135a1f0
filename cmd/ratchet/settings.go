package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ratchet/internal/settings"
)

// settings reads the settings of the home.
func (a *app) settings() (*settings.Settings, error) {
	home, _, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	return settings.Read(home, settings.Options{Shown: settingsName(home), Distrust: a.stranger != nil})
}

// settingsName is how mistakes in the settings of a home name their file.
func settingsName(home string) string { return shorter(home + "/config.yaml") }

// applyConfig gives the flags of a command that were not given themselves
// their configured values.
func (a *app) applyConfig(c *cobra.Command) error {
	set, err := a.settings()
	if err != nil {
		return err
	}
	for _, s := range set.Given() {
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

// effective are the effective settings, the defaults included.
func (a *app) effective(c *cobra.Command) ([]settings.Setting, error) {
	home, source, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	set, err := a.settings()
	if err != nil {
		return nil, err
	}
	out := append([]settings.Setting{{Name: "home", Value: home, Source: source}}, set.All()...)
	if f := c.Flags().Lookup("log-level"); f != nil && f.Changed {
		for i := range out {
			if out[i].Name == "log_level" {
				out[i].Value, out[i].Source = f.Value.String(), "--log-level"
			}
		}
	}
	return out, nil
}
