package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ratchet/internal/failpoint"
)

// The files of an attempt's folder.
const (
	lockFile    = "lock"
	specFile    = "spec.json"
	shimFile    = "shim.json"
	endingFile  = "ending.json"
	boxFolder   = "box"
	tmpFolder   = "tmp"
	rootFolder  = "root"
	shimLog     = "shim.log"
	stdoutFile  = "stdout"
	stderrFile  = "stderr"
	pollForExit = 20 * time.Millisecond
)

// Box is the folder of an attempt that its command may write to.
func Box(folder string) string { return filepath.Join(folder, boxFolder) }

// Stdout and Stderr are the files with a command's output, which grow while
// it runs.
func Stdout(folder string) string { return filepath.Join(folder, stdoutFile) }

// Stderr is the file with a command's error output.
func Stderr(folder string) string { return filepath.Join(folder, stderrFile) }

// ErrLost is the error of Wait where a shim is gone and has not written how
// its command ended: it was killed, or the machine went down.
var ErrLost = errors.New("the process that watched the attempt is gone, and the attempt with it")

// Handle is a shim that was started, by this process or another.
type Handle struct {
	folder string
	shim   identity
	exited chan struct{} // closed when a shim of this process was waited for; else nil
}

// identity names a process for good: a process id comes back, the pair of it
// with its start time does not.
type identity struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // opaque: boot and start time within it
}

// Start starts a command's shim in an attempt's folder. prepare fills the box
// first. Start is idempotent by the folder: where a shim is there or has
// ended, it attaches to it and prepares nothing.
func (l *Launcher) Start(folder string, spec *Spec, prepare func(box string) error) (*Handle, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	defer lock.Close() // the shim holds its own copy
	// The lock belongs to whoever has the file open: this process until the
	// shim has inherited it, then the shim until it is gone. There is no
	// moment in between at which a crash would let a second shim start.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return attach(folder)
		}
		return nil, fmt.Errorf("starting an attempt: locking %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(filepath.Join(folder, endingFile)); err == nil {
		return &Handle{folder: folder}, nil
	}
	if _, err := os.Stat(filepath.Join(folder, shimFile)); err == nil {
		return &Handle{folder: folder}, nil // it began and was lost: Wait says so
	}
	if err := lay(folder, spec, prepare); err != nil {
		return nil, fmt.Errorf("starting an attempt: %w", err)
	}
	failpoint.Hit("start.before")
	h, err := l.launch(folder, lock)
	failpoint.Hit("start.after")
	return h, err
}

// lay makes the folder's content anew: whatever an earlier start left that
// got no further.
func lay(folder string, spec *Spec, prepare func(box string) error) error {
	box := Box(folder)
	for _, dir := range []string{box, filepath.Join(folder, tmpFolder)} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{
		filepath.Join(folder, tmpFolder), filepath.Join(folder, rootFolder), spec.Checkpoint,
		filepath.Join(box, WorkFolder), filepath.Join(box, OutputFolder), filepath.Join(box, CheckpointFolder),
	} {
		if dir == "" {
			continue // it has no checkpoint folder
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(box, MetricsFile), nil, 0o600); err != nil {
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
	if err := giveAway(spec, folder); err != nil {
		return err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, specFile), b, 0o600)
}

// placeInputs makes what inputs are mounted on, or where nothing can be
// mounted, links to them.
func placeInputs(box string, spec *Spec) error {
	for _, in := range spec.Inputs {
		target := filepath.Join(box, WorkFolder, in.Target)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		info, err := os.Stat(in.Source)
		switch {
		case err != nil:
			return fmt.Errorf("an input is not there any more: %w", err)
		case spec.Isolation == Process:
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
func placeCheckpoint(box string, spec *Spec) error {
	if spec.CheckpointAt == "" || spec.Checkpoint == "" {
		return nil
	}
	at := filepath.Join(box, WorkFolder, spec.CheckpointAt)
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
	if spec.Isolation == Process {
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return err
		}
		return os.Symlink(spec.Checkpoint, at)
	}
	return os.MkdirAll(at, 0o700)
}

// attach finds the shim that holds the folder's lock.
func attach(folder string) (*Handle, error) {
	h := &Handle{folder: folder}
	b, err := os.ReadFile(filepath.Join(folder, shimFile))
	if err == nil {
		err = json.Unmarshal(b, &h.shim)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("finding the process of an attempt: %w", err)
	}
	return h, nil
}

// ReadSpec reads what an attempt that was started is.
func ReadSpec(folder string) (*Spec, error) {
	b, err := os.ReadFile(filepath.Join(folder, specFile))
	if err != nil {
		return nil, err
	}
	var s Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("reading what the attempt in %s is: %w", folder, err)
	}
	return &s, nil
}

// Live reports whether an attempt's shim is running.
func Live(folder string) bool {
	lock, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// End kills the attempt in a folder if it is running, and waits until it is
// gone.
func End(ctx context.Context, folder string) error {
	if !Live(folder) {
		return nil
	}
	h, err := attach(folder)
	if err != nil {
		return err
	}
	if err := h.Kill(); err != nil {
		return err
	}
	if _, err := h.Wait(ctx); err != nil && !errors.Is(err, ErrLost) {
		return err
	}
	return nil
}

// Wait waits until the shim is gone and returns how the command ended, or
// ErrLost. Giving up by ctx leaves the shim running.
func (h *Handle) Wait(ctx context.Context) (Ending, error) {
	if h.exited != nil {
		select {
		case <-h.exited:
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

func readEnding(folder string) (Ending, error) {
	b, err := os.ReadFile(filepath.Join(folder, endingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Ending{}, ErrLost
	}
	var e Ending
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		return Ending{}, fmt.Errorf("reading how the attempt in %s ended: %w", folder, err)
	}
	return e, nil
}

// Stop asks the shim to end its command: SIGTERM, then after the grace of its
// limits SIGKILL, the whole tree. It returns at once; Wait sees the end.
// Stopping what has ended does nothing.
func (h *Handle) Stop() error { return h.signal(syscall.SIGTERM) }

// Kill is Stop without the grace.
func (h *Handle) Kill() error { return h.signal(syscall.SIGINT) }

func (h *Handle) signal(sig syscall.Signal) error {
	// Until it has written who it is, a signal would kill the shim itself.
	for {
		if _, err := os.Stat(filepath.Join(h.folder, shimFile)); err == nil || !Live(h.folder) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	shim := h.shim
	if shim.PID == 0 {
		other, err := attach(h.folder)
		if err != nil {
			return err
		}
		shim = other.shim
	}
	if now, err := identify(shim.PID); shim.PID == 0 || err != nil || now != shim {
		return nil // gone; its process id may be another's by now
	}
	if err := syscall.Kill(shim.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping an attempt: %w", err)
	}
	return nil
}
