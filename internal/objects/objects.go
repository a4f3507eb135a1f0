// Package objects is a content-addressed store of files: artifacts, program
// outputs, code snapshots.
//
// An object is named by the SHA-256 of its content and is kept compressed
// with zstd in <store>/<first two digits>/<digest>. It is written once, by a
// temporary file that is synced and renamed, and never modified, so that an
// object that is there is whole. Every read is checked against the name.
package objects

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"ratchet/internal/failpoint"
	"ratchet/internal/planted"
)

// Digest is the SHA-256 of an object's content, in hexadecimal.
type Digest string

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	b, err := hex.DecodeString(string(d))
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == string(d)
}

// Bytes are the 32 bytes of a digest.
func (d Digest) Bytes() ([]byte, error) {
	if !d.Valid() {
		return nil, &ObjectDamageError{d, "this is not a digest"}
	}
	return hex.DecodeString(string(d))
}

// DigestFrom is the digest with these bytes.
func DigestFrom(b []byte) Digest { return Digest(hex.EncodeToString(b)) }

// DigestOf is the digest of content.
func DigestOf(content []byte) Digest {
	sum := sha256.Sum256(content)
	return Digest(hex.EncodeToString(sum[:]))
}

// ObjectDamageError says that an object is missing or is not what its name says.
type ObjectDamageError struct {
	Digest Digest
	Why    string
}

func (e *ObjectDamageError) Error() string { return fmt.Sprintf("object %s: %s", e.Digest, e.Why) }

// window bounds the memory of compression and decompression, in bytes.
const window = 1 << 20

// temporary begins the name of a file that is not an object yet.
const temporary = "new-"

// Store is a folder of objects. It is safe for concurrent use, by several
// processes too.
type Store struct {
	dir      string
	disk     Disk
	encoders sync.Pool
	decoders sync.Pool
}

// Open opens the store in a folder, and creates the folder if need be.
func Open(dir string) (*Store, error) { return OpenOn(systemDisk{}, dir) }

// OpenOn is Open on another disk than the system's.
func OpenOn(disk Disk, dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the object store: %w", err)
	}
	return &Store{dir: dir, disk: disk}, nil
}

// Path is where an object is kept, or would be.
func (s *Store) Path(d Digest) string { return s.path(d) }

func (s *Store) path(d Digest) string { return filepath.Join(s.dir, string(d[:2]), string(d)) }

// PutBytes stores content. See Put.
func (s *Store) PutBytes(content []byte) (Digest, error) {
	d, _, err := s.Put(bytes.NewReader(content))
	return d, err
}

// Put stores what r gives and returns its digest and its size in bytes. When
// it returns, the object is durable. Storing the same content again costs a
// read of it and nothing else.
func (s *Store) Put(r io.Reader) (Digest, int64, error) {
	tmp, err := s.disk.Create(s.dir, temporary+"*")
	if err != nil {
		return "", 0, fmt.Errorf("storing an object: %w", err)
	}
	digest, size, err := s.fill(tmp, r)
	if err == nil {
		if err = s.place(tmp, digest); planted.Bug("error-swallowed") {
			err = nil
		}
	}
	if err != nil {
		return "", 0, errors.Join(fmt.Errorf("storing an object: %w", err), tmp.Close(), os.Remove(tmp.Name()))
	}
	return digest, size, nil
}

// fill writes the compressed content and returns the digest of the plain one.
func (s *Store) fill(tmp *os.File, r io.Reader) (Digest, int64, error) {
	enc, ok := s.encoders.Get().(*zstd.Encoder)
	if !ok {
		var err error
		if enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true)); err != nil {
			return "", 0, err
		}
	}
	defer s.encoders.Put(enc)
	enc.Reset(tmp)
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(enc, sum), r)
	if err = errors.Join(err, enc.Close()); err != nil {
		return "", 0, err
	}
	return Digest(hex.EncodeToString(sum.Sum(nil))), size, nil
}

// place gives a whole temporary file its name, durably.
func (s *Store) place(tmp *os.File, d Digest) error {
	path := s.path(d)
	folder := filepath.Dir(path)
	if now := time.Now(); os.Chtimes(path, now, now) == nil { // young again: see Sweep
		// The writer may not have synced the folder yet.
		return errors.Join(tmp.Close(), os.Remove(tmp.Name()), s.syncFolder(folder))
	}
	if !planted.Bug("object-unsynced") {
		if err := s.disk.Sync(tmp); err != nil {
			return err
		}
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := s.disk.Mkdir(folder); err == nil {
		if err := s.syncFolder(s.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	failpoint.Hit("rename.before")
	if err := s.disk.Rename(tmp.Name(), path); err != nil {
		return err
	}
	failpoint.Hit("rename.after")
	return s.syncFolder(folder)
}

func (s *Store) syncFolder(dir string) error {
	if planted.Bug("folder-unsynced") {
		return nil
	}
	return s.disk.SyncFolder(dir)
}

// Open opens an object for reading. The reader gives a DamageError instead of
// io.EOF if what it gave is not what the digest says: a reader that saw EOF
// has seen the true content.
func (s *Store) Open(d Digest) (io.ReadCloser, error) {
	if !d.Valid() {
		return nil, &ObjectDamageError{d, "this is not a digest"}
	}
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &ObjectDamageError{d, "it is missing"}
	}
	if err != nil {
		return nil, fmt.Errorf("opening object %s: %w", d, err)
	}
	return s.reading(d, f)
}

// reading reads an object's stored form from a file, which the reader closes.
func (s *Store) reading(d Digest, f *os.File) (io.ReadCloser, error) {
	dec, ok := s.decoders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if dec, err = newDecoder(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if err := dec.Reset(f); err != nil {
		return nil, errors.Join(&ObjectDamageError{d, err.Error()}, f.Close())
	}
	return &reader{store: s, digest: d, file: f, dec: dec, sum: sha256.New()}, nil
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window*8))
}

type reader struct {
	store  *Store
	digest Digest
	file   *os.File
	dec    *zstd.Decoder
	sum    hash.Hash
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.dec.Read(p)
	r.sum.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		if got := Digest(hex.EncodeToString(r.sum.Sum(nil))); got != r.digest {
			return n, &ObjectDamageError{r.digest, "its content has the digest " + string(got)}
		}
	case err != nil:
		return n, &ObjectDamageError{r.digest, "it cannot be read: " + err.Error()}
	}
	return n, err
}

func (r *reader) Close() error {
	if r.dec != nil {
		_ = r.dec.Reset(nil) // drops its reference to the file
		r.store.decoders.Put(r.dec)
		r.dec = nil
	}
	return r.file.Close()
}

// mostWhole is the largest object that is read whole, in bytes. Manifests and
// other documents are smaller; one that says it is not could be a stranger's.
const mostWhole = 256 << 20

// Get reads a whole object, one that is no larger than a document is.
func (s *Store) Get(d Digest) ([]byte, error) {
	r, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	return getAll(d, r)
}

func getAll(d Digest, r io.ReadCloser) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, mostWhole+1))
	if err = errors.Join(err, r.Close()); err == nil && len(b) > mostWhole {
		err = &ObjectDamageError{d, fmt.Sprintf("it has more than %d bytes, and should be a document", mostWhole)}
	}
	return b, err
}

// Verify reads an object and reports whether it is whole.
func (s *Store) Verify(d Digest) error {
	r, err := s.Open(d)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// All yields the digests of all objects in the store. A file that is not an
// object is passed over.
func (s *Store) All() iter.Seq2[Digest, error] {
	return func(yield func(Digest, error) bool) {
		err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			d := Digest(e.Name())
			if e.IsDir() || !d.Valid() || path != s.path(d) {
				return nil
			}
			if !yield(d, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield("", fmt.Errorf("listing objects: %w", err))
		}
	}
}

// Stored is the size of an object as it is kept, in bytes; 0: it is not there.
func (s *Store) Stored(d Digest) int64 {
	info, err := os.Stat(s.path(d))
	if err != nil {
		return 0
	}
	return info.Size()
}

// Swept is what Sweep removed, or would have.
type Swept struct {
	Objects int
	Bytes   int64 // as they were kept
}

// Sweep removes what nothing reaches: objects, and what stores that were
// broken off have left. What was stored after young stays, also where it was
// there before: its user may not have said so yet. With dry it removes
// nothing, and only counts.
func (s *Store) Sweep(reached func(Digest) bool, young time.Time, dry bool) (Swept, error) {
	var out Swept
	var garbage []string
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		d := Digest(e.Name())
		object := d.Valid() && path == s.path(d)
		if object && reached(d) || !object && !strings.HasPrefix(strings.TrimPrefix(path, s.dir+"/"), temporary) {
			return nil
		}
		info, err := e.Info()
		if err != nil || info.ModTime().After(young) {
			return nil // gone, or young
		}
		garbage = append(garbage, path)
		out.Objects++
		out.Bytes += info.Size()
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("listing objects: %w", err)
	}
	if dry {
		return out, nil
	}
	for _, path := range garbage {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out, fmt.Errorf("removing an unreachable object: %w", err)
		}
	}
	return out, nil
}
