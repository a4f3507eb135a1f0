package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/research"
)

const readsItsInput = `echo "{\"score\": $(cat data)}" >> "$RATCHET_METRICS"`

// TestInputsThatChange: what was measured while an input changed counts nowhere,
// and the run stops; it goes on with the input put back, or from the start of its
// search if the change is accepted.
func TestInputsThatChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string)
		says   string
		then   string // what is put into it before the run is resumed; empty: nothing
		want   float64
	}{
		{"written to", func(t *testing.T, path string) { write(t, path, "9") }, "has changed: its content was sha256", "", 9},
		{"written to, with its old time", func(t *testing.T, path string) {
			info, err := os.Stat(path)
			write(t, path, "9")
			if err = errors.Join(err, os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
				t.Fatal(err)
			}
		}, "has changed: its content was sha256", "", 9},
		{"longer", func(t *testing.T, path string) { write(t, path, "90") }, "its content had 1 bytes and has 2", "", 90},
		{"replaced", func(t *testing.T, path string) {
			write(t, path+".new", "9")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, "has changed", "", 9},
		{"gone", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "cannot be read any more", "9", 9},
		{"put back", func(t *testing.T, path string) { write(t, path, "9") }, "has changed", "5", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := enginetest.New(t, enginetest.SmallStudy, readsItsInput)
			path := filepath.Join(l.Dir, "data.txt")
			write(t, path, "5")
			e := l.Open(engine.Options{})
			run := l.Create(e)
			done := false
			s, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(s *research.State, _ []research.Payload) {
				if s.Tally.Trials >= 2 && !done {
					done = true
					c.change(t, path)
				}
			}})
			if err != nil || s.Status != research.Paused || !strings.Contains(s.Why, c.says) || !strings.Contains(s.Why, "--accept-inputs") {
				t.Fatalf("%s (%s): %v", s.Status, s.Why, err)
			}
			measured(t, s, 5)
			if c.then != "" {
				write(t, path, c.then)
			}
			s, err = e.Drive(context.Background(), run, engine.DriveOptions{})
			if c.want != 5 {
				if changed := new(engine.InputsError); !errors.As(err, &changed) {
					t.Fatalf("it goes on: %s, %v", s.Status, err)
				}
				s, err = e.Drive(context.Background(), run, engine.DriveOptions{AcceptInputs: "somebody"})
			}
			if err != nil || s.Status != research.Completed {
				t.Fatalf("%s (%s): %v", s.Status, s.Why, err)
			}
			measured(t, s, c.want)
			if accepted := len(s.Accepted) == 1; accepted != (c.want != 5) || s.Tally.Trials != enginetest.SmallTrials {
				t.Errorf("%v was accepted, %d trials", s.Accepted, s.Tally.Trials)
			}
			l.Whole(e)
		})
	}
}

// measured checks that all trials that count have measured a number.
func measured(t *testing.T, s *research.State, want float64) {
	t.Helper()
	for _, x := range s.Experiments {
		for _, trial := range x.Trials {
			if v, there := trial.Metrics()["score"]; there && v != want {
				t.Errorf("trial %s has measured %v, not %v", trial.ID, v, want)
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestInputsThatAreTouched: a file with another time and the same content is the
// same input, and so is one in its place.
func TestInputsThatAreTouched(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, readsItsInput)
	path := filepath.Join(l.Dir, "data.txt")
	write(t, path, "5")
	e := l.Open(engine.Options{})
	run := l.Create(e)
	s, err := e.Drive(context.Background(), run, engine.DriveOptions{Observe: func(*research.State, []research.Payload) {
		write(t, path+".new", "5")
		if err := errors.Join(os.Rename(path+".new", path), os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour))); err != nil {
			t.Error(err)
		}
	}})
	if err != nil || s.Status != research.Completed {
		t.Fatalf("%s (%s): %v", s.Status, s.Why, err)
	}
}
