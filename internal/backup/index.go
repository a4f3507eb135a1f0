package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ratchet/internal/jsonlist"
	"ratchet/internal/objects"
)

// indexEntry is a pack and what is in it.
type indexEntry struct {
	Pack    string `json:"pack"`
	Size    int64  `json:"size"`   // of the blob, in bytes
	Digest  string `json:"sha256"` // of the blob
	Objects places `json:"objects"`
}

// places is a list that may be a stranger's; so is that of entries.
type places = jsonlist.List[placed, *placed]

// mostPack is the largest pack that there can be, in bytes: 1 PiB.
const mostPack = 1 << 50

// Check implements jsonlist.List.
func (e *indexEntry) Check() error {
	id := strings.TrimPrefix(e.Pack, packs)
	if len(id) != 35 || id[2] != '/' || id[:2] != id[3:5] || strings.Trim(id, "0123456789abcdef/") != "" || id == e.Pack {
		return fmt.Errorf("it has a pack with the name %q", clip(e.Pack))
	}
	if e.Size < 0 || e.Size > mostPack {
		return fmt.Errorf("pack %s cannot have %d bytes", e.Pack, e.Size)
	}
	return nil
}

// Check implements jsonlist.List.
func (p *placed) Check() error {
	if !p.Digest.Valid() || p.Offset < 0 || p.Size <= 0 || p.Offset > mostPack || p.Size > mostPack {
		return fmt.Errorf("object %q cannot lie at %d with %d bytes", clip(string(p.Digest)), p.Offset, p.Size)
	}
	return nil
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
		if !named(b.Name, indexes) {
			ix.bad = append(ix.bad, &BackupDamageError{clip(b.Name), "this is not the name of an index"})
			continue
		}
		content, err := r.getNamed(ctx, b.Name)
		if errors.Is(err, ErrLocked) {
			ix.locked = true
			continue
		}
		var entries jsonlist.List[indexEntry, *indexEntry]
		if err == nil {
			if err = json.Unmarshal(content, &entries); err != nil {
				err = &BackupDamageError{b.Name, err.Error()}
			}
		}
		if err != nil {
			ix.bad = append(ix.bad, err)
			continue
		}
		for i := range entries {
			e := &entries[i]
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
