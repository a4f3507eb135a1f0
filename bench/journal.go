package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
	"ratchet/internal/journal/sqlite"
)

// stretch is how long one round of a journal writes.
const stretch = 2 * time.Second

// payload is a row of 512 bytes.
var payload = json.RawMessage(`"` + strings.Repeat("x", 510) + `"`)

// journals compares the journal with raw SQLite, with the same settings and
// rows, for one writer and for 64.
func journals(b *bench) ([]row, error) {
	one, err := turns(func() (float64, error) { return b.ours(1, forAStretch) }, func() (float64, error) { return b.raw(1) })
	if err != nil {
		return nil, err
	}
	many, err := turns(func() (float64, error) { return b.ours(64, forAStretch) }, func() (float64, error) { return b.raw(64) })
	if err != nil {
		return nil, err
	}
	return []row{
		{
			"journal, 1 writer, fully synced", fmt.Sprintf("%.0f events/s", one[0]), fmt.Sprintf("raw SQLite %.0f commits/s: %.2f of it", one[1], one[0]/one[1]),
			"0.8 of raw SQLite", one[0] >= 0.8*one[1],
		},
		{
			"journal, 64 writers, fully synced", fmt.Sprintf("%.0f events/s", many[0]), fmt.Sprintf("raw group commit %.0f rows/s: %.2f of it", many[1], many[0]/many[1]),
			"20,000 where raw gives 26,000 (0.77)", many[0] >= 20_000.0/26_000*many[1],
		},
	}, nil
}

// forAStretch has a writer go on for the length of a round.
func forAStretch(_ int, took time.Duration) bool { return took < stretch }

// ours is how many events a second so many writers append, each to a run of
// its own, as long as more says so of what one has appended and the time taken.
func (b *bench) ours(writers int, more func(appended int, took time.Duration) bool) (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "journal-")
	if err != nil {
		return 0, err
	}
	j, err := sqlite.Open(filepath.Join(dir, "journal.db"))
	if err != nil {
		return 0, err
	}
	var n atomic.Int64
	var all sync.WaitGroup
	var failure atomic.Pointer[error]
	began := time.Now()
	for w := range writers {
		all.Go(func() {
			var head journal.Head
			for i := 0; more(i, time.Since(began)); i++ {
				var err error
				entry := journal.Entry{Time: time.Now(), Type: "bench.event", Version: 1, Payload: payload}
				if head, err = j.Append(context.Background(), journal.Of(fmt.Sprint("run-", w)), head, entry); err != nil {
					failure.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	if f := failure.Load(); f != nil {
		return 0, *f
	}
	return float64(n.Load()) / took.Seconds(), j.Close()
}

// raw is how many rows a second so many writers insert with nothing but
// SQLite: one transaction a row, or for many writers one for all that wait.
func (b *bench) raw(writers int) (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "raw-")
	if err != nil {
		return 0, err
	}
	c, err := sqlite3.Open("file:" + filepath.Join(dir, "raw.db"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = c.Exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4096;
		CREATE TABLE rows (run TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID`)
	if err != nil {
		return 0, err
	}
	begin, _, err1 := c.Prepare(`BEGIN IMMEDIATE`)
	insert, _, err2 := c.Prepare(`INSERT INTO rows VALUES (?, ?, ?)`)
	commit, _, err3 := c.Prepare(`COMMIT`)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, err
	}
	type request struct {
		run  string
		seq  int64
		done chan struct{}
	}
	requests := make(chan *request, writers)
	began := time.Now()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for seq := int64(1); time.Since(began) < stretch; seq++ {
				r := &request{fmt.Sprint("run-", w), seq, make(chan struct{})}
				requests <- r
				<-r.done
			}
		})
	}
	go func() {
		all.Wait()
		close(requests)
	}()
	n := 0
	for r := range requests {
		group := []*request{r}
		for more := true; more; {
			select {
			case next, open := <-requests:
				if more = open; open {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		if err := begin.Exec(); err != nil {
			return 0, err
		}
		for _, r := range group {
			if err := errors.Join(insert.BindText(1, r.run), insert.BindInt64(2, r.seq), insert.BindBlob(3, payload), insert.Exec()); err != nil {
				return 0, err
			}
		}
		if err := commit.Exec(); err != nil {
			return 0, err
		}
		for _, r := range group {
			close(r.done)
		}
		n += len(group)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
