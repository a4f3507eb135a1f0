package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/jsonlist"
	"ratchet/internal/objects"
	"ratchet/internal/untrusted"
)

// Manifest is one backup: all it has, by name.
type Manifest struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Host    string    `json:"host"`
	Home    string    `json:"home"`
	Release string    `json:"release"`
	Runs    Runs      `json:"runs"`
	// Objects and Bytes are what the backup added to the place, as it lies
	// there; the rest was there before.
	Objects int   `json:"new_objects"`
	Bytes   int64 `json:"new_bytes"`
	// Damaged says what could not be backed up, since it was damaged or
	// missing.
	Damaged []string `json:"damaged,omitempty"`
	name    string
}

// OwnRuns is how many runs a backup has; the calls of a run are a chain of their own
// in Runs, and no run.
func (m *Manifest) OwnRuns() (n int) {
	for _, r := range m.Runs {
		if r.Chain().Kind == journal.KindRun {
			n++
		}
	}
	return n
}

// Run is a chain of a run as of a backup.
type Run struct {
	Run      string   `json:"run"`  // the chain's name
	Seq      int64    `json:"seq"`  // of its last record
	Hash     string   `json:"hash"` // of that
	Segments Segments `json:"segments"`
}

// Chain is the chain that it is.
func (r *Run) Chain() journal.Chain { return journal.Named(r.Run) }

// Runs and Segments are lists that may be a stranger's.
type (
	Runs     = jsonlist.List[Run, *Run]
	Segments = jsonlist.List[Segment, *Segment]
)

// Check implements jsonlist.List. What a run is called becomes the name of a
// folder.
func (r *Run) Check() error {
	switch {
	case !untrusted.PlainName(r.Run):
		return fmt.Errorf("it has a run with the name %q", clip(r.Run))
	case r.Seq <= 0 || len(r.Hash) != 2*sha256.Size || len(r.Segments) == 0:
		return fmt.Errorf("run %s of it has no records", r.Run)
	}
	return nil
}

// Check implements jsonlist.List.
func (s *Segment) Check() error {
	if !named(s.Name, journals) || s.First <= 0 || s.Last < s.First {
		return fmt.Errorf("it has a segment with the name %q", clip(s.Name))
	}
	return nil
}

// named reports whether a blob has a name as putNamed gives it.
func named(name, prefix string) bool {
	digest, ok := strings.CutPrefix(name, prefix)
	return ok && objects.Digest(digest).Valid()
}

// clip makes a stranger's name fit for an error.
func clip(s string) string { return s[:min(len(s), 200)] }

// Segment is a blob with some of a run's records.
type Segment struct {
	Name  string `json:"name"`
	First int64  `json:"first"` // sequence numbers
	Last  int64  `json:"last"`
}

// Run looks a run up; nil: the backup does not have it.
func (m *Manifest) Run(name string) *Run {
	for i := range m.Runs {
		if m.Runs[i].Run == name {
			return &m.Runs[i]
		}
	}
	return nil
}

// List gives all backups, the oldest first. Those that cannot be read are
// errors, and do not keep the others from being listed.
func (r *Repository) List(ctx context.Context) ([]*Manifest, []error) {
	blobs, err := r.store.List(ctx, backupsDir)
	if err != nil {
		return nil, []error{fmt.Errorf("listing the backups in %s: %w", r.dest, err)}
	}
	var out []*Manifest
	var bad []error
	for _, b := range blobs {
		m, err := r.manifest(ctx, b.Name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *Manifest) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return out, bad
}

func (r *Repository) manifest(ctx context.Context, name string) (*Manifest, error) {
	if !named(name, backupsDir) {
		return nil, &BackupDamageError{clip(name), "this is not the name of a backup"}
	}
	b, err := r.getNamed(ctx, name)
	if err != nil {
		return nil, err
	}
	m := &Manifest{name: name}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, &BackupDamageError{name, err.Error()}
	}
	m.ID = idOf(m.Time, name)
	return m, nil
}

// idOf is a backup's id: when it was made, and the beginning of its digest.
func idOf(t time.Time, name string) string {
	return t.UTC().Format("20060102-150405-") + path.Base(name)[:8]
}

// Find looks a backup up by its id, the beginning of it, or "latest".
func (r *Repository) Find(ctx context.Context, id string) (*Manifest, error) {
	all, bad := r.List(ctx)
	if len(all) == 0 && len(bad) > 0 {
		return nil, bad[0]
	}
	if len(all) == 0 {
		return nil, &NoBackupsError{r.dest}
	}
	if id == "latest" {
		return all[len(all)-1], nil
	}
	var found []*Manifest
	for _, m := range all {
		if strings.HasPrefix(m.ID, id) {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, &UnknownBackupError{fmt.Sprintf("%q could be %s or %s; give more of it", id, found[0].ID, found[1].ID)}
	}
	return nil, &UnknownBackupError{fmt.Sprintf("there is no backup %q in %s; `ratchet backup list --to %s` shows them", id, r.dest, r.dest)}
}

// UnknownBackupError says that an id stands for no backup, or for several.
type UnknownBackupError struct{ Why string }

func (u *UnknownBackupError) Error() string { return u.Why }
