//go:build !nocloud

package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"
)

// leasing locks a place that has no locks of its own: by a blob that its
// holder writes again every so often. One that was not for long is a dead
// holder's.
type leasing struct{ renew, dead time.Duration }

var leases = leasing{renew: time.Minute, dead: 10 * time.Minute}

// leaser is a Store that can make a blob only if there is none.
type leaser interface {
	store
	// putLease writes the lock's blob; with fresh, the error is fs.ErrExist if
	// there is one already.
	putLease(ctx context.Context, content []byte, fresh bool) error
}

// lease is the content of a lock.
type lease struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
}

func (l leasing) lock(ctx context.Context, s leaser, holder string) (func(), error) {
	mine, err := json.Marshal(lease{holder, time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	err = s.putLease(ctx, mine, true)
	if errors.Is(err, fs.ErrExist) {
		if err = l.evict(ctx, s); err == nil {
			err = s.putLease(ctx, mine, true)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, &HeldError{"another process"} // it was quicker
	}
	if err != nil {
		return nil, err
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var over sync.WaitGroup
	over.Go(func() {
		tick := time.NewTicker(l.renew)
		defer tick.Stop()
		for {
			select {
			case <-renewing.Done():
				return
			case <-tick.C:
				_ = s.putLease(renewing, mine, false) // the next time will do
			}
		}
	})
	return func() {
		stop()
		over.Wait()
		_ = s.Delete(context.WithoutCancel(ctx), lockName) // else it goes stale
	}, nil
}

// evict removes a dead holder's lock, or says who is alive.
func (l leasing) evict(ctx context.Context, s store) error {
	there, err := s.List(ctx, lockName)
	if err != nil {
		return err
	}
	for _, b := range there {
		if b.Name != lockName {
			continue
		}
		if time.Since(b.Time) > l.dead {
			return s.Delete(ctx, lockName)
		}
		held := &HeldError{"another process"}
		if r, err := s.Open(ctx, lockName); err == nil {
			var of lease
			if json.NewDecoder(io.LimitReader(r, 1<<10)).Decode(&of) == nil && of.Holder != "" {
				held.Holder = of.Holder
			}
			_ = r.Close() // only read from
		}
		return held
	}
	return nil
}
