package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// Arrival says that a run came here in a backup. The backup's maker may have
// put anything into its records, so the person who restores it decides where
// its report goes, how its programs are isolated and what they see of this
// machine. It lies in the run's folder, and is no part of its journal.
type Arrival struct {
	Backup string `json:"backup"`
	Output string `json:"output"` // folder of the report
	// What was accepted since.
	Isolation string   `json:"isolation,omitempty"`
	Inputs    []string `json:"inputs,omitempty"`
	Env       []string `json:"env,omitempty"` // names of variables that programs get from the user's environment
}

func (h *Home) arrivalFile(run string) string {
	return filepath.Join(h.RunFolder(run), "restored.json")
}

// Arrived is how a run came here; nil: it was made here.
func (h *Home) Arrived(run string) (*Arrival, error) {
	b, err := os.ReadFile(h.arrivalFile(run))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	a := &Arrival{}
	if err == nil {
		err = json.Unmarshal(b, a)
	}
	if err != nil {
		return nil, fmt.Errorf("reading how run %s came here: %w", run, err)
	}
	return a, nil
}

// NoteArrival keeps how a run came here. It is durable on return.
func (h *Home) NoteArrival(run string, a *Arrival) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := h.arrivalFile(run)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := objects.WriteFile(path, b); err != nil {
		return err
	}
	// The folder may be as new as the file.
	return objects.SyncFolder(filepath.Dir(filepath.Dir(path)))
}

// Output is the folder of a run's report.
func (h *Home) Output(s *research.State) string { return h.OutputOf(s.Created.Run, s.Created.Output) }

// OutputOf is the folder of a run's report; recorded is what its record says.
func (h *Home) OutputOf(run, recorded string) string {
	if a, err := h.Arrived(run); err == nil && a != nil {
		return a.Output
	}
	return recorded
}
