package executor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Snapshots stores what a trial keeps for its next attempt every so often until ctx
// ends: take stores it and gives its digest and its size in bytes, as Handle.Snapshot
// does, and keep is told of each that is not the one before. What changes while it is
// read is left for the next time: only whole snapshots count. last is the digest of
// the last one.
func Snapshots(ctx context.Context, every time.Duration, before string, take func() (string, int64, error), keep func(digest string, size int64) error) (last string, err error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last = before; ; {
		select {
		case <-ctx.Done():
			return last, nil
		case <-tick.C:
		}
		digest, size, err := take()
		if err == nil && digest != "" && digest != last {
			last, err = digest, keep(digest, size)
		}
		if ctx.Err() != nil {
			return last, nil // the last one is taken when the job has ended
		}
		if err != nil && !errors.Is(err, ErrChanging) {
			return last, fmt.Errorf("storing the checkpoint: %w", err)
		}
	}
}
