package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
)

// Verification is what Verify found.
type Verification struct {
	Backups int      `json:"backups"`
	Records int64    `json:"records"`
	Objects int      `json:"objects"`
	Damages []string `json:"damages"`
}

// Verify reads backups, all of them if none is named, to the last byte, and
// lists every damage: of manifests, journals, and the objects that they need.
func (r *Repository) Verify(ctx context.Context, which ...*Manifest) (*Verification, error) {
	v := &Verification{Damages: []string{}}
	damaged := func(err error) { v.Damages = append(v.Damages, err.Error()) }
	uncached := *r
	uncached.cache = "" // what lies there is asked, not what was seen before
	r = &uncached
	all := which
	if len(all) == 0 {
		var bad []error
		all, bad = r.List(ctx)
		for _, err := range bad {
			if errors.Is(err, ErrLocked) {
				return nil, err
			}
			damaged(err)
		}
	}
	need := map[objects.Digest]bool{}
	seen := map[string]bool{}
	for _, m := range all {
		v.Backups++
		if _, err := r.manifest(ctx, m.name); err != nil {
			damaged(err)
		}
		for i := range m.Runs {
			if err := r.verifyRun(ctx, &m.Runs[i], need, seen, v); err != nil {
				if errors.Is(err, ErrLocked) || ctx.Err() != nil {
					return nil, err
				}
				damaged(fmt.Errorf("backup %s, run %s: %w", m.ID, m.Runs[i].Run, err))
			}
		}
	}
	ix, err := r.index(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range ix.bad {
		damaged(err)
	}
	lost, err := r.Objects(ctx, need, new(objects.Store).CheckStored)
	if err != nil {
		return nil, err
	}
	for _, d := range slices.Sorted(maps.Keys(lost)) {
		damaged(fmt.Errorf("object %s: %w", d, lost[d]))
	}
	if len(which) == 0 {
		if err := r.verifyPacks(ctx, ix, damaged); err != nil {
			return nil, err
		}
	}
	v.Objects = len(need) - len(lost)
	return v, nil
}

// verifyPacks compares packs, to the last byte, with the digests in the
// indexes.
func (r *Repository) verifyPacks(ctx context.Context, ix *index, damaged func(error)) error {
	for _, name := range ix.gone {
		damaged(&BackupDamageError{name, "it is missing, or has another size than it had"})
	}
	for _, name := range slices.Sorted(maps.Keys(ix.packs)) {
		rc, err := r.store.Open(ctx, name)
		if errors.As(err, new(*BackupDamageError)) {
			damaged(err)
			continue
		}
		if err != nil {
			return err
		}
		c := newCounter(io.Discard)
		_, err = io.Copy(c, rc)
		if err = errors.Join(err, rc.Close()); err != nil {
			return err
		}
		if c.digest() != ix.packs[name].Digest {
			damaged(&BackupDamageError{name, "its content does not match its digest"})
		}
	}
	return nil
}

// verifyRun checks a run's segments and adds what they need. Segments that
// were seen are not read again.
func (r *Repository) verifyRun(ctx context.Context, run *Run, need map[objects.Digest]bool, seen map[string]bool, v *Verification) error {
	whole := true
	for _, s := range run.Segments {
		whole = whole && seen[s.Name]
	}
	if whole {
		return nil
	}
	var head journal.Head
	for _, s := range run.Segments {
		records, needs, err := r.segment(ctx, s)
		if err != nil {
			return err
		}
		for _, rec := range records {
			if err := journal.Verify(run.Chain(), head, rec); err != nil {
				return &BackupDamageError{s.Name, err.Error()}
			}
			head = journal.Head{Seq: rec.Seq, Hash: rec.Hash}
		}
		if !seen[s.Name] {
			seen[s.Name] = true
			v.Records += int64(len(records))
			for _, d := range needs {
				need[d] = true
			}
		}
	}
	if head.Seq != run.Seq || head.Hash.String() != run.Hash {
		return &BackupDamageError{"the journal", fmt.Sprintf("it ends at record %d, and should at %d", head.Seq, run.Seq)}
	}
	return nil
}
