package maintenance

import (
	"context"
	"iter"

	"ratchet/internal/backup"
	"ratchet/internal/journal"
)

// mending puts a chain together.
type mending struct {
	chain journal.Chain
	head  journal.Head // of what was put together
	taken int          // how many records are the backup's
}

// merge yields the records that are there, by their number, and those of a backup,
// as long as one of them goes on.
func (m *mending) merge(mine, theirs iter.Seq2[journal.Record, error]) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		nextMine, stopMine := iter.Pull2(mine)
		defer stopMine()
		nextTheirs, stopTheirs := iter.Pull2(theirs)
		defer stopTheirs()
		ours, backup := &records{next: nextMine}, &records{next: nextTheirs}
		for {
			r, ok := ours.behind(m.chain, m.head)
			if !ok {
				if r, ok = backup.behind(m.chain, m.head); ok {
					m.taken++
				}
			}
			if ours.err != nil {
				yield(journal.Record{}, ours.err)
				return
			}
			if !ok {
				return // an error of the backup is its end
			}
			if m.head = r.At(); !yield(r, nil) {
				return
			}
		}
	}
}

// records are read one after the other, by their number.
type records struct {
	next func() (journal.Record, error, bool)
	same []journal.Record // those with the lowest number that was not passed
	peek *journal.Record
	err  error
}

// behind is the record that stands behind a head, if there is one.
func (r *records) behind(c journal.Chain, head journal.Head) (journal.Record, bool) {
	for len(r.same) == 0 || r.same[0].Seq <= head.Seq {
		if !r.advance() {
			return journal.Record{}, false
		}
	}
	for _, one := range r.same {
		if journal.Verify(c, head, one) == nil {
			return one, true
		}
	}
	return journal.Record{}, false
}

// advance reads the records with the next number.
func (r *records) advance() bool {
	r.same = nil
	if r.peek != nil {
		r.same, r.peek = append(r.same, *r.peek), nil
	}
	for r.err == nil {
		next, err, ok := r.next()
		if !ok {
			break
		}
		if err != nil {
			r.err = err
			break
		}
		if len(r.same) > 0 && next.Seq != r.same[0].Seq {
			r.peek = &next
			break
		}
		r.same = append(r.same, next)
	}
	return len(r.same) > 0
}

// copied is a chain as a backup has it.
type copied struct {
	from *backup.Repository
	run  *backup.Run
	n    int64 // how many of its records can be read
}

func (c *copied) records(ctx context.Context) iter.Seq2[journal.Record, error] {
	return c.from.Records(ctx, c.run)
}
