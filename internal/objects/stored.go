package objects

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// mostHeld is the largest stored object that is checked in memory before any
// of it is passed on, in bytes.
const mostHeld = 8 << 20

// CopyStored writes an object as it is kept, compressed, and returns how many
// bytes that is. The error is a DamageError if its content is not what its
// name says; of a large object, something may have been written by then.
func (s *Store) CopyStored(w io.Writer, d Digest) (int64, error) {
	if !d.Valid() {
		return 0, &ObjectDamageError{d, "this is not a digest"}
	}
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &ObjectDamageError{d, "it is missing"}
	}
	if err != nil {
		return 0, err
	}
	defer f.Close() // only read from
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > mostHeld {
		count := &countingWriter{w: w}
		err := s.check(d, io.TeeReader(f, count))
		return count.n, err
	}
	var held bytes.Buffer
	held.Grow(int(info.Size()) + 1)
	if _, err := held.ReadFrom(f); err != nil {
		return 0, &ObjectDamageError{d, "it cannot be read: " + err.Error()}
	}
	if err := s.check(d, bytes.NewReader(held.Bytes())); err != nil {
		return 0, err
	}
	n, err := w.Write(held.Bytes())
	return int64(n), err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// check reads an object in its stored form to the end, and reports whether
// its content is what its name says. Errors of the reader itself come back as
// they are.
func (s *Store) check(d Digest, stored io.Reader) error {
	source := &sourceReader{r: stored}
	dec, ok := s.decoders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if dec, err = newDecoder(); err != nil {
			return err
		}
	}
	defer s.decoders.Put(dec)
	sum := sha256.New()
	err := dec.Reset(source)
	if err == nil {
		_, err = io.Copy(sum, dec)
	}
	_ = dec.Reset(nil) // drops its reference to the reader
	switch {
	case source.err != nil:
		return source.err
	case err != nil:
		return &ObjectDamageError{d, "it cannot be read: " + err.Error()}
	}
	if _, err := io.Copy(io.Discard, source); err != nil {
		return err
	}
	if got := Digest(hex.EncodeToString(sum.Sum(nil))); got != d {
		return &ObjectDamageError{d, "its content has the digest " + string(got)}
	}
	return nil
}

// sourceReader tells an error of where bytes come from apart from one of what
// they are.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// CheckStored is CopyStored for an object that is somewhere else.
func (s *Store) CheckStored(d Digest, stored io.Reader) error { return s.check(d, stored) }

// Intake takes objects in their stored form from elsewhere. Nothing of them is
// in the store before Commit. It is safe for concurrent use.
type Intake struct {
	store *Store
	dir   string
}

// Intake begins to take objects.
func (s *Store) Intake() (*Intake, error) {
	dir, err := os.MkdirTemp(s.dir, temporary)
	if err != nil {
		return nil, fmt.Errorf("taking objects: %w", err)
	}
	return &Intake{s, dir}, nil
}

// Put takes one object. The error is a DamageError if its content is not what
// its name says.
func (in *Intake) Put(d Digest, stored io.Reader) error {
	if !d.Valid() {
		return &ObjectDamageError{d, "this is not a digest"}
	}
	f, err := os.OpenFile(filepath.Join(in.dir, string(d)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(in.store.check(d, io.TeeReader(stored, f)), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Copy takes an object of another store.
func (in *Intake) Copy(from *Store, d Digest) error {
	if !d.Valid() {
		return &ObjectDamageError{d, "this is not a digest"}
	}
	f, err := os.Open(from.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return &ObjectDamageError{d, "it is missing"}
	}
	if err != nil {
		return err
	}
	defer f.Close() // only read from
	return in.Put(d, f)
}

// Store takes what r gives, and returns its digest and its size in bytes. Many
// small objects cost one sync in this way, at Commit, and not one each.
func (in *Intake) Store(r io.Reader) (Digest, int64, error) {
	f, err := os.CreateTemp(in.dir, temporary+"*")
	if err != nil {
		return "", 0, fmt.Errorf("storing an object: %w", err)
	}
	d, size, err := in.store.fill(f, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(in.dir, string(d)))
	}
	if err != nil {
		return "", 0, errors.Join(fmt.Errorf("storing an object: %w", err), os.Remove(f.Name()))
	}
	return d, size, nil
}

// Has reports whether an object was taken.
func (in *Intake) Has(d Digest) bool {
	_, err := os.Lstat(filepath.Join(in.dir, string(d)))
	return err == nil
}

// Tree reads a manifest that was taken, or that is in the store.
func (in *Intake) Tree(d Digest) (Tree, error) {
	if !in.Has(d) {
		return in.store.Tree(d)
	}
	f, err := os.Open(filepath.Join(in.dir, string(d)))
	if err != nil {
		return nil, err
	}
	r, err := in.store.reading(d, f)
	if err != nil {
		return nil, err
	}
	b, err := getAll(d, r)
	if err != nil {
		return nil, err
	}
	return parseTree(d, b)
}

// Commit puts what was taken into the store, durably, in the place of what has
// the same names.
func (in *Intake) Commit() error {
	entries, err := os.ReadDir(in.dir)
	if err != nil {
		return err
	}
	if err := syncAll(in.dir, entries); err != nil {
		return fmt.Errorf("taking objects: %w", err)
	}
	folders := map[string]bool{in.store.dir: true}
	for _, e := range entries {
		path := in.store.path(Digest(e.Name()))
		if folder := filepath.Dir(path); !folders[folder] {
			if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			folders[folder] = true
		}
		if err := os.Rename(filepath.Join(in.dir, e.Name()), path); err != nil {
			return err
		}
	}
	for folder := range folders {
		if err := SyncFolder(folder); err != nil {
			return err
		}
	}
	return os.RemoveAll(in.dir)
}

// Discard lets go of what was not committed.
func (in *Intake) Discard() { _ = os.RemoveAll(in.dir) }
