package objects

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ratchet/internal/jsonlist"
	"ratchet/internal/untrusted"
)

// File is one file of a tree.
type File struct {
	Path       string `json:"path"` // relative, with slashes
	Digest     Digest `json:"digest"`
	Size       int64  `json:"size"` // bytes
	Executable bool   `json:"executable,omitempty"`
	// Chunks are the objects that hold the content, in their order; none: the
	// one named Digest does.
	Chunks []Digest `json:"chunks,omitempty"`
}

// Tree is a manifest of files, sorted by path. It is stored as an object
// itself, so that one digest names all of them.
type Tree []File

// Check implements jsonlist.List: a manifest can be anybody's.
func (f *File) Check() error {
	if !filepath.IsLocal(f.Path) || !f.Digest.Valid() || f.Size < 0 || slices.ContainsFunc(f.Chunks, func(c Digest) bool { return !c.Valid() }) {
		return fmt.Errorf("it is not a manifest: %q", f.Path)
	}
	return nil
}

// PutTree stores a manifest.
func (s *Store) PutTree(t Tree) (Digest, error) {
	slices.SortFunc(t, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	b, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("storing a manifest: %w", err)
	}
	return s.PutBytes(b)
}

// Tree reads a manifest.
func (s *Store) Tree(d Digest) (Tree, error) {
	b, err := s.Get(d)
	if err != nil {
		return nil, err
	}
	return parseTree(d, b)
}

func parseTree(d Digest, b []byte) (Tree, error) {
	var t jsonlist.List[File, *File]
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, &ObjectDamageError{d, err.Error()}
	}
	return Tree(t), nil
}

// PutPaths stores the named files of a folder, and all files of the named
// folders in it, as a tree; see untrusted.Folder.Take.
func (s *Store) PutPaths(dir *untrusted.Folder, names []string, skip func(path string) bool) (Tree, error) {
	t := Tree{}
	err := dir.VisitFiles(names, skip, func(path string, open func() (*os.File, untrusted.Info, error)) error {
		f, info, err := open()
		if err != nil {
			return err
		}
		defer f.Close() // only read from
		d, size, err := s.Put(f)
		t = append(t, File{Path: path, Digest: d, Size: size, Executable: info.Mode&0o111 != 0})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("storing a folder's files: %w", err)
	}
	return t, nil
}

// CopyOut writes the files of a tree below a folder. The copies are fresh:
// changes to them do not reach the store.
func (s *Store) CopyOut(t Tree, dir string) error {
	for _, f := range t {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if f.Executable {
			mode = 0o755
		}
		if err := s.copyOut(f, path, mode); err != nil {
			return fmt.Errorf("copying %s: %w", f.Path, err)
		}
	}
	return nil
}

func (s *Store) copyOut(f File, path string, mode fs.FileMode) error {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	return errors.Join(s.CopyFile(w, f), w.Close())
}
