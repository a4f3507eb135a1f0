// Package patch says how two manifests of files differ, as unified diffs.
package patch

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// Store gives the content of objects.
type Store interface {
	Open(objects.Digest) (io.ReadCloser, error)
	Tree(objects.Digest) (objects.Tree, error)
}

// mostDiffed is the largest file of which lines are compared, in bytes.
const mostDiffed = 1 << 20

// Changes are the files in which two manifests differ.
func Changes(store Store, from, to string) (out []research.Change, err error) {
	err = differing(store, from, to, func(name string, before, after []byte) {
		c := research.Change{File: name}
		for line := range strings.Lines(udiff.Unified("a", "b", string(before), string(after))) {
			switch {
			case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
			case line[0] == '+':
				c.Added++
			case line[0] == '-':
				c.Removed++
			}
		}
		out = append(out, c)
	})
	return out, err
}

// Unified is a unified diff, as git writes it, from one manifest to another.
func Unified(store Store, from, to string) (string, error) {
	var b strings.Builder
	err := differing(store, from, to, func(name string, before, after []byte) {
		a, z := "a/"+name, "b/"+name
		if before == nil {
			a = "/dev/null"
		}
		if after == nil {
			z = "/dev/null"
		}
		b.WriteString("diff --git a/" + name + " b/" + name + "\n")
		b.WriteString(udiff.Unified(a, z, string(before), string(after)))
	})
	return b.String(), err
}

// differing calls f with each file in which two manifests differ, in their order; a file that
// one of them does not have is nil there. What is too large or no text is given as empty.
func differing(store Store, from, to string, f func(name string, before, after []byte)) error {
	if from == to {
		return nil
	}
	a, err := store.Tree(objects.Digest(from))
	if err != nil {
		return err
	}
	b, err := store.Tree(objects.Digest(to))
	if err != nil {
		return err
	}
	read := func(file *objects.File) ([]byte, error) {
		if file == nil {
			return nil, nil
		}
		if file.Size > mostDiffed {
			return []byte{}, nil
		}
		r, err := store.Open(file.Digest)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if again := r.Close(); err == nil {
			err = again
		}
		if err != nil || bytes.IndexByte(content, 0) >= 0 {
			return []byte{}, err
		}
		return content, nil
	}
	find := func(t objects.Tree, path string) *objects.File {
		if i := slices.IndexFunc(t, func(f objects.File) bool { return f.Path == path }); i >= 0 {
			return &t[i]
		}
		return nil
	}
	for _, path := range Paths(a, b) {
		before, err := read(find(a, path))
		if err != nil {
			return err
		}
		after, err := read(find(b, path))
		if err != nil {
			return err
		}
		f(path, before, after)
	}
	return nil
}

// Paths are those of which two manifests have different content, sorted.
func Paths(a, b objects.Tree) (paths []string) {
	digests := map[string]objects.Digest{}
	for _, f := range a {
		digests[f.Path] = f.Digest
	}
	for _, f := range b {
		if digests[f.Path] != f.Digest {
			paths = append(paths, f.Path)
		}
		delete(digests, f.Path)
	}
	for path := range digests {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}
