package sqlite

import (
	"errors"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
)

// Salvaged are the records that Salvage found. They lie in a scratch file, which
// Close removes.
type Salvaged struct {
	path   string
	conn   *sqlite3.Conn
	insert *sqlite3.Stmt
}

// Salvage finds records in a database, of this format or of format 1, and its
// write-ahead log that are damaged in whatever way: it looks at each page by
// itself, and keeps of what it finds the records that match their own hash.
// Whether they are a chain is for the caller to see. SQLite need not be able to
// open the database. scratch is a file that may grow as large as the database.
//
// A record does not have the name of its chain, which its hash covers. Where the
// table of heads has lost it, it is looked for among names.
func Salvage(path, scratch string, names []string) (*Salvaged, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	s, err := newSalvaged(scratch)
	if err != nil {
		return nil, err
	}
	c := carving{into: s, named: map[int64][]journal.Chain{}, known: map[journal.Chain]bool{}}
	for _, name := range names {
		c.known[journal.Named(name)] = true
	}
	err = f.each(c.chain)
	if err == nil {
		err = s.conn.Exec(`BEGIN`)
	}
	if err == nil {
		err = f.each(c.record)
	}
	if err == nil {
		err = s.conn.Exec(`COMMIT`)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newSalvaged(scratch string) (*Salvaged, error) {
	if err := removeScratch(scratch); err != nil {
		return nil, err
	}
	conn, err := sqlite3.Open(scratch)
	if err != nil {
		return nil, err
	}
	s := &Salvaged{path: scratch, conn: conn}
	err = conn.Exec(`
		PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-4096;
		CREATE TABLE found (name TEXT, seq INTEGER, hash BLOB, time INTEGER, type TEXT, version INTEGER, payload BLOB, prev BLOB, UNIQUE (name, seq, hash)) STRICT`)
	if err == nil {
		s.insert, _, err = conn.Prepare(`INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func removeScratch(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Close removes the scratch file.
func (s *Salvaged) Close() error {
	if s.insert != nil {
		_ = s.insert.Close()
	}
	return errors.Join(s.conn.Close(), removeScratch(s.path))
}

func (s *Salvaged) add(c journal.Chain, r journal.Record) error {
	i := s.insert
	return run(i, i.BindText(1, c.Name()), i.BindInt64(2, r.Seq), i.BindBlob(3, r.Hash[:]), i.BindInt64(4, r.Time.UnixMicro()),
		i.BindText(5, r.Type), i.BindInt(6, r.Version), i.BindBlob(7, r.Payload), i.BindBlob(8, r.Prev[:]))
}

// Chains are the chains of which records were found, with the highest number.
func (s *Salvaged) Chains() (map[journal.Chain]int64, error) {
	out := map[journal.Chain]int64{}
	q, _, err := s.conn.Prepare(`SELECT name, max(seq) FROM found GROUP BY name`)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	for q.Step() {
		out[journal.Named(q.ColumnText(0))] = q.ColumnInt64(1)
	}
	return out, q.Err()
}

// Records yields the records of a chain by their number; where two have the same
// one, in any order.
func (s *Salvaged) Records(c journal.Chain) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		q, _, err := s.conn.Prepare(`SELECT seq, time, type, version, payload, prev, hash FROM found WHERE name = ? ORDER BY seq`)
		if err == nil {
			defer q.Close()
			err = q.BindText(1, c.Name())
		}
		for err == nil && q.Step() {
			r := journal.Record{Seq: q.ColumnInt64(0), Entry: journal.Entry{
				Time: time.UnixMicro(q.ColumnInt64(1)).UTC(), Type: q.ColumnText(2), Version: q.ColumnInt(3), Payload: q.ColumnBlob(4, nil),
			}}
			copy(r.Prev[:], q.ColumnRawBlob(5))
			copy(r.Hash[:], q.ColumnRawBlob(6))
			if !yield(r, nil) {
				return
			}
		}
		if err == nil {
			err = q.Err()
		}
		if err != nil {
			yield(journal.Record{}, err)
		}
	}
}

// carving looks at one row after the other.
type carving struct {
	into  *Salvaged
	named map[int64][]journal.Chain // by the id of a chain: what it may be
	known map[journal.Chain]bool
}

// chain notes a row of the table of heads, or of its index.
func (w *carving) chain(c cell) error {
	note := func(id int64, kind, run []byte) {
		if chain := (journal.Chain{Run: string(run), Kind: journal.Kind(kind)}); journal.Named(chain.Name()) == chain {
			w.known[chain] = true
			if !slices.Contains(w.named[id], chain) {
				w.named[id] = append(w.named[id], chain)
			}
		}
	}
	switch v := c.values(true); {
	case len(v) == 7 && c.rowid > 0 && len(v[6].bytes) == len(journal.Hash{}) && len(v[5].bytes) < 9: // id, run, kind, first, seq, time, hash
		note(c.rowid, v[2].bytes, v[1].bytes)
	case len(v) == 3: // kind, run, id
		note(v[2].number, v[0].bytes, v[1].bytes)
	}
	return nil
}

// record keeps a row that is a record and matches its hash.
func (w *carving) record(c cell) error {
	for _, newest := range []bool{true, false} {
		v := c.values(newest)
		var seq int64
		var maybe []journal.Chain
		switch {
		case len(v) == 8 && c.rowid == 0: // format 1: run, seq and the rest
			seq, maybe, v = v[1].number, []journal.Chain{journal.Named(string(v[0].bytes))}, v[2:]
		case len(v) == 7 && c.rowid > 0: // key and the rest
			seq, v = c.rowid&(1<<seqBits-1), v[1:]
			maybe = w.named[c.rowid>>seqBits]
		default:
			continue
		}
		r := journal.Record{Seq: seq, Entry: journal.Entry{
			Time: time.UnixMicro(v[0].number).UTC(), Type: string(v[1].bytes), Version: int(v[2].number), Payload: v[3].bytes,
		}}
		if copy(r.Prev[:], v[4].bytes) != len(r.Prev) || copy(r.Hash[:], v[5].bytes) != len(r.Hash) {
			continue
		}
		if chain, ok := w.whose(r, c.rowid>>seqBits, maybe); ok {
			return w.into.add(chain, r)
		}
	}
	return nil
}

// whose finds the chain that a record's hash says it is of.
func (w *carving) whose(r journal.Record, id int64, maybe []journal.Chain) (journal.Chain, bool) {
	for _, c := range maybe {
		if journal.Sum(c, r) == r.Hash {
			return c, true
		}
	}
	if id == 0 {
		return journal.Chain{}, false
	}
	for c := range w.known {
		if journal.Sum(c, r) == r.Hash {
			w.named[id] = append(w.named[id], c)
			return c, true
		}
	}
	return journal.Chain{}, false
}
