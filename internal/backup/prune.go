package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ratchet/internal/objects"
)

// Keep says which backups stay: of each home, the last ones, and the newest
// of each of the last days and weeks that have one (in UTC; weeks as ISO 8601
// counts them). One that any rule keeps stays.
type Keep struct {
	Last   int `json:"last,omitempty"`
	Daily  int `json:"daily,omitempty"`
	Weekly int `json:"weekly,omitempty"`
}

// Pruned is what Prune removed.
type Pruned struct {
	Kept    []string `json:"kept"`
	Removed []string `json:"removed"`
	Bytes   int64    `json:"bytes"` // of all blobs that are gone
}

// choose divides backups, the oldest first, into those that stay and those
// that go.
func (k Keep) choose(all []*Manifest) (kept, gone []*Manifest) {
	stays := map[*Manifest]bool{}
	homes := map[string][]*Manifest{}
	for _, m := range all {
		home := m.Host + " " + m.Home
		homes[home] = append(homes[home], m)
	}
	for _, of := range homes {
		for i, m := range of {
			stays[m] = stays[m] || i >= len(of)-k.Last
		}
		newest := func(n int, period func(*Manifest) string) {
			seen := map[string]bool{}
			for _, m := range slices.Backward(of) {
				p := period(m)
				if !seen[p] && len(seen) < n {
					seen[p] = true
					stays[m] = true
				}
			}
		}
		newest(k.Daily, func(m *Manifest) string { return m.Time.UTC().Format("2006-01-02") })
		newest(k.Weekly, func(m *Manifest) string {
			year, week := m.Time.UTC().ISOWeek()
			return fmt.Sprint(year, week)
		})
	}
	for _, m := range all {
		if stays[m] {
			kept = append(kept, m)
		} else {
			gone = append(gone, m)
		}
	}
	return kept, gone
}

// Prune removes backups that no rule keeps, and then the blobs that no backup
// needs any more. Broken off at any moment, it has harmed none that stays.
func (r *Repository) Prune(ctx context.Context, keep Keep) (*Pruned, error) {
	if keep.Last <= 0 && keep.Daily <= 0 && keep.Weekly <= 0 {
		return nil, errors.New("this would keep no backup at all; say how many stay")
	}
	unlock, err := r.store.Lock(ctx, holder())
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, bad := r.List(ctx)
	if len(bad) > 0 {
		return nil, fmt.Errorf("a backup that cannot be read may need what would be removed: %w", bad[0])
	}
	kept, gone := keep.choose(all)
	// What stays says what it needs before anything goes.
	need, segments := map[objects.Digest]bool{}, map[string]bool{}
	for _, m := range kept {
		for i := range m.Runs {
			fresh := Run{}
			for _, s := range m.Runs[i].Segments {
				if !segments[s.Name] {
					segments[s.Name] = true
					fresh.Segments = append(fresh.Segments, s)
				}
			}
			needs, err := r.Needs(ctx, &fresh)
			if err != nil {
				return nil, fmt.Errorf("backup %s: %w", m.ID, err)
			}
			for d := range needs {
				need[d] = true
			}
		}
	}
	ix, err := r.index(ctx)
	if err != nil {
		return nil, err
	}
	if ix.locked {
		return nil, ErrLocked
	}
	out := &Pruned{Kept: []string{}, Removed: []string{}}
	for _, m := range kept {
		out.Kept = append(out.Kept, m.ID)
	}
	for _, m := range gone {
		if err := r.store.Delete(ctx, m.name); err != nil {
			return out, err
		}
		out.Removed = append(out.Removed, m.ID)
	}
	used := map[string]bool{}
	for d := range need {
		if e := ix.where[d]; e != nil {
			used[e.Pack] = true
		}
	}
	if err := r.reindex(ctx, ix, used); err != nil {
		return out, err
	}
	out.Bytes, err = r.sweep(ctx, func(b blobInfo) bool {
		switch {
		case strings.HasPrefix(b.Name, journals):
			return segments[b.Name]
		case strings.HasPrefix(b.Name, packs):
			return used[b.Name]
		}
		return true
	})
	return out, err
}

// reindex makes the indexes speak of the packs that stay, and of no other,
// before the others go.
func (r *Repository) reindex(ctx context.Context, ix *index, used map[string]bool) error {
	var entries []*indexEntry
	for name, e := range ix.packs {
		if used[name] {
			entries = append(entries, e)
		}
	}
	if len(entries) == len(ix.packs) && len(ix.gone) == 0 {
		return nil
	}
	slices.SortFunc(entries, func(a, b *indexEntry) int { return strings.Compare(a.Pack, b.Pack) })
	fresh := ""
	if len(entries) > 0 {
		content, err := json.Marshal(entries)
		if err != nil {
			return err
		}
		if fresh, _, err = r.putNamed(ctx, indexes, content); err != nil {
			return err
		}
	}
	for _, name := range ix.blobs {
		if name == fresh {
			continue
		}
		if err := r.store.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the blobs that are not to stay.
func (r *Repository) sweep(ctx context.Context, stays func(blobInfo) bool) (int64, error) {
	blobs, err := r.store.List(ctx, "")
	if err != nil {
		return 0, err
	}
	var freed int64
	for _, b := range blobs {
		if stays(b) {
			continue
		}
		if err := r.store.Delete(ctx, b.Name); err != nil {
			return freed, err
		}
		freed += b.Size
	}
	return freed, nil
}
