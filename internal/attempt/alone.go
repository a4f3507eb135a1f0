package attempt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
	"ratchet/internal/shim"
)

// The files of a folder from which a job runs alone, besides those of package
// sandbox.
const (
	jobFile        = "job.json"
	outcomeFile    = "outcome.json"
	objectsFolder  = "objects"       // what the job names, and then what is kept of it
	checkpointName = "checkpoint"    // what the trial keeps for its next attempt
	snapshotFile   = "snapshot.json" // the last snapshot of that
)

// Pack makes a folder from which a job can be run alone, on any machine that has
// the job's inputs: the job, and the objects that it names. It is durable on return.
func Pack(folder string, job executor.Job, from *objects.Store) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	to, err := objects.Open(filepath.Join(folder, objectsFolder))
	if err != nil {
		return err
	}
	if err := carry(from, to, job.Files, job.Checkpoint, job.Evaluated); err != nil {
		return fmt.Errorf("packing attempt %s: %w", job.ID, err)
	}
	return writeJSON(filepath.Join(folder, jobFile), job)
}

// Run runs the job of a folder to its end, or attaches to it, and leaves its outcome
// and what is kept of it in the folder. When ctx ends, the job is stopped, with the
// grace of its limits, and that is its outcome. Running what has an outcome gives
// that. All is durable on return.
func Run(ctx context.Context, folder string, secrets *redact.Redactor) (*executor.Outcome, error) {
	out, err := readOutcome(folder)
	if err != nil || out != nil {
		return out, err
	}
	folder, err = filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	a := &Attempt{Folder: folder, Kept: filepath.Join(folder, checkpointName), Secrets: secrets}
	b, err := os.ReadFile(filepath.Join(folder, jobFile))
	if err == nil {
		err = json.Unmarshal(b, &a.Job)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the job: %w", err)
	}
	if a.Store, err = objects.Open(filepath.Join(folder, objectsFolder)); err != nil {
		return nil, err
	}
	h, err := a.Start(nil)
	if err != nil {
		return nil, err
	}
	stop := a.keepSnapshots()
	made, err := a.end(ctx, h)
	if err = errors.Join(err, stop()); err != nil {
		return nil, fmt.Errorf("attempt %s: %w", a.Job.ID, err)
	}
	return made, writeJSON(filepath.Join(folder, outcomeFile), made)
}

// Snapshot is what a trial kept for its next attempt at some moment.
type Snapshot struct {
	Digest string `json:"digest"` // of its manifest
	Size   int64  `json:"size"`   // bytes
}

// keepSnapshots stores what the trial keeps for its next attempt every so often, as the
// job says, until stop is called. Each is durable with its file before the next begins.
// stop gives why one could not be stored.
func (a *Attempt) keepSnapshots() (stop func() error) {
	if a.Job.SnapshotEvery <= 0 {
		return func() error { return nil }
	}
	ctx, end := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := executor.Snapshots(ctx, time.Duration(a.Job.SnapshotEvery), "", a.Snapshot, func(digest string, size int64) error {
			return writeJSON(filepath.Join(a.Folder, snapshotFile), Snapshot{digest, size})
		})
		failed <- err
	}()
	return func() error {
		end()
		return <-failed
	}
}

// UnpackSnapshot gives the last snapshot that a job stored while it ran alone in a
// folder, once that is in a store, durably: of a job whose machine is gone, a next
// attempt goes on from there. The zero Snapshot: there is none. The folder may say
// anything, as with Unpack.
func UnpackSnapshot(folder string, to *objects.Store) (s Snapshot, err error) {
	b, err := os.ReadFile(filepath.Join(folder, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("reading a snapshot: %w", err)
	}
	from, err := objects.Open(filepath.Join(folder, objectsFolder))
	if err == nil {
		err = carry(from, to, s.Digest)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("unpacking a snapshot: %w", err)
	}
	return s, nil
}

// end waits for the job and makes its outcome.
func (a *Attempt) end(ctx context.Context, h *shim.Process) (*executor.Outcome, error) {
	ending, err := h.Wait(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		ctx = context.WithoutCancel(ctx)
		if err := h.Stop(); err != nil {
			return nil, err
		}
		ending, err = h.Wait(ctx)
	}
	var out executor.Outcome
	switch {
	case errors.Is(err, shim.ErrLost):
		if out, err = a.CollectLost(ctx); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if out, err = a.Collect(ctx, ending); err != nil {
			return nil, err
		}
	}
	if out.Lost || out.Exit != 0 || out.EndedBy != "" { // a next attempt may follow
		if out.Checkpoint, out.CheckpointSize, err = a.Snapshot(); err != nil && !errors.Is(err, executor.ErrChanging) {
			return nil, err
		}
	}
	return &out, nil
}

// Unpack gives the outcome of a job that ran alone in a folder, once what is kept of
// it is in a store, durably; nil: it has none yet. The folder may say anything: an
// object is what its digest says, or an error.
func Unpack(folder string, to *objects.Store) (*executor.Outcome, error) {
	out, err := readOutcome(folder)
	if err != nil || out == nil {
		return nil, err
	}
	from, err := objects.Open(filepath.Join(folder, objectsFolder))
	if err != nil {
		return nil, err
	}
	if err := carry(from, to, out.Evidence, out.Work, out.Checkpoint); err != nil {
		return nil, fmt.Errorf("unpacking what was kept of an attempt: %w", err)
	}
	return out, nil
}

func readOutcome(folder string) (*executor.Outcome, error) {
	b, err := os.ReadFile(filepath.Join(folder, outcomeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	out := &executor.Outcome{}
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		return nil, fmt.Errorf("reading an outcome: %w", err)
	}
	return out, nil
}

// carry copies manifests, and all that they name, from a store to another. Empty
// digests are passed over.
func carry(from, to *objects.Store, manifests ...string) error {
	in, err := to.Intake()
	if err != nil {
		return err
	}
	defer in.Discard()
	for _, m := range manifests {
		if m == "" {
			continue
		}
		tree, err := from.Tree(objects.Digest(m))
		if err != nil {
			return err
		}
		needs := []objects.Digest{objects.Digest(m)}
		for _, f := range tree {
			needs = append(needs, f.Objects()...)
		}
		for _, d := range needs {
			if in.Has(d) {
				continue
			}
			if err := in.Copy(from, d); err != nil {
				return err
			}
		}
	}
	return in.Commit()
}

// writeJSON writes a document, durably and whole or not at all.
func writeJSON(path string, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return objects.WriteFile(path, b)
}
