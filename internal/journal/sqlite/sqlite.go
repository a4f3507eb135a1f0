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

// schema is format 2; docs/journal.md describes it. A record's key is its
// chain's id, times 2^40, and its number.
const schema = `
CREATE TABLE chains (
	id    INTEGER PRIMARY KEY,
	run   TEXT    NOT NULL,
	kind  TEXT    NOT NULL,
	first INTEGER NOT NULL, -- time of the first record
	seq   INTEGER NOT NULL, -- of the last record
	time  INTEGER NOT NULL, -- of the last record
	hash  BLOB    NOT NULL, -- of the last record
	UNIQUE (kind, run)
) STRICT;
CREATE TABLE records (
	key     INTEGER PRIMARY KEY,
	time    INTEGER NOT NULL, -- microseconds since 1970, UTC
	type    TEXT    NOT NULL,
	version INTEGER NOT NULL,
	payload BLOB    NOT NULL,
	prev    BLOB    NOT NULL,
	hash    BLOB    NOT NULL
) STRICT;`

// seqBits are the bits of a key that are the record's number.
const seqBits = 40

// application marks the file as Ratchet's in its SQLite header: "rtch".
const application, format = 0x72746368, 2

// busyTimeout is how long a transaction waits for another process's.
const busyTimeout = 30 * time.Second

// Journal is a journal on disk. It implements journal.Journal.
type Journal struct {
	path     string
	vfs      string
	announce func(text string)

	writer *writer

	mu     sync.Mutex // guards reader and closed
	reader *reader
	closed bool

	watch watcher

	appending sync.WaitGroup
}

type appendRequest struct {
	chain    journal.Chain
	expected journal.Head
	entries  []journal.Entry
	replace  iter.Seq2[journal.Record, error] // records that take the place of all that is there; nil: append
	head     journal.Head
	err      error
	answered bool
	turn     chan struct{} // closed when it is answered, or has to write
}

// Option changes how a journal is opened.
type Option func(*Journal)

// VFS names the SQLite VFS to use instead of the system's, for fault tests.
func VFS(name string) Option { return func(j *Journal) { j.vfs = name } }

// Announce has what takes long on opening said before it begins: bringing a database
// to this release's format.
func Announce(say func(text string)) Option { return func(j *Journal) { j.announce = say } }

// Open opens the database at path, and creates it if need be.
func Open(path string, options ...Option) (*Journal, error) {
	j := &Journal{path: path}
	for _, o := range options {
		o(j)
	}
	if err := j.open(); err != nil {
		if damage := j.damage(err); damage != nil {
			return nil, damage
		}
		return nil, fmt.Errorf("opening the journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) open() error {
	conn, err := j.connect()
	if err != nil {
		return err
	}
	if j.writer, err = newWriter(conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	if conn, err = j.connect(); err == nil {
		if j.reader, err = newReader(conn); err != nil {
			err = errors.Join(err, conn.Close())
		}
	}
	if err != nil {
		j.writer.close()
	}
	return err
}

// damage is the error of a database that SQLite cannot read; nil: err is of
// another kind.
func (j *Journal) damage(err error) error {
	var known *journal.RecordDamageError
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, sqlite3.NOTADB) {
		return &journal.RecordDamageError{Why: fmt.Sprintf("the database %s is damaged: %v", j.path, err)}
	}
	return nil
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
	if err := j.prepare(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (j *Journal) prepare(c *sqlite3.Conn) error {
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
		return create(c)
	case app != application:
		return errors.New("this is another program's SQLite database")
	case version == 1:
		return migrate(c, j.announce)
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

// create makes the tables of an empty database.
func create(c *sqlite3.Conn) error {
	return transaction(c, func() error {
		version, err := pragma(c, "user_version")
		if err != nil || version != 0 {
			return err // another process was first
		}
		return c.Exec(fmt.Sprintf(`%s PRAGMA application_id=%d; PRAGMA user_version=%d`, schema, application, format))
	})
}

// transaction runs f in a transaction that can write. All of it counts, or
// nothing.
func transaction(c *sqlite3.Conn, f func() error) error {
	if err := c.Exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = c.Exec(`COMMIT`)
	}
	if err != nil && !c.GetAutocommit() {
		err = errors.Join(err, c.Exec(`ROLLBACK`))
	}
	return err
}

// Append implements journal.Journal.
func (j *Journal) Append(ctx context.Context, c journal.Chain, expected journal.Head, entries ...journal.Entry) (journal.Head, error) {
	if err := j.enter(ctx); err != nil {
		return journal.Head{}, err
	}
	defer j.appending.Done()
	failpoint.Hit("append.before")
	a := &appendRequest{chain: c, expected: expected, entries: entries}
	if planted.Bug("acknowledged-first") {
		if records, err := journal.Link(c, expected, entries); err == nil && len(records) > 0 {
			j.appending.Go(func() { j.writer.do(a) })
			return records[len(records)-1].At(), nil
		}
	}
	// Once handed over, the append happens: a caller that gave up waiting would not
	// know whether it did.
	j.writer.do(a)
	j.watch.fire()
	failpoint.Hit("append.after")
	return a.head, a.err
}

// Replace implements journal.Journal.
func (j *Journal) Replace(ctx context.Context, c journal.Chain, records iter.Seq2[journal.Record, error]) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.appending.Done()
	a := &appendRequest{chain: c, replace: journal.Verified(c, records)}
	j.writer.do(a)
	j.watch.fire()
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
func (j *Journal) Head(ctx context.Context, c journal.Chain) (head journal.Head, err error) {
	err = j.read(ctx, func(r *reader) error {
		head, _, err = headOf(r.head, c)
		return err
	})
	return head, err
}

// Chains implements journal.Journal.
func (j *Journal) Chains(ctx context.Context, k journal.Kind) iter.Seq2[journal.Info, error] {
	const page = 512
	return func(yield func(journal.Info, error) bool) {
		after := ""
		for {
			var infos []journal.Info
			err := j.read(ctx, func(r *reader) (err error) {
				infos, err = r.list(k, after, page)
				return err
			})
			for _, i := range infos {
				if !yield(i, nil) {
					return
				}
				after = i.Run
			}
			if err == nil && len(infos) < page {
				err = j.read(ctx, (*reader).agree)
				if err == nil {
					return
				}
			}
			if err != nil {
				yield(journal.Info{}, err)
				return
			}
		}
	}
}

// Latest implements journal.Journal.
func (j *Journal) Latest(ctx context.Context, k journal.Kind) (latest journal.Info, err error) {
	err = j.read(ctx, func(r *reader) error {
		latest, err = r.newest(k)
		return err
	})
	return latest, err
}

// Read implements journal.Journal.
func (j *Journal) Read(ctx context.Context, c journal.Chain, from int64) iter.Seq2[journal.Record, error] {
	const page = 512
	return func(yield func(journal.Record, error) bool) {
		// The chain is checked from the record in front.
		next, checked := max(1, from-1), from <= 1
		var before journal.Head
		for {
			var records []journal.Record
			var head journal.Head
			err := j.read(ctx, func(r *reader) (err error) {
				records, head, err = r.page(c, next, page)
				return err
			})
			whole := err == nil && len(records) < page
			for _, r := range records {
				if !checked {
					before, checked = r.At(), true
					if r.Seq == next {
						continue
					}
					before = journal.Head{Seq: next - 1} // so that it is found to be missing
				}
				if err := journal.Verify(c, before, r); err != nil {
					yield(journal.Record{}, err)
					return
				}
				if before = r.At(); !yield(r, nil) {
					return
				}
			}
			// A damaged tree can hide the end of a chain; the table of heads says
			// where it is.
			if whole && head != before && (checked || head.Seq >= next) {
				err = hidden(c, before, head, next)
			}
			if err != nil {
				yield(journal.Record{}, err)
				return
			}
			if whole {
				return
			}
			next = before.Seq + 1
		}
	}
}

// hidden says how a chain that was read to its end differs from its head.
func hidden(c journal.Chain, last, head journal.Head, next int64) error {
	switch {
	case head.Seq > last.Seq:
		return &journal.RecordDamageError{Chain: c, Seq: max(last.Seq+1, next), Why: fmt.Sprintf("it cannot be found; the last one is %d", head.Seq)}
	case head.Seq == last.Seq:
		return &journal.RecordDamageError{Chain: c, Seq: last.Seq, Why: "it is not the one that the table of heads has"}
	}
	return &journal.RecordDamageError{Chain: c, Seq: head.Seq + 1, Why: fmt.Sprintf("the table of heads ends at record %d", head.Seq)}
}

// read runs f with the reading connection. An error of SQLite itself is
// given the journal's path.
func (j *Journal) read(ctx context.Context, f func(*reader) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return journal.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f(j.reader); err != nil {
		if damage := j.damage(err); damage != nil {
			return damage
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
	j.watch.close()
	j.appending.Wait()
	j.writer.close()
	return j.reader.close()
}
