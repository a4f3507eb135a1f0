package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"ratchet/internal/journal"
)

// entry is a record that is to be appended.
type entry struct {
	journal.Entry
	record Event
	done   chan error // nil: no caller waits
}

// mostBatch bounds what is appended at once.
const mostBatch = 256

// With so many calls under way, and few of them here yet, others are about to
// come: the writer waits for them, since what a batch costs is shared. See
// commit_siblings and commit_delay in PostgreSQL's documentation.
const (
	siblings    = 32
	commitDelay = time.Millisecond
)

// flush appends what is waiting, all of it at once: calls that are made at the
// same time share a sync. A caller that comes meanwhile leaves it to the one that
// does it.
func (l *Ledger) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writing {
		return
	}
	l.writing = true
	for len(l.queue) > 0 {
		calls := len(l.busy)
		crowd := calls >= siblings && len(l.queue) < calls/4
		l.mu.Unlock()
		if crowd {
			<-time.After(commitDelay)
		} else {
			runtime.Gosched() // ready goroutines go first; if there are none, this takes no time
		}
		l.mu.Lock()
		n := min(len(l.queue), mostBatch)
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		if broken, head := l.broken, l.head; broken == nil {
			l.mu.Unlock()
			head, broken = l.append(head, batch)
			l.mu.Lock()
			l.head, l.broken = head, broken
		}
		for _, e := range batch {
			if e.done != nil {
				e.done <- l.broken
			}
		}
	}
	l.queue, l.writing = nil, false
	l.idle.Broadcast()
}

func (l *Ledger) append(head journal.Head, batch []entry) (journal.Head, error) {
	entries := make([]journal.Entry, len(batch))
	for i := range batch {
		e := &batch[i]
		if e.Payload == nil {
			payload, err := encodeRecord(e.record)
			if err != nil {
				return head, err
			}
			e.Payload = payload
		}
		entries[i] = e.Entry
	}
	next, err := l.log.Append(context.Background(), journal.CallsOf(l.run), head, entries...)
	var conflict *journal.ConflictError
	if errors.As(err, &conflict) {
		err = fmt.Errorf("another engine journals the calls of this run: %w", err)
	}
	if err != nil {
		return head, fmt.Errorf("journaling a call: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range batch {
		if err := l.apply(e.record, e.Time, head.Seq+int64(i)+1); err != nil {
			return next, err
		}
	}
	l.announce()
	return next, nil
}

// errLedgerClosed is the error of a ledger that was closed.
var errLedgerClosed = errors.New("the gateway has been closed")

// lazyFor is how long a record that no caller waits for may wait to share an append.
const lazyFor = 20 * time.Millisecond

// Add appends a record and returns when it is durable and folded; with lazy,
// at once.
func (l *Ledger) Add(r Event, lazy bool) error {
	e := entry{Entry: journal.Entry{Time: l.now(), Type: r.kind(), Version: recordVersion}, record: r}
	if !lazy {
		payload, err := encodeRecord(r)
		if err != nil {
			return err
		}
		e.Payload, e.done = payload, make(chan error, 1)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errLedgerClosed
	}
	if !l.joins(r) {
		l.queue = append(l.queue, e)
	}
	if lazy && !l.lingers {
		// It goes with what is waited for, if that comes soon: a sync of its own
		// would only be in the way.
		l.lingers = true
		l.wait.Add(1)
		time.AfterFunc(lazyFor, func() {
			defer l.wait.Done()
			l.mu.Lock()
			l.lingers = false
			l.mu.Unlock()
			l.flush()
		})
	}
	l.mu.Unlock()
	if lazy {
		return nil
	}
	l.flush()
	return <-e.done
}

// joins adds a delivery to one like it that waits to be journaled, if there is
// one: most deliveries cost no record of their own. The caller holds the lock.
func (l *Ledger) joins(r Event) bool {
	d, ok := r.(Delivered)
	if !ok {
		return false
	}
	for i := len(l.queue) - 1; i >= 0; i-- {
		switch q := l.queue[i].record.(type) {
		case Began:
			return false // what it had before does not count any more
		case Delivered:
			if q.Attempt == d.Attempt && q.Again == d.Again && len(q.More) < mostBatch {
				q.More = append(q.More, d.Call)
				l.queue[i].record = q
				return true
			}
		}
	}
	return false
}
