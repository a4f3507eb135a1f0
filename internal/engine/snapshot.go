package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// errChanging says that a program wrote to its checkpoint while it was read.
var errChanging = errors.New("it changes while it is read")

// snapshot stores what a trial keeps for its next attempt, in chunks, so that
// what did not change since the last time is not stored again. before is the
// digest of the last time. No event: there is nothing, or nothing new.
func (d *driver) snapshot(a research.Action, folder, before string) ([]research.Payload, error) {
	var size int64
	files, _, err := keepFolder(folder, "", func(path string) (objects.File, error) {
		f, info, err := openUntrusted(path)
		if err != nil {
			return objects.File{}, err
		}
		defer f.Close() // only read from
		file, err := d.engine.objects.PutChunked(f)
		if err != nil {
			return file, err
		}
		now, err := os.Lstat(path)
		if err != nil || file.Size != info.Size() || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) || !os.SameFile(now, info) {
			return file, errChanging
		}
		file.Executable = info.Mode()&0o111 != 0
		size += file.Size
		return file, nil
	})
	if err != nil || len(files) == 0 {
		return nil, err
	}
	digest, err := d.engine.objects.PutTree(files)
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
