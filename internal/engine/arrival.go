package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
)

// arrival says that a run came here in a backup. Whoever made that may have
// written into its records whatever they liked, so that where its report goes,
// how its programs are walled in and what they see of this machine is decided
// by who restores it. It lies beside what the run keeps here, and is no part of
// its journal, which stays as it was.
type arrival struct {
	Backup string `json:"backup"`
	Output string `json:"output"` // folder of the report
	// What was accepted since.
	Isolation string   `json:"isolation,omitempty"`
	Inputs    []string `json:"inputs,omitempty"`
}

func (e *Engine) arrivalFile(run string) string {
	return filepath.Join(e.folder(run), "restored.json")
}

// arrived is how a run came here; nil: it was made here.
func (e *Engine) arrived(run string) (*arrival, error) {
	b, err := os.ReadFile(e.arrivalFile(run))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	a := &arrival{}
	if err == nil {
		err = json.Unmarshal(b, a)
	}
	if err != nil {
		return nil, fmt.Errorf("reading how run %s came here: %w", run, err)
	}
	return a, nil
}

// note makes an arrival durable.
func (a *arrival) note(e *Engine, run string) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := e.arrivalFile(run)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	// The folder may be as new as the file.
	return errors.Join(objects.SyncFolder(filepath.Dir(path)), objects.SyncFolder(filepath.Dir(filepath.Dir(path))))
}

// Output is the folder of a run's report.
func (e *Engine) Output(s *research.State) string {
	if a, err := e.arrived(s.Created.Run); err == nil && a != nil {
		return a.Output
	}
	return s.Created.Output
}

// Outside lists what a run shows its programs of the machine; see OutsideOf. Of
// one that was restored, all of its inputs.
func (e *Engine) Outside(s *research.State) []Outside {
	own := s.Created.Folder
	if a, err := e.arrived(s.Created.Run); err != nil || a != nil {
		own = ""
	}
	return outsideOf(s.Created.Study, s.Created.Folder, own)
}

// ArrivedError says that a run that was restored would do what its user has not
// accepted yet.
type ArrivedError struct{ Run, Why, Flag string }

func (a *ArrivedError) Error() string {
	return fmt.Sprintf("run %s came from a backup, and %s; if you trust where it is from, `ratchet resume %s %s` accepts that", a.Run, a.Why, a.Run, a.Flag)
}

// accept refuses what a run that was restored would do beyond what is always
// allowed, unless it was accepted, and finds out anew what its programs need to
// see: the record of that may be anybody's.
func (e *Engine) accept(ctx context.Context, s *research.State, o DriveOptions, env *Environment) error {
	a, err := e.arrived(s.Created.Run)
	if a == nil || err != nil {
		return err
	}
	c := s.Created
	before := *a
	if c.Isolation != string(sandbox.Strict) && a.Isolation != c.Isolation {
		if string(o.Isolation) != c.Isolation {
			return &ArrivedError{c.Run, fmt.Sprintf("its programs would run without walls (isolation %s)", c.Isolation), "--isolation " + c.Isolation}
		}
		a.Isolation = c.Isolation
	}
	for _, at := range outsideOf(c.Study, c.Folder, "") {
		if at.Keys == "" || slices.Contains(a.Inputs, at.Path) {
			continue
		}
		if !allows(o.AllowInputs, at.Path) {
			return &ArrivedError{c.Run, fmt.Sprintf("its programs would see %s (%s): %s", at.Path, at.Name, at.Keys), "--allow-input " + at.Path}
		}
		a.Inputs = append(slices.Clone(a.Inputs), at.Path)
	}
	if a.Isolation != before.Isolation || len(a.Inputs) != len(before.Inputs) {
		if err := a.note(e, c.Run); err != nil {
			return err
		}
	}
	now, err := inspect(ctx, &c)
	if err != nil {
		return err
	}
	env.ReadOnly, env.Path = now.ReadOnly, now.Path
	return nil
}
