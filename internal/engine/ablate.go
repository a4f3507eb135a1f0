package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aymanbagabas/go-udiff"

	"ratchet/internal/objects"
	"ratchet/internal/patch"
	"ratchet/internal/research"
	"ratchet/study"
)

// ablate makes of the best of an open run, for each change that is in it, what it is without:
// the change is taken back from its code and its parameters. What later changes build on cannot
// be taken back alone, and is said.
func (d *driver) ablate(a research.Action) ([]research.Payload, error) {
	s := d.state
	best := s.Standing()
	made := research.AblationsMade{Action: a.ID, Ablations: []research.Ablation{}}
	next := len(s.Experiments)
	for _, x := range slices.Backward(s.Changed()) {
		one := research.Ablation{Of: x.Experiment}
		code, parameters, err := d.engine.without(s, best, x)
		var refused *ProposalError
		switch {
		case errors.As(err, &refused):
			one.Why = "it cannot be taken back alone: " + refused.What
		case err != nil:
			return nil, fmt.Errorf("taking back the change of %s: %w", x.Experiment, err)
		default:
			if code == s.Snapshot {
				code = ""
			}
			if one.Experiment = s.TriedAs(parameters, code); one.Experiment == "" {
				next++
				one.Experiment, one.Code, one.Parameters = fmt.Sprintf("e%04d", next), code, parameters
				if one.Changes, err = patch.Changes(d.engine.Objects, cmp.Or(best.Code, s.Snapshot), cmp.Or(code, s.Snapshot)); err != nil {
					return nil, err
				}
			}
		}
		made.Ablations = append(made.Ablations, one)
	}
	return []research.Payload{made}, nil
}

// without is the best's code and parameters without what an experiment changed in its parent's.
func (e *Engine) without(s *research.State, best, x *research.Experiment) (code string, p study.Params, err error) {
	parent := s.Experiment(x.Parent)
	has := func(x *research.Experiment) string { return cmp.Or(x.Code, s.Snapshot) }
	if code, err = e.takeBack(has(parent), has(x), has(best)); err != nil {
		return "", nil, err
	}
	p = maps.Clone(best.Parameters)
	for name, v := range x.Parameters {
		was, ok := parent.Parameters[name]
		if ok && was == v || p[name] != v {
			continue // it did not change it, or another has changed it since
		}
		if delete(p, name); ok {
			p[name] = was
		}
	}
	for name, was := range parent.Parameters {
		if _, ok := x.Parameters[name]; !ok {
			p[name] = was
		}
	}
	fits, why := s.Created.Study.Fit(p)
	if why != "" {
		return "", nil, &ProposalError{why, "keep it"}
	}
	return code, fits, nil
}

// takeBack is a manifest without what changed from one to another: that change taken back, and
// all that changed after it, are laid over the second.
func (e *Engine) takeBack(first, second, on string) (string, error) {
	if first == second {
		return on, nil
	}
	var trees [3]objects.Tree
	for i, d := range []string{first, second, on} {
		var err error
		if trees[i], err = e.Objects.Tree(objects.Digest(d)); err != nil {
			return "", err
		}
	}
	read := func(tree objects.Tree, path string) (f objects.File, content string, err error) {
		for _, f := range tree {
			if f.Path == path {
				b, err := e.Objects.Get(f.Digest)
				return f, string(b), err
			}
		}
		return f, "", nil
	}
	out := trees[2]
	for _, path := range patch.Paths(trees[0], trees[1]) {
		was, before, err := read(trees[0], path)
		if err != nil {
			return "", err
		}
		_, between, err := read(trees[1], path)
		if err != nil {
			return "", err
		}
		has, now, err := read(trees[2], path)
		if err != nil {
			return "", err
		}
		merged, ok := udiff.Merge(udiff.Lines(between, before), udiff.Lines(between, now))
		text := ""
		if ok {
			text, err = udiff.Apply(between, merged)
		}
		if !ok || err != nil {
			return "", &ProposalError{"later changes of " + path + " build on it", "keep it"}
		}
		if text == "" && was.Path == "" { // it was new
			out = slices.DeleteFunc(slices.Clone(out), func(f objects.File) bool { return f.Path == path })
			continue
		}
		d, err := e.Objects.PutBytes([]byte(text))
		if err != nil {
			return "", err
		}
		out = put(out, objects.File{Path: path, Digest: d, Size: int64(len(text)), Executable: was.Executable || has.Executable})
	}
	d, err := e.Objects.PutTree(out)
	return string(d), err
}
