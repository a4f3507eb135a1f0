package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ratchet/internal/failpoint"
	"ratchet/internal/filelock"
	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
)

// The files of an attempt's folder.
const (
	requestFile = "request"
	stdoutFile  = "stdout"
	stderrFile  = "stderr"
	pollForExit = 20 * time.Millisecond
)

// Stdout and Stderr are the files with a command's output, which grow while
// it runs.
func Stdout(folder string) string { return filepath.Join(folder, stdoutFile) }

// Stderr is the file with a command's error output.
func Stderr(folder string) string { return filepath.Join(folder, stderrFile) }

// wakeSignal has a shim look for a request.
const wakeSignal = syscall.SIGUSR1

// What a request says.
const (
	requestStop = "stop" // with grace
	requestKill = "kill" // at once
)

// requested is what was asked of the shim in an attempt's folder.
func requested(folder string) (string, bool) {
	b, err := os.ReadFile(filepath.Join(folder, requestFile))
	return string(b), err == nil
}

// ErrLost is the error of Wait where a shim is gone and has not written how
// its command ended, so that it lasted: it was killed, or the machine went
// down.
var ErrLost = errors.New("the process that watched the attempt is gone, and the attempt with it")

// Process is a shim that was started, by this process or another.
type Process struct {
	folder string
	ended  <-chan struct{} // closed when a shim of this process has ended the attempt, or itself; else nil
}

// Start starts a command's shim in an attempt's folder. prepare fills the box
// first. Start is idempotent by the folder: where a shim is there or has
// ended, it attaches to it and prepares nothing.
func (l *Launcher) Start(folder string, spec *sandbox.Spec, prepare func(box string) error) (*Process, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	record, err := os.OpenFile(filepath.Join(folder, recordFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	defer record.Close() // the shim holds its own copy
	if err := filelock.Lock(record); err != nil {
		if errors.Is(err, filelock.ErrHeld) {
			return &Process{folder: folder}, nil
		}
		return nil, fmt.Errorf("starting an attempt: locking %s: %w", record.Name(), err)
	}
	if _, began, err := noted[processes.Identity](folder, keyShim); began || err != nil {
		filelock.Release(record)
		return &Process{folder: folder}, err // and has ended, or was lost: Wait says so
	}
	if err := lay(folder, record, spec, prepare); err != nil {
		filelock.Release(record)
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	failpoint.Hit("start.before")
	h, err := l.launch(folder, record, spec.Given)
	failpoint.Hit("start.after")
	return h, err
}

// lay makes the folder's content anew: whatever an earlier start left that
// got no further.
func lay(folder string, record *os.File, spec *sandbox.Spec, prepare func(box string) error) error {
	box := sandbox.Box(folder)
	if _, err := os.Lstat(box); err == nil {
		for _, path := range []string{box, filepath.Join(folder, sandbox.TmpFolder), filepath.Join(folder, requestFile)} {
			if err := untrusted.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{
		box, filepath.Join(folder, sandbox.TmpFolder),
		filepath.Join(box, sandbox.WorkFolder), filepath.Join(box, sandbox.OutputFolder), filepath.Join(box, sandbox.CheckpointFolder),
	} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if spec.Checkpoint != "" {
		if err := os.MkdirAll(spec.Checkpoint, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(box, sandbox.MetricsFile), nil, 0o600); err != nil {
		return err
	}
	if err := prepare(box); err != nil {
		return err
	}
	if err := placeInputs(box, spec); err != nil {
		return err
	}
	if err := placeCheckpoint(box, spec); err != nil {
		return err
	}
	if err := sandbox.GiveAway(spec, folder); err != nil {
		return err
	}
	if err := record.Truncate(0); err != nil {
		return err
	}
	return note(record, keySpec, spec)
}

// makeRoom makes the folders above a place in a box, a folder of the engine's
// own still. What a build has left in their way, or in that of a folder or a
// file at the place, goes.
func makeRoom(box, place string, folder bool) error {
	at := box
	elements := strings.Split(filepath.Clean(place), string(filepath.Separator))
	for i, element := range elements {
		at = filepath.Join(at, element)
		last := i == len(elements)-1
		info, err := os.Lstat(at)
		if err == nil && info.IsDir() != (!last || folder) {
			err = untrusted.RemoveAll(at)
			if err == nil {
				err = fs.ErrNotExist
			}
		}
		if errors.Is(err, fs.ErrNotExist) && !last {
			err = os.Mkdir(at, 0o700)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// placeInputs makes what inputs are mounted on, or where nothing can be
// mounted, links to them.
func placeInputs(box string, spec *sandbox.Spec) error {
	for _, in := range spec.Inputs {
		target := filepath.Join(box, sandbox.WorkFolder, in.Target)
		info, err := os.Stat(in.Source)
		if err != nil {
			return fmt.Errorf("an input is not there any more: %w", err)
		}
		if err := makeRoom(filepath.Join(box, sandbox.WorkFolder), in.Target, info.IsDir() && spec.Isolation == sandbox.Strict); err != nil {
			return err
		}
		switch {
		case spec.Isolation == sandbox.Process:
			err = os.Symlink(in.Source, target)
		case info.IsDir():
			err = os.MkdirAll(target, 0o700)
		default:
			err = os.WriteFile(target, nil, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// placeCheckpoint makes what the checkpoint folder is mounted on in the working
// folder, or where nothing can be mounted, a link to it. What the program's
// files have there is what the first attempt finds.
func placeCheckpoint(box string, spec *sandbox.Spec) error {
	if spec.CheckpointAt == "" || spec.Checkpoint == "" {
		return nil
	}
	at := filepath.Join(box, sandbox.WorkFolder, spec.CheckpointAt)
	if err := makeRoom(filepath.Join(box, sandbox.WorkFolder), spec.CheckpointAt, true); err != nil {
		return err
	}
	kept, err := os.ReadDir(spec.Checkpoint)
	if err != nil {
		return err
	}
	if _, err := os.Stat(at); err == nil && len(kept) == 0 {
		if err := os.CopyFS(spec.Checkpoint, os.DirFS(at)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	if spec.Isolation == sandbox.Process {
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return err
		}
		return os.Symlink(spec.Checkpoint, at)
	}
	return os.MkdirAll(at, 0o700)
}

// Live reports whether an attempt's shim is running.
func Live(folder string) bool {
	record, err := os.OpenFile(filepath.Join(folder, recordFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer filelock.Release(record)
	return filelock.Held(record)
}

// End kills the attempt in a folder if it is running, and waits until it is
// gone.
func End(ctx context.Context, folder string) error {
	if !Live(folder) {
		return nil
	}
	h := &Process{folder: folder}
	if err := h.Kill(); err != nil {
		return err
	}
	if _, err := h.Wait(ctx); err != nil && !errors.Is(err, ErrLost) {
		return err
	}
	return nil
}

// Wait waits until the shim is done and returns how the command ended, or
// ErrLost. Giving up by ctx leaves the shim running. What the command has left
// is durable only where the shim is on its own; see Ending.Boot.
func (h *Process) Wait(ctx context.Context) (Ending, error) {
	if h.ended != nil {
		select {
		case <-h.ended:
		case <-ctx.Done():
			return Ending{}, ctx.Err()
		}
	}
	tick := time.NewTicker(pollForExit)
	defer tick.Stop()
	for Live(h.folder) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Ending{}, ctx.Err()
		}
	}
	return readEnding(h.folder)
}

// Stop asks the shim to end its command: SIGTERM, then after the grace of its
// limits SIGKILL, the whole tree. It returns at once; Wait sees the end.
// Stopping what has ended does nothing.
func (h *Process) Stop() error { return h.request(requestStop) }

// Kill is Stop without the grace.
func (h *Process) Kill() error { return h.request(requestKill) }

// request leaves a request in the attempt's folder and wakes its shim. What is
// asked stands in the folder, since the shim may be with its next attempt by
// the time that it is woken.
func (h *Process) request(what string) error {
	if err := os.WriteFile(filepath.Join(h.folder, requestFile), []byte(what), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("stopping an attempt: %w", err)
	}
	// Until it has written who it is, it need not be woken: it looks for a
	// request when it begins.
	shim, began, err := noted[processes.Identity](h.folder, keyShim)
	if !began {
		return err
	}
	if now, err := processes.Identify(shim.PID); shim.PID <= 0 || err != nil || now != shim {
		return nil // not there; its process id may be another's by now
	}
	if err := syscall.Kill(shim.PID, wakeSignal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping an attempt: %w", err)
	}
	return nil
}
