package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// errChanging says that a program wrote to its checkpoint while it was read.
var errChanging = errors.New("it changes while it is read")

// How often a folder is looked at for one snapshot, and how many of its files
// are held open for it.
const (
	mostPasses = 20
	mostHeld   = 512
)

// snapshot stores what a trial keeps for its next attempt, in chunks, so that
// what did not change since the last time is not stored again. before is the
// digest of the last time. No event: there is nothing, or nothing new.
//
// The program may be at work meanwhile. A snapshot is what was there together
// at some moment: the folder is looked at until twice on end the same is there,
// and its files are opened by then, so that they can be read after they were
// replaced or removed. One that is written to while it is read is errChanging.
func (d *driver) snapshot(a research.Action, folder, before string) ([]research.Payload, error) {
	box, err := openBox(folder)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	m := instant{held: map[untrusted.Info]*os.File{}}
	defer m.close()
	if err := m.catch(box); err != nil || len(m.files) == 0 {
		return nil, err
	}
	tree, size := objects.Tree{}, int64(0)
	for path, info := range m.files {
		file, err := d.readWhole(path, info, func() (*os.File, untrusted.Info, error) { return m.open(box, path) })
		if err != nil {
			return nil, err
		}
		tree = append(tree, file)
		size += file.Size
	}
	digest, err := d.engine.Objects.PutTree(tree)
	if err != nil || string(digest) == before {
		return nil, err
	}
	return []research.Payload{research.AttemptCheckpointed{Trial: a.Trial, Attempt: a.ID, Snapshot: string(digest), Size: size}}, nil
}

// readWhole stores a file that nobody writes to while it is read.
func (d *driver) readWhole(path string, was untrusted.Info, open opener) (objects.File, error) {
	f, now, err := open()
	if untrusted.Theirs(err) || err == nil && !sameContent(now, was) {
		err = errChanging
	}
	if err != nil {
		return objects.File{}, err
	}
	defer f.Close() // only read from
	file, err := d.engine.Objects.PutChunked(f)
	if err != nil {
		return file, err
	}
	if now, err = untrusted.InfoOf(f); err == nil && (file.Size != was.Size || !sameContent(now, was)) {
		err = errChanging
	}
	file.Path, file.Executable = path, was.Mode&0o111 != 0
	return file, err
}

// sameContent reports whether a file is the same, with the same content. Its name may
// have changed.
func sameContent(a, b untrusted.Info) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Modified.Equal(b.Modified)
}

// instant is what is in a folder at some moment.
type instant struct {
	files map[string]untrusted.Info
	held  map[untrusted.Info]*os.File
}

// catch looks until it has seen the same twice on end.
func (m *instant) catch(box *untrusted.Folder) error {
	for range mostPasses {
		last := m.files
		if err := m.look(box); err != nil {
			return err
		}
		if last != nil && maps.Equal(m.files, last) {
			return nil
		}
	}
	return errChanging
}

func (m *instant) look(box *untrusted.Folder) error {
	m.files = map[string]untrusted.Info{}
	err := box.Walk(func(e *untrusted.Entry, err error) error {
		if untrusted.Theirs(err) {
			return nil
		}
		if err != nil || !e.Info.Mode.IsRegular() || !goodName(e.Path) || len(m.files) >= mostArtifacts {
			return err
		}
		info := e.Info
		if m.held[info] == nil && len(m.held) < mostHeld {
			f, now, err := e.Open()
			if untrusted.Theirs(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if info = now; m.held[info] != nil {
				_ = f.Close()
			} else {
				m.held[info] = f
			}
		}
		m.files[e.Path] = info
		return nil
	})
	there := map[untrusted.Info]bool{}
	for _, info := range m.files {
		there[info] = true
	}
	for info, f := range m.held {
		if !there[info] {
			_ = f.Close()
			delete(m.held, info)
		}
	}
	return err
}

// open gives a file to be read from its beginning, whoever read it before.
func (m *instant) open(box *untrusted.Folder, path string) (*os.File, untrusted.Info, error) {
	held := m.held[m.files[path]]
	if held == nil {
		return box.Open(path)
	}
	delete(m.held, m.files[path]) // a second name of the same file opens it anew
	info, err := untrusted.InfoOf(held)
	return held, info, err
}

func (m *instant) close() {
	for _, f := range m.held {
		_ = f.Close()
	}
}

// keepSnapshots stores what a running attempt keeps for the next one, every
// so often, until ctx ends. It returns the digest of the last snapshot. What
// changes while it is read is left for the next time: only whole snapshots
// count.
func (d *driver) keepSnapshots(ctx context.Context, a research.Action, h executor.Handle, before string) string {
	tick := time.NewTicker(time.Duration(d.study.Checkpoints.Attempt))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return before
		case <-tick.C:
		}
		events, err := d.snapshot(a, h.Checkpoint(), before)
		switch {
		case errors.Is(err, errChanging):
			continue
		case err != nil:
			d.answer(result{err: fmt.Errorf("storing the checkpoint of attempt %s: %w", a.ID, err)})
			return before
		case len(events) == 0:
			continue
		}
		before = events[0].(research.AttemptCheckpointed).Snapshot
		d.answer(result{events: events})
	}
}

// restore is what fills the checkpoint folder of a trial's next attempt with
// what was stored; nil: nothing was.
func (d *driver) restore(snapshot string) func(dir string) error {
	if snapshot == "" {
		return nil
	}
	return func(dir string) error {
		tree, err := d.engine.Objects.Tree(objects.Digest(snapshot))
		if err != nil {
			return err
		}
		return d.engine.Objects.CopyOut(tree, dir)
	}
}
