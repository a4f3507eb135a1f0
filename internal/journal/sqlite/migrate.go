package sqlite

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"ratchet/internal/journal"
)

// migrate makes format 2 of a database of format 1, in one transaction: until it
// is committed, which it is once every record was compared with what it was made
// of, the database is of format 1. Records are copied byte for byte, whatever
// they are.
//
// In format 1 there is one table, whose column run has the chain's name. announce is
// told before the work begins; nil: it is not announced.
func migrate(c *sqlite3.Conn, announce func(string)) error {
	// For the transaction alone: the names of chains are told apart in one place.
	if err := c.CreateFunction("chain_run", 1, sqlite3.DETERMINISTIC, func(ctx sqlite3.Context, arg ...sqlite3.Value) {
		ctx.ResultText(journal.Named(arg[0].Text()).Run)
	}); err != nil {
		return err
	}
	if err := c.CreateFunction("chain_kind", 1, sqlite3.DETERMINISTIC, func(ctx sqlite3.Context, arg ...sqlite3.Value) {
		ctx.ResultText(string(journal.Named(arg[0].Text()).Kind))
	}); err != nil {
		return err
	}
	err := transaction(c, func() error {
		version, err := pragma(c, "user_version")
		if err != nil || version == format {
			return err // another process was first
		}
		was, err := number(c, `SELECT count(*) FROM records`)
		if err != nil {
			return err
		}
		if announce != nil {
			announce(fmt.Sprintf("bringing the journal, %d records, to format %d; if that is interrupted, it is as it was", was, format))
		}
		if err := c.Exec(`ALTER TABLE records RENAME TO old; ` + schema); err != nil {
			return err
		}
		if err := c.Exec(fmt.Sprintf(`
			INSERT INTO chains (run, kind, first, seq, time, hash)
				SELECT chain_run(run), chain_kind(run), min(time), max(seq), max(time), x'' FROM old GROUP BY run ORDER BY run;
			INSERT INTO records (key, time, type, version, payload, prev, hash)
				SELECT (c.id << %[1]d) + o.seq, o.time, o.type, o.version, o.payload, o.prev, o.hash
				FROM old o JOIN chains c ON c.run = chain_run(o.run) AND c.kind = chain_kind(o.run) ORDER BY o.run, o.seq;
			UPDATE chains SET (first, time, hash) = (
				SELECT (SELECT f.time FROM records f WHERE f.key >= chains.id << %[1]d ORDER BY f.key LIMIT 1), l.time, l.hash
				FROM records l WHERE l.key = (chains.id << %[1]d) + chains.seq)`, seqBits)); err != nil {
			return err
		}
		same, err := number(c, fmt.Sprintf(`
			SELECT count(*) FROM chains c JOIN records r ON r.key >= (c.id << %[1]d) AND r.key < (c.id + 1) << %[1]d
				JOIN old o ON o.run = CASE c.kind WHEN 'run' THEN c.run ELSE c.run || '.' || c.kind END AND o.seq = r.key - (c.id << %[1]d)
			WHERE o.time = r.time AND o.type = r.type AND o.version = r.version AND o.payload = r.payload AND o.prev = r.prev AND o.hash = r.hash`, seqBits))
		if err != nil {
			return err
		}
		if same != was {
			return fmt.Errorf("of %d records %d were the same in format %d; nothing was changed", was, same, format)
		}
		return c.Exec(fmt.Sprintf(`DROP TABLE old; PRAGMA user_version=%d`, format))
	})
	if err != nil {
		return fmt.Errorf("bringing the journal to format %d: %w", format, err)
	}
	return nil
}

func number(c *sqlite3.Conn, query string) (n int64, err error) {
	s, _, err := c.Prepare(query)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if s.Step() {
		n = s.ColumnInt64(0)
	}
	return n, s.Err()
}
