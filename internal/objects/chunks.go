package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/restic/chunker"
)

// polynomial is the one by which contents are cut (Rabin fingerprints;
// chunker documents the scheme). It is the same in every store, so that equal
// parts of files are equal chunks everywhere.
const polynomial = chunker.Pol(0x3DA3358B4DC173)

// PutChunked stores what r gives in chunks that its content decides, 1 MiB
// on average: a file that differs from a stored one in a part shares the
// other chunks with it. Path and mode are the caller's to fill in. What fits
// one chunk is an object like any other.
func (s *Store) PutChunked(r io.Reader) (File, error) {
	var f File
	whole := sha256.New()
	cut := chunker.New(io.TeeReader(r, whole), polynomial)
	buf := make([]byte, chunker.MaxSize)
	for {
		c, err := cut.Next(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return File{}, fmt.Errorf("storing chunks: %w", err)
		}
		d, err := s.PutBytes(c.Data)
		if err != nil {
			return File{}, err
		}
		f.Chunks = append(f.Chunks, d)
		f.Size += int64(c.Length)
	}
	f.Digest = Digest(hex.EncodeToString(whole.Sum(nil)))
	if len(f.Chunks) == 1 {
		f.Chunks = nil
	}
	if f.Size == 0 {
		_, err := s.PutBytes(nil)
		return f, err
	}
	return f, nil
}

// Objects are the digests of the objects that hold a file's content.
func (f File) Objects() []Digest {
	if len(f.Chunks) > 0 {
		return f.Chunks
	}
	return []Digest{f.Digest}
}

// CopyFile writes a file's content, checked against its digest: an error
// means that what was written is not the file.
func (s *Store) CopyFile(w io.Writer, f File) error {
	whole := sha256.New()
	for _, d := range f.Objects() {
		r, err := s.Open(d)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.MultiWriter(w, whole), r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	if got := Digest(hex.EncodeToString(whole.Sum(nil))); got != f.Digest {
		return &ObjectDamageError{f.Digest, "its chunks together have the digest " + string(got)}
	}
	return nil
}
