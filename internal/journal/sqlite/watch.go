package sqlite

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
)

// lookEvery is how often a journal with subscribers checks whether
// another process has written.
const lookEvery = 30 * time.Millisecond

// watcher knows when there may be more to read.
type watcher struct {
	mu          sync.Mutex
	changed     journal.Signal
	subscribers int
	stop        chan struct{} // of the polling goroutine; nil: there are no subscribers
	looking     sync.WaitGroup
}

// fire says that this process has written.
func (w *watcher) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Fire()
}

func (w *watcher) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed.Wait()
}

// close ends the looking, and wakes all who wait.
func (w *watcher) close() {
	w.fire()
	w.mu.Lock()
	w.end()
	w.mu.Unlock()
	w.looking.Wait()
}

// end stops the goroutine that looks, if there is one. The caller holds the lock.
func (w *watcher) end() {
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

// Subscribe implements journal.Journal.
func (j *Journal) Subscribe(ctx context.Context, c journal.Chain, from int64) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		if err := j.enlist(); err != nil {
			yield(journal.Record{}, err)
			return
		}
		defer j.delist()
		journal.Follow(ctx, j, c, from, j.watch.wait)(yield)
	}
}

// enlist counts a subscriber in; the first starts polling.
func (j *Journal) enlist() error {
	w := &j.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subscribers++; w.subscribers > 1 {
		return nil
	}
	if err := j.usable(); err != nil {
		w.subscribers--
		return err
	}
	conn, err := j.connect()
	if err != nil {
		w.subscribers--
		return err
	}
	w.stop = make(chan struct{})
	stop := w.stop
	w.looking.Go(func() {
		j.poll(conn, stop)
		_ = conn.Close() // it has only read
	})
	return nil
}

func (j *Journal) delist() {
	w := &j.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subscribers--; w.subscribers == 0 {
		w.end()
	}
}

// poll fires when another connection has written, until it is stopped.
func (j *Journal) poll(conn *sqlite3.Conn, stop chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := int64(-1)
	for {
		// The number changes with every commit of another connection; see
		// https://www.sqlite.org/pragma.html#pragma_data_version.
		version, err := pragma(conn, "data_version")
		if err != nil || version != last {
			last = version
			j.watch.fire() // after an error too: reading says what is wrong
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

func (j *Journal) usable() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	return nil
}
