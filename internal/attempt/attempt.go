// Package attempt is a job in a folder, beside the machine's walls: what it is
// made of before it starts, and its outcome made of what it left. It knows no
// engine and no run.
package attempt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Attempt is a job on the machine on which it runs.
type Attempt struct {
	Job     executor.Job
	Folder  string         // the job's own, while it runs
	Kept    string         // the folder with what the trial keeps for its next attempt; it outlives Folder
	Store   *objects.Store // has the objects that the job names, and takes what is kept of it
	Secrets *redact.Redactor
}

// evaluatedFolder is what an evaluation looks at, inside its box.
const evaluatedFolder = "evaluated"

// Start starts the job under a shim, or attaches to it if it was started before.
func (a *Attempt) Start(l *shim.Launcher) (*shim.Process, error) {
	if err := a.restore(); err != nil {
		return nil, fmt.Errorf("attempt %s: restoring its checkpoint: %w", a.Job.ID, err)
	}
	h, err := l.Start(a.Folder, a.spec(), a.fill)
	if err != nil {
		return nil, fmt.Errorf("attempt %s: %w", a.Job.ID, err)
	}
	return h, nil
}

// Remove ends the job in a folder, if it runs, and removes the folder.
func Remove(ctx context.Context, folder string) error {
	if err := shim.End(ctx, folder); err != nil {
		return fmt.Errorf("ending attempt %s: %w", filepath.Base(folder), err)
	}
	if err := untrusted.RemoveAll(folder); err != nil {
		return fmt.Errorf("removing the files of attempt %s: %w", filepath.Base(folder), err)
	}
	return nil
}

func (a *Attempt) spec() *sandbox.Spec {
	j := &a.Job
	spec := &sandbox.Spec{
		Command: j.Command, Isolation: j.Isolation, Limits: j.Limits, Inputs: j.Inputs,
		ReadOnly: j.ReadOnly, Checkpoint: a.Kept, Halt: j.Halt,
		GPUs: j.GPUs, Processors: j.Processors, Door: j.Door, CheckpointAt: j.CheckpointAt,
	}
	if j.Evaluated != "" {
		spec.Checkpoint = ""
	}
	checkpoint := spec.Path(a.Folder, sandbox.CheckpointFolder)
	if j.Isolation == sandbox.Process && spec.Checkpoint != "" {
		// What the program sees is the folder itself; under Strict the
		// checkpoint has a place in the box.
		checkpoint = spec.Checkpoint
	}
	spec.Env = sandbox.Variables(a.environment(spec, checkpoint), j.Env...)
	for _, name := range j.Wanted {
		if value, ok := os.LookupEnv(name); ok {
			spec.Given = append(spec.Given, name+"="+value)
		}
	}
	return spec
}

// fill puts into the box what the job begins with.
func (a *Attempt) fill(box string) error {
	params, err := json.Marshal(a.Job.Parameters)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(box, sandbox.ParamsFile), params, 0o600); err != nil {
		return err
	}
	for name, content := range a.Job.Beside {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%q is no name in a box", name)
		}
		path := filepath.Join(box, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	if a.Job.Evaluated != "" {
		if err := a.show(filepath.Join(box, evaluatedFolder)); err != nil {
			return err
		}
	}
	work := filepath.Join(box, sandbox.WorkFolder)
	if err := a.copyOut(a.Job.Files, work); err != nil {
		return err
	}
	return errors.Join(a.write(work, a.Job.Render, study.Render), a.write(work, a.Job.Config, study.Configure))
}

// write makes files of others of a working folder, which only this process has yet.
func (a *Attempt) write(work string, files []study.Written, by func(path string, from []byte, p study.Params, seed int64) ([]byte, error)) error {
	for _, w := range files {
		from, err := os.ReadFile(filepath.Join(work, filepath.FromSlash(w.From)))
		if err != nil {
			return err
		}
		content, err := by(w.Path, from, a.Job.Parameters, a.Job.Seed)
		if err != nil {
			return fmt.Errorf("writing %s from %s: %w", w.Path, w.From, err)
		}
		path := filepath.Join(work, filepath.FromSlash(w.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// show puts what is evaluated into a folder, for reading.
func (a *Attempt) show(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	tree, err := a.Store.Tree(objects.Digest(a.Job.Evaluated))
	if err != nil {
		return err
	}
	if err := a.Store.CopyOut(tree, dir); err != nil {
		return err
	}
	for _, f := range tree {
		if err := os.Chmod(filepath.Join(dir, filepath.FromSlash(f.Path)), 0o444); err != nil { // only this process has the folder yet
			return err
		}
	}
	return nil
}

func (a *Attempt) copyOut(digest, dir string) error {
	tree, err := a.Store.Tree(objects.Digest(digest))
	if err != nil {
		return err
	}
	return a.Store.CopyOut(tree, dir)
}

// restore makes a trial's checkpoint folder of what was stored, whole or not
// at all, where it is not there: on another machine, or after a rollback.
func (a *Attempt) restore() error {
	if a.Job.Checkpoint == "" {
		return nil
	}
	if _, err := os.Lstat(a.Kept); err == nil {
		return nil
	}
	half := filepath.Join(filepath.Dir(a.Kept), ".half-"+untrusted.Name(a.Job.ID))
	if err := untrusted.RemoveAll(half); err != nil {
		return err
	}
	if err := os.MkdirAll(half, 0o700); err != nil {
		return err
	}
	if err := a.copyOut(a.Job.Checkpoint, half); err != nil {
		return err
	}
	return os.Rename(half, a.Kept)
}

// threadVariables say to the usual libraries how many threads to start: as many as the
// program has processors, rounded up. By themselves they start one for each of the
// machine's, and a quota then stops them all for most of the time.
var threadVariables = []string{
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS",
	"RAYON_NUM_THREADS", "JULIA_NUM_THREADS", "GOMAXPROCS",
}

// environment is the whole environment of the program: nothing of the engine's
// own is in it.
func (a *Attempt) environment(spec *sandbox.Spec, checkpoint string) []string {
	j, at := &a.Job, func(name string) string { return spec.Path(a.Folder, name) }
	home := "/tmp"
	if j.Isolation == sandbox.Process {
		home = filepath.Join(sandbox.Box(a.Folder), sandbox.WorkFolder)
	}
	env := []string{
		"PATH=" + j.Path, "HOME=" + home, "LANG=C.UTF-8", "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0",
		"RATCHET_RUN=" + j.Run, "RATCHET_EXPERIMENT=" + j.Experiment, "RATCHET_TRIAL=" + j.Trial,
		"RATCHET_ATTEMPT=" + strconv.Itoa(j.Attempt), "RATCHET_SEED=" + strconv.FormatInt(j.Seed, 10),
		"RATCHET_PARAMS=" + at(sandbox.ParamsFile), "RATCHET_METRICS=" + at(sandbox.MetricsFile),
		"RATCHET_OUTPUT=" + at(sandbox.OutputFolder), "RATCHET_CHECKPOINT=" + checkpoint,
	}
	threads := strconv.Itoa(max(1, int(math.Ceil(j.Limits.CPUs))))
	for _, name := range threadVariables {
		env = append(env, name+"="+threads)
	}
	if j.Evaluated != "" {
		env = append(env, "RATCHET_EVALUATED="+at(evaluatedFolder))
	}
	if j.GPUs != nil {
		devices := make([]string, len(j.GPUs))
		for i, g := range j.GPUs {
			devices[i] = strconv.Itoa(g)
		}
		list := strings.Join(devices, ",")
		env = append(env, "CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES="+list, "NVIDIA_VISIBLE_DEVICES="+list)
	}
	for name, v := range j.Parameters {
		env = append(env, study.Variable(name)+"="+study.FormatValue(v))
	}
	return env
}
