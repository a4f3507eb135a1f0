package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"ratchet/internal/objects"
)

// indexEntry is a pack and what is in it.
type indexEntry struct {
	Pack    string   `json:"pack"`
	Size    int64    `json:"size"`   // of the blob, in bytes
	Digest  string   `json:"sha256"` // of the blob
	Objects []placed `json:"objects"`
}

// placed is an object in a pack: its stored form, at an offset of the pack's
// plain content.
type placed struct {
	Digest objects.Digest `json:"d"`
	Offset int64          `json:"o"`
	Size   int64          `json:"n"`
}

// index is where objects are.
type index struct {
	packs  map[string]*indexEntry // by name; those whose blobs are there
	where  map[objects.Digest]*indexEntry
	blobs  []string // the indexes themselves
	gone   []string // packs that an index speaks of and that are not there
	bad    []error
	locked bool // some could not be read without an identity
}

// index reads all indexes.
func (r *Repository) index(ctx context.Context) (*index, error) {
	blobs, err := r.store.List(ctx, indexes)
	if err != nil {
		return nil, fmt.Errorf("listing the indexes in %s: %w", r.dest, err)
	}
	there, err := r.store.List(ctx, packs)
	if err != nil {
		return nil, fmt.Errorf("listing the packs in %s: %w", r.dest, err)
	}
	sizes := map[string]int64{}
	for _, p := range there {
		sizes[p.Name] = p.Size
	}
	ix := &index{packs: map[string]*indexEntry{}, where: map[objects.Digest]*indexEntry{}}
	for _, b := range blobs {
		content, err := r.getNamed(ctx, b.Name)
		if errors.Is(err, ErrLocked) {
			ix.locked = true
			continue
		}
		var entries []*indexEntry
		if err == nil {
			if err = json.Unmarshal(content, &entries); err != nil {
				err = &DamageError{b.Name, err.Error()}
			}
		}
		if err != nil {
			ix.bad = append(ix.bad, err)
			continue
		}
		for _, e := range entries {
			size, ok := sizes[e.Pack]
			if !ok || size != e.Size {
				ix.gone = append(ix.gone, e.Pack)
				continue
			}
			ix.packs[e.Pack] = e
			for _, o := range e.Objects {
				ix.where[o.Digest] = e
			}
		}
		ix.blobs = append(ix.blobs, b.Name)
	}
	return ix, nil
}
