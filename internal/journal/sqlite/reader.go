package sqlite

import (
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
)

const headQuery = `SELECT seq, hash, id FROM chains WHERE kind = ? AND run = ?`

// reader is the reading connection with its statements.
type reader struct {
	conn                              *sqlite3.Conn
	head, records, chains, last, next *sqlite3.Stmt
}

func newReader(c *sqlite3.Conn) (*reader, error) {
	r := &reader{conn: c}
	for _, s := range []struct {
		to  **sqlite3.Stmt
		sql string
	}{
		{&r.head, headQuery},
		// One statement sees the records and the head at the same moment.
		{&r.records, fmt.Sprintf(`
			SELECT c.seq, c.hash, r.key - (c.id << %[1]d), r.time, r.type, r.version, r.payload, r.prev, r.hash
			FROM chains c LEFT JOIN records r ON r.key >= (c.id << %[1]d) + ?3 AND r.key < (c.id + 1) << %[1]d
			WHERE c.kind = ?1 AND c.run = ?2 ORDER BY r.key LIMIT ?4`, seqBits)},
		{&r.chains, `SELECT run, first, seq, time, hash FROM chains WHERE kind = ? AND run > ? ORDER BY run LIMIT ?`},
		{&r.last, `SELECT run, first, seq, time, hash FROM chains WHERE kind = ? ORDER BY time DESC, run DESC LIMIT 1`},
		{&r.next, fmt.Sprintf(`SELECT min(key) >> %d FROM records WHERE key >= (? << %[1]d)`, seqBits)},
	} {
		stmt, _, err := c.PrepareFlags(s.sql, sqlite3.PREPARE_PERSISTENT)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		*s.to = stmt
	}
	return r, nil
}

func (r *reader) close() error {
	for _, s := range []*sqlite3.Stmt{r.head, r.records, r.chains, r.last, r.next} {
		if s != nil {
			_ = s.Close()
		}
	}
	return r.conn.Close()
}

// headOf is a chain's head and id; id 0: there is no such chain.
func headOf(s *sqlite3.Stmt, c journal.Chain) (head journal.Head, id int64, err error) {
	if err := errors.Join(s.BindText(1, string(c.Kind)), s.BindText(2, c.Run)); err != nil {
		return head, 0, err
	}
	if s.Step() {
		id = s.ColumnInt64(2)
		head, err = headAt(s, c, 0)
	}
	return head, id, errors.Join(err, s.Err(), s.Reset())
}

// headAt reads a head that is in two columns.
func headAt(s *sqlite3.Stmt, c journal.Chain, column int) (head journal.Head, err error) {
	head.Seq = s.ColumnInt64(column)
	if copy(head.Hash[:], s.ColumnRawBlob(column+1)) != len(head.Hash) {
		err = &journal.RecordDamageError{Chain: c, Seq: head.Seq, Why: "the table of heads has no whole hash of it"}
	}
	return head, err
}

// page reads up to so many records from a number on, and the chain's head.
func (r *reader) page(c journal.Chain, from int64, most int) (out []journal.Record, head journal.Head, err error) {
	s := r.records
	defer func() { err = errors.Join(err, s.Reset()) }()
	if err := errors.Join(s.BindText(1, string(c.Kind)), s.BindText(2, c.Run), s.BindInt64(3, from), s.BindInt(4, most)); err != nil {
		return nil, head, err
	}
	for s.Step() {
		if head.Seq == 0 {
			if head, err = headAt(s, c, 0); err != nil {
				return nil, head, err
			}
		}
		if s.ColumnType(2) == sqlite3.NULL {
			break // it has no records from there on
		}
		rec := journal.Record{Seq: s.ColumnInt64(2), Entry: journal.Entry{
			Time: time.UnixMicro(s.ColumnInt64(3)).UTC(), Type: s.ColumnText(4), Version: s.ColumnInt(5), Payload: s.ColumnBlob(6, nil),
		}}
		if copy(rec.Prev[:], s.ColumnRawBlob(7)) != len(rec.Prev) || copy(rec.Hash[:], s.ColumnRawBlob(8)) != len(rec.Hash) {
			return out, head, &journal.RecordDamageError{Chain: c, Seq: rec.Seq, Why: "its hashes are not whole"}
		}
		out = append(out, rec)
	}
	return out, head, s.Err()
}

// list reads chains in the order of their runs, behind one.
func (r *reader) list(k journal.Kind, after string, most int) (out []journal.Info, err error) {
	s := r.chains
	defer func() { err = errors.Join(err, s.Reset()) }()
	if err := errors.Join(s.BindText(1, string(k)), s.BindText(2, after), s.BindInt(3, most)); err != nil {
		return nil, err
	}
	for s.Step() {
		i, err := infoAt(s, k)
		if err != nil {
			return out, err
		}
		out = append(out, i)
	}
	return out, s.Err()
}

func infoAt(s *sqlite3.Stmt, k journal.Kind) (journal.Info, error) {
	i := journal.Info{
		Chain: journal.Chain{Run: s.ColumnText(0), Kind: k},
		First: time.UnixMicro(s.ColumnInt64(1)).UTC(), Last: time.UnixMicro(s.ColumnInt64(3)).UTC(),
	}
	i.Seq = s.ColumnInt64(2)
	if copy(i.Hash[:], s.ColumnRawBlob(4)) != len(i.Hash) {
		return i, &journal.RecordDamageError{Chain: i.Chain, Seq: i.Seq, Why: "the table of heads has no whole hash of it"}
	}
	return i, nil
}

func (r *reader) newest(k journal.Kind) (i journal.Info, err error) {
	s := r.last
	defer func() { err = errors.Join(err, s.Reset()) }()
	if err := s.BindText(1, string(k)); err != nil {
		return i, err
	}
	if s.Step() {
		if i, err = infoAt(s, k); err != nil {
			return i, err
		}
	}
	return i, s.Err()
}

// errHeads is the damage of a table of heads that does not agree with its index
// or the records.
var errHeads = &journal.RecordDamageError{Why: "the journal's table of heads is damaged; `ratchet verify --repair` mends it"}

// agree compares the table of heads with its index, by which chains are found,
// and with the chains that there are records of.
func (r *reader) agree() error {
	ids := map[int64]bool{}
	rows, _, err := r.conn.Prepare(`SELECT id, kind, run FROM chains NOT INDEXED`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Step() {
		id := rows.ColumnInt64(0)
		_, found, err := headOf(r.head, journal.Chain{Run: rows.ColumnText(2), Kind: journal.Kind(rows.ColumnText(1))})
		if err != nil {
			return err
		}
		if found != id {
			return errHeads
		}
		ids[id] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	s := r.next
	for id := int64(0); ; id++ {
		if err := s.BindInt64(1, id); err != nil {
			return err
		}
		more := s.Step() && s.ColumnType(0) != sqlite3.NULL
		id = s.ColumnInt64(0)
		if err := errors.Join(s.Err(), s.Reset()); err != nil || !more {
			return err
		}
		if !ids[id] {
			return errHeads
		}
	}
}
