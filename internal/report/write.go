package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// Store gives the content of objects.
type Store interface {
	Open(objects.Digest) (io.ReadCloser, error)
	Tree(objects.Digest) (objects.Tree, error)
}

// Sources are what a report shows besides its results.
type Sources struct {
	Study       []byte // the study file as it was given, or as a fork has changed it
	Checkpoints []research.Checkpoint
	Objects     Store
}

// mostEvidence is the largest file that is copied into a report's evidence
// folder, in bytes. Larger ones stay in the store, under their digest.
const mostEvidence = 8 << 20

// Write puts a report into a folder: pages, tables, plots, evidence. Each file
// is replaced whole; results.json comes last, so that a folder that has it has
// all it speaks of.
func Write(dir string, r *Results, src Sources) error {
	w := &writer{dir: dir}
	of := w.plots(r, src.Objects)
	w.bytes("study.yaml", src.Study)
	w.bytes("environment.json", r.Environment)
	w.json("checkpoints/index.json", src.Checkpoints)
	w.tables(r)
	w.evidence(r, src.Objects)
	w.code(r, src.Objects)
	of.Artifacts, of.More = w.artifacts(r, src.Objects)
	of.Pictures = w.pictures(of.Artifacts, r, src.Objects)
	w.bytes("report.md", markdown(r, of))
	w.page("report.html", r, of)
	w.json("results.json", r)
	if w.err != nil {
		return fmt.Errorf("writing the report to %s: %w", dir, w.err)
	}
	return nil
}

// writer writes files below a folder until the first error.
type writer struct {
	dir string
	err error
}

func (w *writer) json(name string, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		w.fail(err)
		return
	}
	w.bytes(name, append(b, '\n'))
}

func (w *writer) bytes(name string, b []byte) { w.copy(name, bytes.NewReader(b)) }

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// copy writes a file under a temporary name and renames it.
func (w *writer) copy(name string, r io.Reader) {
	if w.err != nil {
		return
	}
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.fail(err)
		return
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		w.fail(err)
		return
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		w.fail(errors.Join(err, os.Remove(path+".new")))
	}
}

// evidence copies what the attempts left, by digest, and their output under
// readable names. What is there already is not copied again.
func (w *writer) evidence(r *Results, store Store) {
	for _, x := range r.Experiments {
		for _, t := range x.Trials {
			if t.Evidence != "" && w.err == nil {
				w.attempt(t, store)
			}
		}
	}
	for _, f := range r.Failures {
		if f.Evidence != "" && !f.Final && w.err == nil {
			w.attempt(Trial{ID: f.Trial, Attempts: f.Attempt, Evidence: f.Evidence}, store)
		}
	}
}

func (w *writer) attempt(t Trial, store Store) {
	tree, err := store.Tree(objects.Digest(t.Evidence))
	if err != nil {
		w.fail(err)
		return
	}
	w.json("evidence/"+t.Evidence+".json", tree)
	for _, f := range tree {
		if f.Size > mostEvidence {
			continue
		}
		name := "evidence/" + string(f.Digest)
		if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
			o, err := store.Open(f.Digest)
			if err != nil {
				w.fail(err)
				return
			}
			w.copy(name, o)
			if err := o.Close(); err != nil {
				w.fail(err)
			}
		}
		if f.Path == "stdout" || f.Path == "stderr" {
			w.link(name, fmt.Sprintf("logs/%s.%s", untrusted.Name(research.AttemptID(t.ID, t.Attempts)), f.Path))
		}
	}
}

// link gives a file a second name.
func (w *writer) link(from, to string) {
	if w.err != nil {
		return
	}
	target := filepath.Join(w.dir, to)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		w.fail(err)
		return
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.fail(err)
		return
	}
	if err := os.Link(filepath.Join(w.dir, from), target); err == nil {
		return
	}
	f, err := os.Open(filepath.Join(w.dir, from)) // a file system without links
	if err != nil {
		w.fail(err)
		return
	}
	w.copy(to, f)
	_ = f.Close() // only read from
}
