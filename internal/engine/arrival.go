package engine

import (
	"context"
	"fmt"
	"slices"

	"ratchet/internal/environment"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
)

// Outside lists what a run shows its programs of the machine; see environment.OutsideOf. Of
// one that was restored, all of its inputs.
func (e *Engine) Outside(s *research.State) []environment.Outside {
	own := s.Created.Folder
	if a, err := e.Arrived(s.Created.Run); err != nil || a != nil {
		own = ""
	}
	return environment.OutsideOwn(s.Created.Study, s.Created.Folder, own)
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
func (e *Engine) accept(ctx context.Context, s *research.State, o DriveOptions, env *environment.Environment) error {
	a, err := e.Arrived(s.Created.Run)
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
	for _, at := range environment.OutsideOwn(c.Study, c.Folder, "") {
		if at.Keys == "" || slices.Contains(a.Inputs, at.Path) {
			continue
		}
		if !environment.Allows(o.AllowInputs, at.Path) {
			return &ArrivedError{c.Run, fmt.Sprintf("its programs would see %s (%s): %s", at.Path, at.Name, at.Keys), "--allow-input " + at.Path}
		}
		a.Inputs = append(slices.Clone(a.Inputs), at.Path)
	}
	for _, name := range c.Study.Program.Wanted() {
		if slices.Contains(a.Env, name) {
			continue
		}
		if !slices.Contains(o.Env, name) {
			return &ArrivedError{c.Run, fmt.Sprintf("its programs would get the variable %s of your environment", name), "--env " + name}
		}
		a.Env = append(slices.Clone(a.Env), name)
	}
	if a.Isolation != before.Isolation || len(a.Inputs) != len(before.Inputs) || len(a.Env) != len(before.Env) {
		if err := e.NoteArrival(c.Run, a); err != nil {
			return err
		}
	}
	now, err := environment.Inspect(ctx, &c, e.secrets)
	if err != nil {
		return err
	}
	env.ReadOnly, env.Path, env.Variables = now.ReadOnly, now.Path, now.Variables
	return nil
}
