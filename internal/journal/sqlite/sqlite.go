// Package sqlite keeps a journal in one SQLite database.
//
// The database is in write-ahead-log mode with synchronous=FULL, so that a
// commit has reached the disk when it returns. One goroutine writes; it takes
// every append that waits into one transaction (group commit), so that many
// writers share the cost of one sync. Several processes may use the same
// database: SQLite's lock orders their transactions, and the expected head is
// checked inside the transaction.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/failpoint"
	"ratchet/internal/journal"
	"ratchet/internal/planted"
)

const schema = `
CREATE TABLE IF NOT EXISTS records (
	run     TEXT    NOT NULL,
	seq     INTEGER NOT NULL,
	time    INTEGER NOT NULL, -- microseconds since 1970, UTC
	type    TEXT    NOT NULL,
	version INTEGER NOT NULL,
	payload BLOB    NOT NULL,
	prev    BLOB    NOT NULL,
	hash    BLOB    NOT NULL,
	PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;`

// application marks the file as Ratchet's in its SQLite header: "rtch".
const application, format = 0x72746368, 1

// busyTimeout is how long a transaction waits for another process's.
const busyTimeout = 30 * time.Second

// Journal is a journal on disk. It implements journal.Journal.
type Journal struct {
	path string
	vfs  string

	writer *writer

	mu     sync.Mutex // guards reader and closed
	reader *sqlite3.Conn
	closed bool

	appending sync.WaitGroup
}

type appendRequest struct {
	run      string
	expected journal.Head
	entries  []journal.Entry
	replace  bool // records take the place of all that is there
	records  []journal.Record
	head     journal.Head
	err      error
	answered bool
	turn     chan struct{} // closed when it is answered, or has to write
}

// Option changes how a journal is opened.
type Option func(*Journal)

// VFS names the SQLite VFS to use instead of the system's, for fault tests.
func VFS(name string) Option { return func(j *Journal) { j.vfs = name } }

// Open opens the database at path, and creates it if need be.
func Open(path string, options ...Option) (*Journal, error) {
	j := &Journal{path: path}
	for _, o := range options {
		o(j)
	}
	writer, err := j.connect()
	if err != nil {
		return nil, fmt.Errorf("opening the journal %s: %w", path, err)
	}
	j.writer, err = newWriter(writer)
	if err == nil {
		j.reader, err = j.connect()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the journal %s: %w", path, err), writer.Close())
	}
	return j, nil
}

func (j *Journal) connect() (*sqlite3.Conn, error) {
	uri := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(j.path)}
	if j.vfs != "" {
		uri.RawQuery = "vfs=" + url.QueryEscape(j.vfs)
	}
	c, err := sqlite3.Open(uri.String())
	if err != nil {
		return nil, err
	}
	if err := prepare(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func prepare(c *sqlite3.Conn) error {
	if err := c.BusyTimeout(busyTimeout); err != nil {
		return err
	}
	if err := c.Exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4096`); err != nil {
		return err
	}
	if planted.Bug("journal-unsynced") {
		if err := c.Exec(`PRAGMA synchronous=OFF`); err != nil {
			return err
		}
	}
	app, err := pragma(c, "application_id")
	if err != nil {
		return err
	}
	version, err := pragma(c, "user_version")
	switch {
	case err != nil:
		return err
	case app == 0 && version == 0:
		return c.Exec(fmt.Sprintf(`BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT`, schema, application, format))
	case app != application:
		return errors.New("this is another program's SQLite database")
	case version != format:
		return fmt.Errorf("the database has format %d and this release reads format %d; use the release that wrote it, or a newer one", version, format)
	}
	return nil
}

func pragma(c *sqlite3.Conn, name string) (int64, error) {
	s, _, err := c.Prepare("PRAGMA " + name)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	s.Step()
	return s.ColumnInt64(0), s.Err()
}

// Append implements journal.Journal.
func (j *Journal) Append(ctx context.Context, run string, expected journal.Head, entries ...journal.Entry) (journal.Head, error) {
	if err := j.enter(ctx); err != nil {
		return journal.Head{}, err
	}
	defer j.appending.Done()
	failpoint.Hit("append.before")
	a := &appendRequest{run: run, expected: expected, entries: entries}
	if planted.Bug("acknowledged-first") {
		if records, err := journal.Chain(run, expected, entries); err == nil && len(records) > 0 {
			last := records[len(records)-1]
			j.appending.Go(func() { j.writer.do(a) })
			return journal.Head{Seq: last.Seq, Hash: last.Hash}, nil
		}
	}
	// Once handed over, the append happens: whoever gave up waiting would not
	// know whether it did.
	j.writer.do(a)
	failpoint.Hit("append.after")
	return a.head, a.err
}

// Replace implements journal.Journal.
func (j *Journal) Replace(ctx context.Context, run string, records []journal.Record) error {
	if err := journal.VerifyAll(run, records); err != nil {
		return err
	}
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.appending.Done()
	a := &appendRequest{run: run, replace: true, records: records}
	j.writer.do(a)
	return a.err
}

// enter counts a writer in, so that Close waits for it.
func (j *Journal) enter(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j.appending.Add(1)
	return nil
}

// Head implements journal.Journal.
func (j *Journal) Head(ctx context.Context, run string) (head journal.Head, err error) {
	err = j.read(ctx, func(c *sqlite3.Conn) error {
		s, _, err := c.Prepare(headQuery)
		if err != nil {
			return err
		}
		defer s.Close()
		head, err = headOf(s, run)
		return err
	})
	return head, err
}

// Runs implements journal.Journal.
func (j *Journal) Runs(ctx context.Context) (runs []string, err error) {
	err = j.read(ctx, func(c *sqlite3.Conn) error {
		s, _, err := c.Prepare(`
			WITH RECURSIVE r(run) AS (
				SELECT min(run) FROM records
				UNION ALL
				SELECT (SELECT min(run) FROM records WHERE run > r.run) FROM r WHERE r.run IS NOT NULL
			) SELECT run FROM r WHERE run IS NOT NULL`)
		if err != nil {
			return err
		}
		defer s.Close()
		for s.Step() {
			runs = append(runs, s.ColumnText(0))
		}
		return s.Err()
	})
	return runs, err
}

// Read implements journal.Journal.
func (j *Journal) Read(ctx context.Context, run string, from int64) iter.Seq2[journal.Record, error] {
	const page = 512
	return func(yield func(journal.Record, error) bool) {
		var before journal.Head
		if from > 1 {
			// The chain is checked from the record in front.
			prev, err := j.page(ctx, run, from-1, 1)
			if err == nil && len(prev) == 1 && prev[0].Seq == from-1 {
				before = journal.Head{Seq: prev[0].Seq, Hash: prev[0].Hash}
			} else if err == nil {
				return
			}
			if err != nil {
				yield(journal.Record{}, err)
				return
			}
		}
		for {
			records, err := j.page(ctx, run, before.Seq+1, page)
			for _, r := range records {
				if err := journal.Verify(run, before, r); err != nil {
					yield(journal.Record{}, err)
					return
				}
				before = journal.Head{Seq: r.Seq, Hash: r.Hash}
				if !yield(r, nil) {
					return
				}
			}
			if err != nil {
				yield(journal.Record{}, err)
				return
			}
			if len(records) == 0 {
				// A damaged tree can hide records from those who come one way.
				if head, err := j.Head(ctx, run); err == nil && head.Seq != before.Seq && from <= max(before.Seq, head.Seq) {
					if records, err := j.page(ctx, run, before.Seq+1, 1); err == nil && len(records) > 0 {
						continue // they were appended a moment ago
					}
					yield(journal.Record{}, &journal.DamageError{Run: run, Seq: before.Seq + 1, Why: fmt.Sprintf("it cannot be found; the last one there is %d", head.Seq)})
				}
				return
			}
		}
	}
}

func (j *Journal) page(ctx context.Context, run string, from int64, limit int) (out []journal.Record, err error) {
	err = j.read(ctx, func(c *sqlite3.Conn) error {
		s, _, err := c.Prepare(`SELECT seq, time, type, version, payload, prev, hash FROM records WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?`)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := errors.Join(s.BindText(1, run), s.BindInt64(2, from), s.BindInt(3, limit)); err != nil {
			return err
		}
		for s.Step() {
			r := journal.Record{Seq: s.ColumnInt64(0), Entry: journal.Entry{
				Time: time.UnixMicro(s.ColumnInt64(1)).UTC(), Type: s.ColumnText(2), Version: s.ColumnInt(3), Payload: s.ColumnBlob(4, nil),
			}}
			if copy(r.Prev[:], s.ColumnRawBlob(5)) != len(r.Prev) || copy(r.Hash[:], s.ColumnRawBlob(6)) != len(r.Hash) {
				return &journal.DamageError{Run: run, Seq: r.Seq, Why: "its hashes are not whole"}
			}
			out = append(out, r)
		}
		return s.Err()
	})
	return out, err
}

// read runs f with the reading connection. An error of SQLite itself is
// given the journal's path.
func (j *Journal) read(ctx context.Context, f func(*sqlite3.Conn) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f(j.reader); err != nil {
		var damage *journal.DamageError
		if errors.As(err, &damage) {
			return err
		}
		if errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, sqlite3.NOTADB) {
			return &journal.DamageError{Seq: 0, Why: fmt.Sprintf("the database %s is damaged: %v", j.path, err)}
		}
		return fmt.Errorf("reading the journal %s: %w", j.path, err)
	}
	return nil
}

// Close implements journal.Journal. It waits for appends in flight.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	j.appending.Wait()
	j.writer.close()
	return j.reader.Close()
}
