package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ratchet/internal/settings"
	"ratchet/study"
)

func home(t *testing.T, config string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ".ratchet")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRead: what config.yaml says, the environment says better; a home that is not
// believed says nothing.
func TestRead(t *testing.T) {
	dir := home(t, "machine: {memory: 50%, cpu: 80%}\nmonitor: {every: 2s}\nbackup: {to: copies, every: 1h, keep: {daily: 7}}\nbreakers: {failures: 9}\n")
	t.Setenv("RATCHET_MACHINE_CPU", "60%")
	s, err := settings.Read(dir, settings.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Node()
	if err != nil || n.Limits.Memory != 0.5 || n.Limits.CPU != 0.6 {
		t.Errorf("the machine: %+v (%v)", n.Limits, err)
	}
	b, err := s.Backups()
	if err != nil || b.To != filepath.Join(filepath.Dir(dir), "copies") || b.Every != time.Hour || b.Keep.Daily != 7 {
		t.Errorf("backups: %+v (%v)", b, err)
	}
	w, err := s.Watch()
	if err != nil || w.Every != 2*time.Second {
		t.Errorf("watching: %+v (%v)", w, err)
	}
	if p, err := s.Breakers(); err != nil || p.Failures != 9 {
		t.Errorf("breakers: %+v (%v)", p, err)
	}
	for _, one := range s.All() {
		if one.Name == "machine.cpu" && (one.Value != "60%" || one.Source != "$RATCHET_MACHINE_CPU") || one.Name == "log.keep" && one.Source != "default" {
			t.Errorf("%+v", one)
		}
	}
	s, err = settings.Read(dir, settings.Options{Distrust: true})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Backups(); err != nil || b.To != "" {
		t.Errorf("a home that is not believed backs up to %q (%v)", b.To, err)
	}
}

// TestMistakes are named with their place, also those of a home that is not believed.
func TestMistakes(t *testing.T) {
	dir := home(t, "machine: {memory: 50}\nnothing: 1\n")
	for _, distrust := range []bool{false, true} {
		_, err := settings.Read(dir, settings.Options{Shown: "shown.yaml", Distrust: distrust})
		var problems study.Problems
		if !errors.As(err, &problems) || len(problems) != 2 || problems[0].File != "shown.yaml" || problems[0].Line != 1 {
			t.Errorf("%v", err)
		}
	}
	t.Setenv("RATCHET_LOG_KEEP", "some")
	_, err := settings.Read(t.TempDir(), settings.Options{})
	var wrong *settings.Error
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "$RATCHET_LOG_KEEP") {
		t.Errorf("%v", err)
	}
}
