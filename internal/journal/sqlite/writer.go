package sqlite

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
	"ratchet/internal/planted"
)

const headQuery = `SELECT seq, hash FROM records WHERE run = ? ORDER BY seq DESC LIMIT 1`

// maxGroup bounds one transaction, in appends.
const maxGroup = 1024

// writer owns the writing connection. One goroutine uses it at a time.
type writer struct {
	mu      sync.Mutex
	queue   []*appendRequest // what waits to be written
	writing bool

	conn           *sqlite3.Conn
	begin, commit  *sqlite3.Stmt
	insert, headOf *sqlite3.Stmt
	remove         *sqlite3.Stmt
	changes        *sqlite3.Stmt
	statements     []*sqlite3.Stmt // all of these
	// heads are those that this connection made, as long as no other has
	// written since: version is what SQLite counts for that.
	heads   map[string]journal.Head
	version int64
	// doubt is set after a commit that failed: its frames may lie in the log
	// behind the last commit that counts. The next commit overwrites them; if
	// none comes, leaving does.
	doubt bool
}

func newWriter(c *sqlite3.Conn) (*writer, error) {
	w := &writer{conn: c}
	for _, s := range []struct {
		to  **sqlite3.Stmt
		sql string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.insert, `INSERT INTO records (run, seq, time, type, version, payload, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.headOf, headQuery},
		{&w.remove, `DELETE FROM records WHERE run = ?`},
		{&w.changes, `PRAGMA data_version`},
	} {
		stmt, _, err := c.PrepareFlags(s.sql, sqlite3.PREPARE_PERSISTENT)
		if err != nil {
			return nil, err
		}
		*s.to = stmt
		w.statements = append(w.statements, stmt)
	}
	return w, nil
}

// do carries out an append: whoever comes while nobody writes writes, with
// what others have asked for; whoever comes meanwhile waits, and the first of
// those writes next. No goroutine stands between an append and its sync.
func (w *writer) do(a *appendRequest) {
	a.turn = make(chan struct{})
	w.mu.Lock()
	w.queue = append(w.queue, a)
	if w.writing {
		w.mu.Unlock()
		if <-a.turn; a.answered {
			return
		}
		w.mu.Lock()
	}
	w.writing = true
	n := min(len(w.queue), maxGroup)
	group := w.queue[:n:n]
	w.queue = w.queue[n:]
	w.mu.Unlock()

	if err := w.write(group); err != nil {
		w.doubt = true
		for _, a := range group {
			if a.err == nil {
				a.head, a.err = journal.Head{}, err
			}
		}
	}
	w.mu.Lock()
	if len(w.queue) > 0 {
		close(w.queue[0].turn)
	} else {
		w.queue, w.writing = nil, false
	}
	w.mu.Unlock()
	for _, other := range group[1:] { // the first is a
		other.answered = true
		close(other.turn)
	}
}

// close closes the connection, once nobody writes any more.
func (w *writer) close() {
	if w.doubt {
		// Best effort: if the fault is still there, the next process that
		// opens the journal reads whatever is whole, and no one was told.
		_ = w.conn.Exec(fmt.Sprintf(`PRAGMA user_version=%d`, format))
	}
	for _, s := range w.statements {
		_ = s.Close()
	}
	_ = w.conn.Close() // every commit is durable already
}

// write makes one transaction of a group. A conflict concerns its append
// alone; any other error undoes the whole group.
func (w *writer) write(group []*appendRequest) error {
	if err := w.begin.Exec(); err != nil {
		return fmt.Errorf("beginning a transaction of the journal: %w", err)
	}
	if err := w.forget(); err != nil {
		return errors.Join(fmt.Errorf("beginning a transaction of the journal: %w", err), w.undo())
	}
	for _, a := range group {
		if err := w.add(a); err != nil {
			return errors.Join(fmt.Errorf("run %s: writing to the journal: %w", a.run, err), w.undo())
		}
	}
	if err := w.commit.Exec(); err != nil {
		return errors.Join(fmt.Errorf("committing to the journal: %w", err), w.undo())
	}
	w.doubt = false
	return nil
}

func (w *writer) undo() error {
	w.heads = nil
	if w.conn.GetAutocommit() {
		return nil // SQLite has rolled back already
	}
	return w.conn.Exec(`ROLLBACK`)
}

// mostHeads bounds the heads that are kept in memory.
const mostHeads = 1024

// forget forgets the heads if another connection has written since. It is called
// in a transaction, so that none can write meanwhile.
func (w *writer) forget() error {
	var version int64
	if w.changes.Step() {
		version = w.changes.ColumnInt64(0)
	}
	if version != w.version || w.heads == nil || len(w.heads) > mostHeads {
		w.heads, w.version = map[string]journal.Head{}, version
	}
	return errors.Join(w.changes.Err(), w.changes.Reset())
}

func (w *writer) add(a *appendRequest) error {
	if a.replace {
		if err := w.remove.BindText(1, a.run); err != nil {
			return err
		}
		if err := w.remove.Exec(); err != nil {
			return errors.Join(err, w.remove.Reset())
		}
		_, err := w.put(a.run, journal.Head{}, a.records)
		return err
	}
	head, known := w.heads[a.run]
	if !known {
		var err error
		if head, err = headOf(w.headOf, a.run); err != nil {
			return err
		}
	}
	if head != a.expected && !planted.Bug("any-head") {
		a.err = &journal.ConflictError{Run: a.run, Expected: a.expected, Actual: head}
		return nil
	}
	records, err := journal.Chain(a.run, head, a.entries)
	if err != nil {
		a.err = err
		return nil
	}
	a.head, err = w.put(a.run, head, records)
	return err
}

// put inserts records and returns the head they make.
func (w *writer) put(run string, head journal.Head, records []journal.Record) (journal.Head, error) {
	for _, r := range records {
		err := errors.Join(
			w.insert.BindText(1, run), w.insert.BindInt64(2, r.Seq), w.insert.BindInt64(3, r.Time.UnixMicro()),
			w.insert.BindText(4, r.Type), w.insert.BindInt(5, r.Version), w.insert.BindBlob(6, r.Payload),
			w.insert.BindBlob(7, r.Prev[:]), w.insert.BindBlob(8, r.Hash[:]))
		if err == nil {
			err = w.insert.Exec()
		}
		if err != nil {
			return head, errors.Join(err, w.insert.Reset())
		}
		head = journal.Head{Seq: r.Seq, Hash: r.Hash}
	}
	w.heads[run] = head
	return head, nil
}

func headOf(s *sqlite3.Stmt, run string) (head journal.Head, err error) {
	if err := s.BindText(1, run); err != nil {
		return head, err
	}
	if s.Step() {
		head.Seq = s.ColumnInt64(0)
		if copy(head.Hash[:], s.ColumnRawBlob(1)) != len(head.Hash) {
			err = &journal.DamageError{Run: run, Seq: head.Seq, Why: "its hash is not whole"}
		}
	}
	return head, errors.Join(err, s.Err(), s.Reset())
}
