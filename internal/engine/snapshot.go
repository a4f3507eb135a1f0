package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// errChanging says that a program wrote to its checkpoint while it was read.
var errChanging = errors.New("it changes while it is read")

// mostPasses is how often a folder is gone through for one snapshot.
const mostPasses = 8

// snapshot stores what a trial keeps for its next attempt, in chunks, so that
// what did not change since the last time is not stored again. before is the
// digest of the last time. No event: there is nothing, or nothing new.
//
// The program may be at work meanwhile. A snapshot is what was there together
// at some moment: the folder is gone through until two passes on end find the
// same. Later passes read only what is new to them, so that they are quick.
func (d *driver) snapshot(a research.Action, folder, before string) ([]research.Payload, error) {
	box, err := openBox(folder)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	read := map[untrusted.Info]objects.File{}
	var last map[string]untrusted.Info
	for range mostPasses {
		now, err := d.pass(box, read)
		if err != nil {
			return nil, err
		}
		if last != nil && maps.Equal(now, last) {
			return d.snapshotOf(a, now, read, before)
		}
		last = now
	}
	return nil, errChanging
}

// pass reads the files in a folder that were not read before, and says what is
// there.
func (d *driver) pass(box *untrusted.Folder, read map[untrusted.Info]objects.File) (map[string]untrusted.Info, error) {
	found := map[string]untrusted.Info{}
	k := keeper{}
	err := box.Walk(func(e *untrusted.Entry, err error) error {
		if untrusted.Theirs(err) {
			return nil
		}
		if err != nil || !e.Info.Mode.IsRegular() {
			return err
		}
		info := e.Info
		k.put = func(open opener) (objects.File, error) {
			if f, ok := read[info]; ok {
				return f, nil
			}
			f, now, err := d.readWhole(open)
			if err == nil {
				info = now
				read[info] = f
			}
			return f, err
		}
		kept := len(k.files)
		if err := k.file(e.Path, e.Info.Mode, e.Open); err != nil {
			return err
		}
		if len(k.files) > kept {
			found[e.Path] = info
		}
		return nil
	})
	return found, err
}

// readWhole stores a file that nobody wrote to while it was read, and says
// which that was.
func (d *driver) readWhole(open opener) (objects.File, untrusted.Info, error) {
	f, was, err := open()
	if err != nil {
		return objects.File{}, was, err
	}
	defer f.Close() // only read from
	file, err := d.engine.objects.PutChunked(f)
	if err != nil {
		return file, was, err
	}
	file.Executable = was.Mode&0o111 != 0
	now, err := untrusted.InfoOf(f)
	if err == nil && (file.Size != was.Size || now.Size != was.Size || !now.Modified.Equal(was.Modified)) {
		err = errChanging
	}
	return file, was, err
}

// snapshotOf is the event of a snapshot of files that were read.
func (d *driver) snapshotOf(a research.Action, found map[string]untrusted.Info, read map[untrusted.Info]objects.File, before string) ([]research.Payload, error) {
	if len(found) == 0 {
		return nil, nil
	}
	tree, size := objects.Tree{}, int64(0)
	for path, info := range found {
		file := read[info]
		file.Path = path
		tree = append(tree, file)
		size += file.Size
	}
	digest, err := d.engine.objects.PutTree(tree)
	if err != nil || string(digest) == before {
		return nil, err
	}
	return []research.Payload{research.AttemptCheckpointed{Trial: a.Trial, Attempt: a.ID, Snapshot: string(digest), Size: size}}, nil
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
		tree, err := d.engine.objects.Tree(objects.Digest(snapshot))
		if err != nil {
			return err
		}
		return d.engine.objects.CopyOut(tree, dir)
	}
}
