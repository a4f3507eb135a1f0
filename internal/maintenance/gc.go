package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// Garbage is what GC removed, or would remove.
type Garbage struct {
	Objects     int      `json:"objects"`
	Bytes       int64    `json:"bytes"`       // of objects and folders, as they lay on the disk
	Attempts    []string `json:"attempts"`    // folders of attempts that no run waits for, as RUN/ATTEMPT; their processes are ended
	Checkpoints []string `json:"checkpoints"` // folders of trials that are complete, as RUN/TRIAL
	Folders     []string `json:"folders"`     // of runs that have no records
	Left        []string `json:"left"`        // what could not be looked at, and why
}

// youngest is how long something that nothing speaks of is left alone while
// a process works in the home: a record may name it soon.
const youngest = time.Hour

// GC removes what no run needs: objects that no record speaks of, the folders
// and processes of attempts that no run waits for, what complete trials kept
// for a next attempt. Runs that a process drives are left alone. With dry it
// removes nothing and says what it would.
func (m *Maintenance) GC(ctx context.Context, dry bool) (*Garbage, error) {
	g := &Garbage{Attempts: []string{}, Checkpoints: []string{}, Folders: []string{}, Left: []string{}}
	young, exclusive := m.home.Now(), false
	done, err := m.home.Exclusive()
	switch {
	case errors.Is(err, home.ErrInUse):
		young = young.Add(-youngest)
	case err != nil:
		return nil, err
	default:
		defer done()
		exclusive = true
		young = young.Add(time.Minute) // whatever the file system's clock says
	}
	runs, err := m.home.Runs(ctx)
	if err != nil {
		return nil, err
	}
	reached := map[objects.Digest]bool{}
	whole := true
	chains, err := journal.AllChains(ctx, m.home.Journal)
	if err != nil {
		return nil, err
	}
	for _, c := range chains {
		if err := m.reach(ctx, c, reached); err != nil {
			whole = false
			g.Left = append(g.Left, fmt.Sprintf("objects, since one that is damaged may speak of them: %v", err))
		}
	}
	for _, run := range runs {
		if err := m.gcRun(ctx, run, g, dry); err != nil {
			return g, err
		}
	}
	if exclusive {
		if err := m.gcFolders(runs, g, dry); err != nil {
			return g, err
		}
	}
	if !whole {
		return g, nil
	}
	swept, err := m.home.Objects.Sweep(func(d objects.Digest) bool { return reached[d] }, young, dry)
	g.Objects, g.Bytes = swept.Objects, g.Bytes+swept.Bytes
	return g, err
}

// gcRun cleans up after a run that no process drives.
func (m *Maintenance) gcRun(ctx context.Context, run string, g *Garbage, dry bool) error {
	if _, err := os.Lstat(m.home.RunFolder(run)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := m.home.LockRun(run)
	if errors.As(err, new(*home.DrivenError)) {
		g.Left = append(g.Left, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	s, _, err := m.history.Load(ctx, run)
	if err != nil {
		g.Left = append(g.Left, fmt.Sprintf("the folder of run %s: %v", run, err))
		return nil
	}
	jobs := m.executor(run)
	defer jobs.Close()
	ids, err := jobs.Jobs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !s.Ended() && slices.ContainsFunc(s.Pending, func(a research.Action) bool { return slices.Contains(executor.JobsOf(a.ID), id) }) {
			continue
		}
		g.Attempts = append(g.Attempts, run+"/"+id)
		g.Bytes += sizeOf(m.home.AttemptFolder(run, id))
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
		g.Bytes += sizeOf(filepath.Join(m.home.CheckpointFolders(run), untrusted.Name(trial)))
		return !dry
	})
}

// gcFolders removes the folders of runs that never came to be.
func (m *Maintenance) gcFolders(runs []string, g *Garbage, dry bool) error {
	left, err := filepath.Glob(filepath.Join(m.home.Folder, "aside", "restoring-*")) // by a restore that was killed
	if err != nil {
		return err
	}
	for _, dir := range left {
		g.Bytes += sizeOf(dir)
		if dry {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(filepath.Join(m.home.Folder, "runs"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if slices.Contains(runs, name) {
			continue
		}
		if home.HasWorked(m.home.RunFolder(name)) {
			g.Left = append(g.Left, fmt.Sprintf("the folder of run %s, whose records are lost; see `ratchet verify --repair`", name))
			continue
		}
		g.Folders = append(g.Folders, name)
		g.Bytes += sizeOf(m.home.RunFolder(name))
		if dry {
			continue
		}
		if err := untrusted.RemoveAll(m.home.RunFolder(name)); err != nil {
			return err
		}
	}
	return nil
}

// DiskUse is what a run takes of the disk, in bytes.
type DiskUse struct {
	Objects int   `json:"objects"`
	Stored  int64 `json:"stored_bytes"` // its objects; those that it shares with other runs count for each
	Folder  int64 `json:"folder_bytes"` // what its attempts work with
}

// DiskUse measures a run.
func (m *Maintenance) DiskUse(ctx context.Context, run string) (DiskUse, error) {
	reached := map[objects.Digest]bool{}
	for _, c := range chainsOf([]string{run}) {
		if err := m.reach(ctx, c, reached); err != nil {
			return DiskUse{}, err
		}
	}
	use := DiskUse{Objects: len(reached), Folder: sizeOf(m.home.RunFolder(run))}
	for d := range reached {
		use.Stored += m.home.Objects.Stored(d)
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
