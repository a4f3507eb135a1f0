package maintenance

import (
	"context"
	"fmt"
	"iter"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// visit calls f with every object that records of a chain speak of, superseded ones
// included. It ends at the first error: of the records, of one that cannot be read,
// or of f.
func visit(c journal.Chain, records iter.Seq2[journal.Record, error], f func(research.Reference) error) error {
	for r, err := range records {
		if err != nil {
			return err
		}
		refs, err := research.ReferencesIn(r.Type, r.Version, r.Payload)
		if err != nil {
			return fmt.Errorf("run %s, record %d: %w", c, r.Seq, err)
		}
		for _, ref := range refs {
			if err := f(ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach adds all objects that a chain needs, those of its trees included, to a
// set.
func (m *Maintenance) reach(ctx context.Context, c journal.Chain, set map[objects.Digest]bool) error {
	return visit(c, m.home.Journal.Read(ctx, c, 1), func(ref research.Reference) error {
		d := objects.Digest(ref.Digest)
		if set[d] {
			return nil
		}
		set[d] = true
		if !ref.Tree {
			return nil
		}
		tree, err := m.home.Objects.Tree(d)
		if err != nil {
			return fmt.Errorf("run %s, %s: %w", c, ref.What, err)
		}
		for _, f := range tree {
			for _, d := range f.Objects() {
				set[d] = true
			}
		}
		return nil
	})
}
