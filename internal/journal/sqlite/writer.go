package sqlite

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
	"ratchet/internal/planted"
)

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
	enter, move    *sqlite3.Stmt // of the table of heads
	remove, drop   *sqlite3.Stmt
	changes        *sqlite3.Stmt
	statements     []*sqlite3.Stmt // all of these
	// chains are those that this connection wrote to, as long as no other has
	// written since: version is what SQLite counts for that.
	chains  map[journal.Chain]known
	version int64
	// doubt is set after a commit that failed: its frames may lie in the log
	// behind the last commit that counts. The next commit overwrites them; if
	// none comes, leaving does.
	doubt bool
}

// known is a chain's id, 0 if there is no such chain, and its head.
type known struct {
	id   int64
	head journal.Head
}

func newWriter(c *sqlite3.Conn) (*writer, error) {
	w := &writer{conn: c}
	for _, s := range []struct {
		to  **sqlite3.Stmt
		sql string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.insert, `INSERT INTO records (key, time, type, version, payload, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&w.headOf, headQuery},
		{&w.enter, `INSERT INTO chains (kind, run, first, seq, time, hash) VALUES (?, ?, ?, 0, 0, x'')`},
		{&w.move, `UPDATE chains SET seq = ?, time = ?, hash = ? WHERE id = ?`},
		{&w.remove, fmt.Sprintf(`DELETE FROM records WHERE key >= (?1 << %d) AND key < (?1 + 1) << %[1]d`, seqBits)},
		{&w.drop, `DELETE FROM chains WHERE id = ?`},
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

// do carries out an append: a caller that comes while no append is under way writes, with
// what others have asked for; callers that come meanwhile wait, and the first of
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
	n := w.together()
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

// together is how many of the queue make one transaction.
func (w *writer) together() int {
	for n, a := range w.queue {
		if n == maxGroup || n > 0 && a.replace != nil {
			return n
		}
		if a.replace != nil {
			return 1
		}
	}
	return len(w.queue)
}

// close closes the connection, once no append is under way.
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
// alone; any other error undoes the whole group. A replacement is in a group of
// its own, so that what is wrong with its records does not affect the others.
func (w *writer) write(group []*appendRequest) error {
	if err := w.begin.Exec(); err != nil {
		return fmt.Errorf("beginning a transaction of the journal: %w", err)
	}
	if err := w.forget(); err != nil {
		return errors.Join(fmt.Errorf("beginning a transaction of the journal: %w", err), w.undo())
	}
	for _, a := range group {
		if err := w.add(a); err != nil {
			return errors.Join(fmt.Errorf("run %s: writing to the journal: %w", a.chain, err), w.undo())
		}
	}
	if err := w.commit.Exec(); err != nil {
		return errors.Join(fmt.Errorf("committing to the journal: %w", err), w.undo())
	}
	w.doubt = false
	return nil
}

func (w *writer) undo() error {
	w.chains = nil
	if w.conn.GetAutocommit() {
		return nil // SQLite has rolled back already
	}
	return w.conn.Exec(`ROLLBACK`)
}

// mostKnown bounds the chains that are kept in memory.
const mostKnown = 1024

// forget forgets the chains if another connection has written since. It is
// called in a transaction, so that none can write meanwhile.
func (w *writer) forget() error {
	var version int64
	if w.changes.Step() {
		version = w.changes.ColumnInt64(0)
	}
	if version != w.version || w.chains == nil || len(w.chains) > mostKnown {
		w.chains, w.version = map[journal.Chain]known{}, version
	}
	return errors.Join(w.changes.Err(), w.changes.Reset())
}

// find is a chain as it is now.
func (w *writer) find(c journal.Chain) (k known, err error) {
	k, ok := w.chains[c]
	if !ok {
		k.head, k.id, err = headOf(w.headOf, c)
	}
	return k, err
}

func (w *writer) add(a *appendRequest) error {
	k, err := w.find(a.chain)
	if err != nil {
		return err
	}
	if a.replace != nil {
		return w.replace(a, k)
	}
	if k.head != a.expected && !planted.Bug("any-head") {
		a.err = &journal.ConflictError{Chain: a.chain, Expected: a.expected, Actual: k.head}
		return nil
	}
	records, err := journal.Link(a.chain, k.head, a.entries)
	if err != nil {
		a.err = err
		return nil
	}
	if a.head = k.head; len(records) > 0 {
		a.head, err = w.put(a.chain, k, journal.All(records))
	}
	return err
}

// replace puts records in the place of a chain's.
func (w *writer) replace(a *appendRequest, k known) error {
	if k.id != 0 {
		for _, s := range []*sqlite3.Stmt{w.remove, w.drop} {
			if err := run(s, s.BindInt64(1, k.id)); err != nil {
				return err
			}
		}
	}
	delete(w.chains, a.chain)
	_, err := w.put(a.chain, known{}, a.replace)
	return err
}

// put inserts records behind a chain's head and returns the head they make.
func (w *writer) put(c journal.Chain, k known, records iter.Seq2[journal.Record, error]) (journal.Head, error) {
	var last time.Time
	for r, err := range records {
		if err != nil {
			return k.head, err
		}
		if k.id == 0 {
			err := run(w.enter, w.enter.BindText(1, string(c.Kind)), w.enter.BindText(2, c.Run), w.enter.BindInt64(3, r.Time.UnixMicro()))
			if err != nil {
				return k.head, err
			}
			k.id = w.conn.LastInsertRowID()
		}
		err := run(w.insert, w.insert.BindInt64(1, k.id<<seqBits+r.Seq), w.insert.BindInt64(2, r.Time.UnixMicro()),
			w.insert.BindText(3, r.Type), w.insert.BindInt(4, r.Version), w.insert.BindBlob(5, r.Payload),
			w.insert.BindBlob(6, r.Prev[:]), w.insert.BindBlob(7, r.Hash[:]))
		if err != nil {
			return k.head, err
		}
		k.head, last = r.At(), r.Time
	}
	if k.id == 0 {
		return k.head, nil
	}
	err := run(w.move, w.move.BindInt64(1, k.head.Seq), w.move.BindInt64(2, last.UnixMicro()), w.move.BindBlob(3, k.head.Hash[:]), w.move.BindInt64(4, k.id))
	w.chains[c] = k
	return k.head, err
}

// run executes a statement whose parameters are bound.
func run(s *sqlite3.Stmt, bound ...error) error {
	err := errors.Join(bound...)
	if err == nil {
		err = s.Exec()
	}
	if err != nil {
		return errors.Join(err, s.Reset())
	}
	return nil
}
