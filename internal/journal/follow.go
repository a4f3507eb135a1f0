package journal

import (
	"context"
	"iter"
)

// Follow is Subscribe for a journal that can read, and knows when to read again.
// changed gives a channel that is closed once there may be more to read than at
// the moment of the call.
func Follow(ctx context.Context, j Journal, c Chain, from int64, changed func() <-chan struct{}) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var before Head // the last that was yielded
		next := max(1, from)
		for {
			again := changed()
			for r, err := range j.Read(ctx, c, next) {
				if err == nil && before.Seq > 0 && r.Prev != before.Hash {
					err = &ConflictError{Chain: c, Expected: before, Actual: Head{r.Seq - 1, r.Prev}}
				}
				if err != nil {
					yield(Record{}, err)
					return
				}
				before, next = r.At(), r.Seq+1
				if !yield(r, nil) {
					return
				}
			}
			if err := stands(ctx, j, c, before); err != nil {
				yield(Record{}, err)
				return
			}
			select {
			case <-again:
			case <-ctx.Done():
				yield(Record{}, ctx.Err())
				return
			}
		}
	}
}

// stands reports that a record that was yielded is not in the chain any more.
func stands(ctx context.Context, j Journal, c Chain, last Head) error {
	head, err := j.Head(ctx, c)
	if err == nil && head.Seq <= last.Seq && head != last {
		err = &ConflictError{Chain: c, Expected: last, Actual: head}
	}
	return err
}

// Signal tells those who wait that something has changed. The zero Signal is
// ready; it must be guarded by a lock.
type Signal struct{ ch chan struct{} }

// Wait gives a channel that the next Fire closes.
func (s *Signal) Wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Fire closes the channels that Wait gave.
func (s *Signal) Fire() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
