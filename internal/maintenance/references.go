package maintenance

import (
	"context"
	"fmt"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// chains are all chains of the home.
func (m *Maintenance) chains(ctx context.Context) (out []journal.Chain, err error) {
	for _, k := range journal.Kinds {
		for i, err := range m.home.Journal.Chains(ctx, k) {
			if err != nil {
				return nil, err
			}
			out = append(out, i.Chain)
		}
	}
	return out, nil
}

// visit calls f with every object that a chain's records from a number on speak
// of, superseded ones included. It ends at the first error, of the journal,
// of a record that cannot be read, or of f.
func (m *Maintenance) visit(ctx context.Context, c journal.Chain, from int64, f func(seq int64, ref research.Reference) error) error {
	for r, err := range m.home.Journal.Read(ctx, c, from) {
		if err != nil {
			return err
		}
		refs, err := research.ReferencesIn(r.Type, r.Version, r.Payload)
		if err != nil {
			return fmt.Errorf("run %s, record %d: %w", c, r.Seq, err)
		}
		for _, ref := range refs {
			if err := f(r.Seq, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach adds all objects that a chain needs, those of its trees included, to a
// set.
func (m *Maintenance) reach(ctx context.Context, c journal.Chain, set map[objects.Digest]bool) error {
	return m.visit(ctx, c, 1, func(_ int64, ref research.Reference) error {
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
