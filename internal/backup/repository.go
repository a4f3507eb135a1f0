package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The names of blobs.
const (
	markerName = "ratchet-backup.json"
	backupsDir = "backups/"  // manifests, by id
	journals   = "journals/" // segments, by the SHA-256 of the blob
	indexes    = "indexes/"  // which objects are in which packs, by the SHA-256 of the blob
	packs      = "packs/"    // objects behind each other
	lockName   = "lock"
)

// format is the version of what lies in a repository.
const format = 1

// marker says what a place is.
type marker struct {
	Format    int    `json:"ratchet_backup"`
	Encrypted bool   `json:"encrypted"`
	ID        string `json:"id"`
}

// Repository is a place with backups. It is safe for concurrent use.
type Repository struct {
	store  store
	keys   Keys
	dest   string
	marker marker
	// cache is a folder with the content of manifests and indexes that were
	// seen before, so that they are neither fetched nor decrypted again; it can
	// be lost. Empty: none.
	cache string
}

// NoBackupsError says that a place has no backups.
type NoBackupsError struct{ Dest string }

func (n *NoBackupsError) Error() string {
	return fmt.Sprintf("there are no backups in %s; `ratchet backup create --to %s` makes one", n.Dest, n.Dest)
}

// BackupDamageError says that something in a repository is not what was written.
type BackupDamageError struct{ Name, Why string }

func (d *BackupDamageError) Error() string { return fmt.Sprintf("%s of the backup: %s", d.Name, d.Why) }

// Open opens a place with backups. With create, it is made one if it is empty.
// cache is a folder for Repository.cache.
func Open(ctx context.Context, dest string, keys Keys, cache string, create bool) (*Repository, error) {
	store, err := openStore(ctx, dest)
	if err != nil {
		return nil, err
	}
	r := &Repository{store: store, keys: keys, dest: dest}
	if err := r.open(ctx, create); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if cache != "" {
		r.cache = filepath.Join(cache, r.marker.ID)
	}
	return r, nil
}

func (r *Repository) open(ctx context.Context, create bool) error {
	b, err := r.get(ctx, markerName)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return r.create(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return &NoBackupsError{r.dest}
	case err != nil:
		return fmt.Errorf("opening the backups in %s: %w", r.dest, err)
	}
	if json.Unmarshal(b, &r.marker) != nil || r.marker.Format == 0 || !plainName(r.marker.ID) {
		return &BackupDamageError{markerName, "it does not say what this place is"}
	}
	if r.marker.Format != format {
		return fmt.Errorf("the backups in %s have format %d and this release reads format %d; use the release that wrote them, or a newer one", r.dest, r.marker.Format, format)
	}
	if encrypts := len(r.keys.recipients) > 0; create && encrypts != r.marker.Encrypted {
		if encrypts {
			return fmt.Errorf("the backups in %s are not encrypted and cannot become so; name another place, or no recipients", r.dest)
		}
		return fmt.Errorf("the backups in %s are encrypted; name the recipients (--recipient age1…)", r.dest)
	}
	return nil
}

func plainName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}

// create makes an empty place one with backups.
func (r *Repository) create(ctx context.Context) error {
	there, err := r.store.List(ctx, "")
	if err != nil {
		return fmt.Errorf("opening the place for backups, %s: %w", r.dest, err)
	}
	for _, b := range there {
		if b.Name != lockName {
			return fmt.Errorf("%s holds something else (%s); name an empty or a new place", r.dest, b.Name)
		}
	}
	r.marker = marker{format, len(r.keys.recipients) > 0, random(8)}
	b, err := json.Marshal(r.marker)
	if err == nil {
		err = r.put(ctx, markerName, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("making a place for backups of %s: %w", r.dest, err)
	}
	return nil
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return hex.EncodeToString(b)
}

// Close lets go of the place.
func (r *Repository) Close() error { return r.store.Close() }

func (r *Repository) get(ctx context.Context, name string) ([]byte, error) {
	rc, err := r.store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	most := mostOf(name)
	b, err := io.ReadAll(io.LimitReader(rc, most+1))
	if err = errors.Join(err, rc.Close()); err == nil && int64(len(b)) > most {
		err = &BackupDamageError{name, fmt.Sprintf("it has more than %d bytes", most)}
	}
	return b, err
}

// mostOf bounds a blob that is read whole, in bytes: as it lies there, and its
// content. A repository may be a stranger's.
func mostOf(name string) int64 {
	switch {
	case name == markerName:
		return 4 << 10
	case strings.HasPrefix(name, backupsDir):
		return 64 << 20
	}
	return 512 << 20 // an index, or a segment
}

func (r *Repository) put(ctx context.Context, name string, b []byte) error {
	return r.store.Write(ctx, name, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(b))
		return err
	})
}

// putNamed stores content under the digest of its sealed form, below a prefix
// and what else is to be in its name. It returns the name and the size.
func (r *Repository) putNamed(ctx context.Context, prefix string, content []byte) (string, int64, error) {
	blob, err := r.keys.sealed(content)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.Sum256(blob)
	name := prefix + hex.EncodeToString(sum[:])
	if err := r.put(ctx, name, blob); err != nil {
		return "", 0, fmt.Errorf("writing to the backup: %w", err)
	}
	r.remember(name, content)
	return name, int64(len(blob)), nil
}

// getNamed reads what putNamed stored, checked against its name.
func (r *Repository) getNamed(ctx context.Context, name string) ([]byte, error) {
	if b, ok := r.recall(name); ok {
		return b, nil
	}
	blob, err := r.get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &BackupDamageError{name, "it is missing"}
	}
	if errors.As(err, new(*BackupDamageError)) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	if sum := sha256.Sum256(blob); !strings.HasSuffix(name, hex.EncodeToString(sum[:])) {
		return nil, &BackupDamageError{name, "its content does not match its name"}
	}
	content, err := r.keys.unsealed(blob, r.marker.Encrypted, mostOf(name))
	if errors.Is(err, ErrLocked) {
		return nil, err
	}
	if err != nil {
		return nil, &BackupDamageError{name, err.Error()}
	}
	r.remember(name, content)
	return content, nil
}

// cached reports whether a blob's content is worth keeping here.
func cached(name string) bool {
	return strings.HasPrefix(name, backupsDir) || strings.HasPrefix(name, indexes)
}

func (r *Repository) recall(name string) ([]byte, bool) {
	if r.cache == "" || !cached(name) {
		return nil, false
	}
	b, err := os.ReadFile(filepath.Join(r.cache, path.Base(name)))
	if err != nil || len(b) < sha256.Size {
		return nil, false
	}
	end := len(b) - sha256.Size
	return b[:end], sha256.Sum256(b[:end]) == [sha256.Size]byte(b[end:])
}

// remember keeps content for the next time; that it cannot is no error.
func (r *Repository) remember(name string, content []byte) {
	if r.cache == "" || !cached(name) || os.MkdirAll(r.cache, 0o700) != nil {
		return
	}
	sum := sha256.Sum256(content)
	f, err := os.CreateTemp(r.cache, unfinished+"*")
	if err != nil {
		return
	}
	_, err = f.Write(append(slices.Clip(content), sum[:]...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(r.cache, path.Base(name)))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}
