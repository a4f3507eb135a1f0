package engine

import (
	"context"
	"fmt"

	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// reference is an object that a record speaks of. A tree's object is the
// manifest of others.
type reference struct {
	what   string
	digest objects.Digest
	tree   bool
}

// references are the objects that an event speaks of.
func references(p research.Payload) []reference {
	var out []reference
	add := func(what, digest string, tree bool) {
		if digest != "" {
			out = append(out, reference{what, objects.Digest(digest), tree})
		}
	}
	switch d := p.(type) {
	case research.RunCreated:
		add("its study file", d.StudyFile, false)
		add("its program's files", d.Snapshot, true)
		add("its environment", d.Environment, false)
		add("its inputs' record", d.Inputs, false)
	case research.RunForked:
		add("its changed study file", d.StudyFile, false)
	case research.ProgramBuilt:
		add("its built program", d.Snapshot, true)
		add("the log of its build", d.Log, false)
	case research.AttemptCheckpointed:
		add("the checkpoint of attempt "+d.Attempt, d.Snapshot, true)
	case research.AttemptEnded:
		add("what attempt "+d.Attempt.ID+" left", d.Attempt.Evidence, true)
	}
	return out
}

// visit calls f with every object that a run's records from a number on speak
// of, superseded ones included. It ends at the first error, of the journal,
// of a record that cannot be read, or of f.
func (e *Engine) visit(ctx context.Context, run string, from int64, f func(seq int64, ref reference) error) error {
	for r, err := range e.journal.Read(ctx, run, from) {
		if err != nil {
			return err
		}
		p, err := research.Decode(r.Type, r.Version, r.Payload)
		if err != nil {
			return fmt.Errorf("run %s, record %d: %w", run, r.Seq, err)
		}
		for _, ref := range references(p) {
			if err := f(r.Seq, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach adds all objects that a run needs, those of its trees included, to a
// set.
func (e *Engine) reach(ctx context.Context, run string, set map[objects.Digest]bool) error {
	return e.visit(ctx, run, 1, func(_ int64, ref reference) error {
		if set[ref.digest] {
			return nil
		}
		set[ref.digest] = true
		if !ref.tree {
			return nil
		}
		tree, err := e.objects.Tree(ref.digest)
		if err != nil {
			return fmt.Errorf("run %s, %s: %w", run, ref.what, err)
		}
		for _, f := range tree {
			for _, d := range f.Objects() {
				set[d] = true
			}
		}
		return nil
	})
}
