package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"ratchet/internal/executor/local"
	"ratchet/internal/filelock"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// Garbage is what GC removed, or would remove.
type Garbage struct {
	Objects     int      `json:"objects"`
	Bytes       int64    `json:"bytes"`       // of objects and folders, as they lay on the disk
	Attempts    []string `json:"attempts"`    // folders of attempts that nobody waits for, as RUN/ATTEMPT; their processes are ended
	Checkpoints []string `json:"checkpoints"` // folders of trials that are complete, as RUN/TRIAL
	Folders     []string `json:"folders"`     // of runs that have no records
	Left        []string `json:"left"`        // what could not be looked at, and why
}

// youngest is how long something that nothing speaks of is left alone while
// somebody works in the home: it may be spoken of soon.
const youngest = time.Hour

// GC removes what no run needs: objects that no record speaks of, the folders
// and processes of attempts that nobody waits for, what complete trials kept
// for a next attempt. Runs that somebody drives are left alone. With dry it
// removes nothing and says what it would.
func (e *Engine) GC(ctx context.Context, dry bool) (*Garbage, error) {
	g := &Garbage{Attempts: []string{}, Checkpoints: []string{}, Folders: []string{}, Left: []string{}}
	young, exclusive := e.now(), false
	lock, err := e.lockHome(syscall.LOCK_EX | syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		young = young.Add(-youngest)
	case err != nil:
		return nil, err
	default:
		defer filelock.Release(lock)
		exclusive = true
		young = young.Add(time.Minute) // whatever the file system's clock says
	}
	runs, err := e.journal.Runs(ctx)
	if err != nil {
		return nil, err
	}
	reached := map[objects.Digest]bool{}
	whole := true
	for _, run := range runs {
		if err := e.reach(ctx, run, reached); err != nil {
			whole = false
			g.Left = append(g.Left, fmt.Sprintf("objects, since one that is damaged may speak of them: %v", err))
		}
		if err := e.gcRun(ctx, run, g, dry); err != nil {
			return g, err
		}
	}
	if exclusive {
		if err := e.gcFolders(runs, g, dry); err != nil {
			return g, err
		}
	}
	if !whole {
		return g, nil
	}
	swept, err := e.objects.Sweep(func(d objects.Digest) bool { return reached[d] }, young, dry)
	g.Objects, g.Bytes = swept.Objects, g.Bytes+swept.Bytes
	return g, err
}

// gcRun cleans up after a run that nobody drives.
func (e *Engine) gcRun(ctx context.Context, run string, g *Garbage, dry bool) error {
	if !exists(e.folder(run)) {
		return nil
	}
	unlock, err := e.lock(run)
	if errors.As(err, new(*DrivenError)) {
		g.Left = append(g.Left, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	s, _, err := e.Load(ctx, run)
	if err != nil {
		g.Left = append(g.Left, fmt.Sprintf("the folder of run %s: %v", run, err))
		return nil
	}
	jobs := local.New(e.folder(run))
	defer jobs.Close()
	ids, err := jobs.Jobs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !s.Ended() && slices.ContainsFunc(s.Pending, func(a research.Action) bool { return slices.Contains(jobsOf(a.ID), id) }) {
			continue
		}
		g.Attempts = append(g.Attempts, run+"/"+id)
		g.Bytes += sizeOf(jobs.Folder(id))
		if dry {
			continue
		}
		if err := jobs.Clean(ctx, id); err != nil {
			return err
		}
	}
	return jobs.Forget(func(trial string) bool {
		t := s.Trial(trial)
		if !s.Ended() && t != nil && t.Outcome == "" {
			return false
		}
		g.Checkpoints = append(g.Checkpoints, run+"/"+trial)
		g.Bytes += sizeOf(filepath.Join(e.folder(run), "checkpoints", untrusted.Name(trial)))
		return !dry
	})
}

// gcFolders removes the folders of runs that never came to be.
func (e *Engine) gcFolders(runs []string, g *Garbage, dry bool) error {
	entries, err := os.ReadDir(filepath.Join(e.home, "runs"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if slices.Contains(runs, name) {
			continue
		}
		if hasWorked(e.folder(name)) {
			g.Left = append(g.Left, fmt.Sprintf("the folder of run %s, whose records are lost; see `ratchet verify --repair`", name))
			continue
		}
		g.Folders = append(g.Folders, name)
		g.Bytes += sizeOf(e.folder(name))
		if dry {
			continue
		}
		if err := untrusted.RemoveAll(e.folder(name)); err != nil {
			return err
		}
	}
	return nil
}

// hasWorked reports whether a run's folder is of one that had attempts.
func hasWorked(folder string) bool {
	return exists(filepath.Join(folder, "attempts")) || exists(filepath.Join(folder, "checkpoints"))
}

// lostRuns are the runs that have a folder with work in it, and no records.
func lostRuns(home string, runs []string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(home, "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, entry := range entries {
		if !slices.Contains(runs, entry.Name()) && hasWorked(filepath.Join(home, "runs", entry.Name())) {
			out = append(out, entry.Name())
		}
	}
	return out, err
}

// DiskUse is what a run takes of the disk, in bytes.
type DiskUse struct {
	Objects int   `json:"objects"`
	Stored  int64 `json:"stored_bytes"` // its objects; those that it shares with other runs count for each
	Folder  int64 `json:"folder_bytes"` // what its attempts work with
}

// DiskUse measures a run.
func (e *Engine) DiskUse(ctx context.Context, run string) (DiskUse, error) {
	reached := map[objects.Digest]bool{}
	if err := e.reach(ctx, run, reached); err != nil {
		return DiskUse{}, err
	}
	use := DiskUse{Objects: len(reached), Folder: sizeOf(e.folder(run))}
	for d := range reached {
		use.Stored += e.objects.Stored(d)
	}
	return use, nil
}

// sizeOf is the size of all files below a folder, in bytes. What cannot be
// read, or goes meanwhile, does not count.
func sizeOf(dir string) (n int64) {
	folder, err := untrusted.Open(dir)
	if err != nil {
		return 0
	}
	defer folder.Close()
	_ = folder.Walk(func(e *untrusted.Entry, err error) error {
		if err == nil && e.Info.Mode.IsRegular() {
			n += e.Info.Size
		}
		return nil
	})
	return n
}
