// Package local executes jobs on this machine, each in a sandbox of its own.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ratchet/internal/attempt"
	"ratchet/internal/executor"
	"ratchet/internal/home"
	"ratchet/internal/node"
	"ratchet/internal/processes"
	"ratchet/internal/redact"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
)

// Executor runs the jobs of one run in folders of its home.
type Executor struct {
	home     *home.Home
	run      string
	node     *node.Node
	secrets  *redact.Redactor
	launcher shim.Launcher
}

// New returns the executor of a run.
func New(h *home.Home, run string, n *node.Node, secrets *redact.Redactor) *Executor {
	return &Executor{home: h, run: run, node: n, secrets: secrets}
}

// Close implements executor.Executor.
func (e *Executor) Close() { e.launcher.Close() }

// Probe implements executor.Executor.
func (e *Executor) Probe(level sandbox.Isolation) error { return shim.Probe(level) }

// Admit implements executor.Executor. A job that was started by an earlier engine
// has its room already.
func (e *Executor) Admit(ctx context.Context, job *executor.Job, r executor.Reservation) (leave func(), err error) {
	there, err := e.Started(ctx, job.ID)
	if err != nil {
		return func() {}, err
	}
	claim := node.Claim{Run: job.Run, Attempt: job.ID, Memory: r.Memory, CPUs: job.Limits.CPUs, GPUMemory: r.GPUMemory}
	if there {
		spec, err := shim.ReadSpec(e.home.AttemptFolder(e.run, job.ID))
		if err != nil {
			return func() {}, err
		}
		claim.Memory, claim.CPUs, claim.GPUs, claim.GPUMemory = int64(spec.Limits.Memory), spec.Limits.CPUs, spec.GPUs, int64(spec.Limits.GPUMemory)
		claim.Processors = spec.Processors
		claim.Share = min(1, spec.Limits.GPUs)
		job.GPUs = claim.GPUs
		return e.node.Attach(claim)
	}
	got, leave, err := e.node.Enter(ctx, claim, job.Limits.GPUs, int64(job.Limits.Disk), r)
	job.GPUs, job.Processors = got.GPUs, got.Processors
	return leave, err
}

// Started implements executor.Executor.
func (e *Executor) Started(_ context.Context, id string) (bool, error) {
	return shim.Began(e.home.AttemptFolder(e.run, id))
}

// Start implements executor.Executor.
func (e *Executor) Start(ctx context.Context, job executor.Job) (executor.Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a := &attempt.Attempt{
		Job: job, Folder: e.home.AttemptFolder(e.run, job.ID), Kept: filepath.Join(e.home.CheckpointFolders(e.run), untrusted.Name(job.Trial)),
		Store: e.home.Objects, Secrets: e.secrets,
	}
	h, err := a.Start(&e.launcher)
	if err != nil {
		return nil, err
	}
	return &handle{a, h}, nil
}

// Clean implements executor.Executor.
func (e *Executor) Clean(ctx context.Context, id string) error {
	return attempt.Remove(ctx, e.home.AttemptFolder(e.run, id))
}

// Forget implements executor.Executor.
func (e *Executor) Forget(which func(trial string) bool) error {
	folder := e.home.CheckpointFolders(e.run)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if !which(entry.Name()) {
			continue
		}
		if err := untrusted.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
			return fmt.Errorf("removing the checkpoint of trial %s: %w", entry.Name(), err)
		}
	}
	return err
}

// Jobs implements executor.Executor.
func (e *Executor) Jobs() ([]string, error) {
	entries, err := os.ReadDir(e.home.AttemptFolders(e.run))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out, err
}

// Output implements executor.Executor.
func (e *Executor) Output(id, name string) (io.ReadCloser, error) {
	path := shim.Stdout(e.home.AttemptFolder(e.run, id))
	if name == "stderr" {
		path = shim.Stderr(e.home.AttemptFolder(e.run, id))
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // it has just begun
		return io.NopCloser(strings.NewReader("")), nil
	}
	return f, err
}

type handle struct {
	attempt *attempt.Attempt
	shim    *shim.Process
}

// Wait implements executor.Handle.
func (h *handle) Wait(ctx context.Context) (executor.Outcome, error) {
	end, err := h.shim.Wait(ctx)
	var out executor.Outcome
	switch {
	case errors.Is(err, shim.ErrLost):
		out, err = h.attempt.CollectLost(ctx)
	case err != nil:
		return out, err
	default:
		out, err = h.attempt.Collect(ctx, end)
	}
	if err != nil {
		err = fmt.Errorf("collecting attempt %s: %w", h.attempt.Job.ID, err)
	}
	return out, err
}

// Stop implements executor.Handle.
func (h *handle) Stop(atOnce bool) error {
	if atOnce {
		return h.shim.Kill()
	}
	return h.shim.Stop()
}

// Snapshot implements executor.Handle.
func (h *handle) Snapshot(context.Context) (digest string, size int64, err error) {
	return h.attempt.Snapshot()
}

// Using implements executor.Handle.
func (h *handle) Using() (processes.Reading, bool) { return shim.Using(h.attempt.Folder) }
