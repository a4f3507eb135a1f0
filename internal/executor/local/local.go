// Package local executes jobs on this machine, each in a sandbox of its own.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ratchet/internal/executor"
	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Executor keeps the jobs of one run in folders below its own.
type Executor struct {
	attempts    string
	checkpoints string
	launcher    sandbox.Launcher
}

// New returns the executor of the run in a folder.
func New(folder string) *Executor {
	return &Executor{attempts: filepath.Join(folder, "attempts"), checkpoints: filepath.Join(folder, "checkpoints")}
}

// Close lets go of what the executor keeps ready. Jobs that run go on.
func (e *Executor) Close() { e.launcher.Close() }

// Folder is where a job's files are while it runs.
func (e *Executor) Folder(id string) string { return filepath.Join(e.attempts, untrusted.Name(id)) }

// Start implements executor.Executor.
func (e *Executor) Start(ctx context.Context, job executor.Job) (executor.Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	folder := e.Folder(job.ID)
	if err := e.restore(job); err != nil {
		return nil, fmt.Errorf("attempt %s: restoring its checkpoint: %w", job.ID, err)
	}
	spec := &sandbox.Spec{
		Command: job.Command, Isolation: job.Isolation, Limits: job.Limits, Inputs: job.Inputs,
		ReadOnly: job.ReadOnly, Checkpoint: e.checkpoint(job.Trial), Halt: job.Halt,
		GPUs: job.GPUs, Door: job.Door, CheckpointAt: job.CheckpointAt,
	}
	if job.Evaluated != nil {
		spec.Checkpoint = ""
	}
	if job.Isolation == sandbox.Process && spec.Checkpoint != "" {
		// What the program sees is the folder itself; under Strict the
		// checkpoint has a place in the box.
		spec.Env = environment(job, spec, folder, spec.Checkpoint)
	} else {
		spec.Env = environment(job, spec, folder, spec.Path(folder, sandbox.CheckpointFolder))
	}
	h, err := e.launcher.Start(folder, spec, func(box string) error {
		params, err := json.Marshal(job.Parameters)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(box, sandbox.ParamsFile), params, 0o600); err != nil {
			return err
		}
		if job.Evaluated != nil {
			if err := os.Mkdir(filepath.Join(box, evaluatedFolder), 0o700); err != nil {
				return err
			}
			if err := job.Evaluated(filepath.Join(box, evaluatedFolder)); err != nil {
				return err
			}
		}
		return job.Fill(filepath.Join(box, sandbox.WorkFolder))
	})
	if err != nil {
		return nil, fmt.Errorf("attempt %s: %w", job.ID, err)
	}
	return &handle{Handle: h, folder: folder, checkpoint: e.checkpoint(job.Trial)}, nil
}

func (e *Executor) checkpoint(trial string) string {
	return filepath.Join(e.checkpoints, untrusted.Name(trial))
}

// evaluatedFolder is what an evaluation looks at, inside its box.
const evaluatedFolder = "evaluated"

// restore makes a trial's checkpoint folder of what was stored, whole or not
// at all, where it is not there: on another machine, or after a rollback.
func (e *Executor) restore(job executor.Job) error {
	if job.Restore == nil {
		return nil
	}
	if _, err := os.Lstat(e.checkpoint(job.Trial)); err == nil {
		return nil
	}
	half := filepath.Join(e.checkpoints, ".half-"+untrusted.Name(job.ID))
	if err := untrusted.RemoveAll(half); err != nil {
		return err
	}
	if err := os.MkdirAll(half, 0o700); err != nil {
		return err
	}
	if err := job.Restore(half); err != nil {
		return err
	}
	return os.Rename(half, e.checkpoint(job.Trial))
}

// environment is the whole environment of a program: nothing of the engine's
// own is in it.
func environment(job executor.Job, spec *sandbox.Spec, folder, checkpoint string) []string {
	home := "/tmp"
	if job.Isolation == sandbox.Process {
		home = filepath.Join(sandbox.Box(folder), sandbox.WorkFolder)
	}
	env := []string{
		"PATH=" + job.Path, "HOME=" + home, "LANG=C.UTF-8", "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0",
		"RATCHET_RUN=" + job.Run, "RATCHET_EXPERIMENT=" + job.Experiment, "RATCHET_TRIAL=" + job.Trial,
		"RATCHET_ATTEMPT=" + strconv.Itoa(job.Attempt), "RATCHET_SEED=" + strconv.FormatInt(job.Seed, 10),
		"RATCHET_PARAMS=" + spec.Path(folder, sandbox.ParamsFile),
		"RATCHET_METRICS=" + spec.Path(folder, sandbox.MetricsFile),
		"RATCHET_OUTPUT=" + spec.Path(folder, sandbox.OutputFolder),
		"RATCHET_CHECKPOINT=" + checkpoint,
	}
	if job.Evaluated != nil {
		env = append(env, "RATCHET_EVALUATED="+spec.Path(folder, evaluatedFolder))
	}
	if job.GPUs != nil {
		devices := make([]string, len(job.GPUs))
		for i, g := range job.GPUs {
			devices[i] = strconv.Itoa(g)
		}
		list := strings.Join(devices, ",")
		env = append(env, "CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES="+list, "NVIDIA_VISIBLE_DEVICES="+list)
	}
	for name, v := range job.Parameters {
		env = append(env, "RATCHET_PARAM_"+strings.ToUpper(name)+"="+study.FormatValue(v))
	}
	return env
}

// Clean implements executor.Executor.
func (e *Executor) Clean(ctx context.Context, id string) error {
	if err := sandbox.End(ctx, e.Folder(id)); err != nil {
		return fmt.Errorf("ending attempt %s: %w", id, err)
	}
	if err := untrusted.RemoveAll(e.Folder(id)); err != nil {
		return fmt.Errorf("removing the files of attempt %s: %w", id, err)
	}
	return nil
}

// Forget removes what trials keep for their next attempts.
func (e *Executor) Forget(which func(trial string) bool) error {
	entries, err := os.ReadDir(e.checkpoints)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if !which(entry.Name()) {
			continue
		}
		if err := untrusted.RemoveAll(filepath.Join(e.checkpoints, entry.Name())); err != nil {
			return fmt.Errorf("removing the checkpoint of trial %s: %w", entry.Name(), err)
		}
	}
	return err
}

// Jobs implements executor.Executor.
func (e *Executor) Jobs() ([]string, error) {
	entries, err := os.ReadDir(e.attempts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out, err
}

type handle struct {
	*sandbox.Handle
	folder     string
	checkpoint string
}

// Checkpoint implements executor.Handle.
func (h *handle) Checkpoint() string { return h.checkpoint }

// Using implements executor.Handle.
func (h *handle) Using() (sandbox.Usage, bool) { return sandbox.Using(h.folder) }

// Wait implements executor.Handle.
func (h *handle) Wait(ctx context.Context) (executor.Outcome, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	out := executor.Outcome{
		Host: host, Box: sandbox.Box(h.folder), Checkpoint: h.checkpoint,
		Stdout: sandbox.Stdout(h.folder), Stderr: sandbox.Stderr(h.folder),
	}
	end, err := h.Handle.Wait(ctx)
	switch {
	case errors.Is(err, sandbox.ErrLost):
		out.Lost = true
	case err != nil:
		return executor.Outcome{}, err
	}
	out.Ending, out.Diagnosis = end, sandbox.Diagnosis(h.folder)
	return out, nil
}

// Stop implements executor.Handle.
func (h *handle) Stop(atOnce bool) error {
	if atOnce {
		return h.Kill()
	}
	return h.Handle.Stop()
}
