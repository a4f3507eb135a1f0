package engine

import (
	"errors"
	"path/filepath"
	"testing"

	"ratchet/internal/objects"
)

// TestTakeBack: a change is taken back from what later ones made of its files, where they do
// not build on it; what it added goes, what it removed comes again.
func TestTakeBack(t *testing.T) {
	e, err := Open(filepath.Join(t.TempDir(), "home"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tree := func(files map[string]string) string {
		t.Helper()
		var out objects.Tree
		for name, text := range files {
			d, err := e.Objects.PutBytes([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, objects.File{Path: name, Digest: d, Size: int64(len(text))})
		}
		d, err := e.Objects.PutTree(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(d)
	}
	type files = map[string]string
	for _, c := range []struct {
		name                    string
		first, second, on, want files
	}{
		{"another line has changed since", files{"x": "a\nb\nc\nd\ne\n"}, files{"x": "a\nB\nc\nd\ne\n"}, files{"x": "new\na\nB\nc\nd\nE\n"}, files{"x": "new\na\nb\nc\nd\nE\n"}},
		{"another file has changed since", files{"x": "a\n", "y": "1\n"}, files{"x": "b\n", "y": "1\n"}, files{"x": "b\n", "y": "2\n"}, files{"x": "a\n", "y": "2\n"}},
		{"it added a file", files{"x": "a\n"}, files{"x": "a\n", "y": "1\n"}, files{"x": "b\n", "y": "1\n"}, files{"x": "b\n"}},
		{"it removed a file", files{"x": "a\n", "y": "1\n"}, files{"x": "a\n"}, files{"x": "b\n"}, files{"x": "b\n", "y": "1\n"}},
		{"the same line has changed since", files{"x": "a\nb\nc\n"}, files{"x": "a\nB\nc\n"}, files{"x": "a\nBB\nc\n"}, nil},
		{"it changed nothing", files{"x": "a\n"}, files{"x": "a\n"}, files{"x": "b\n"}, files{"x": "b\n"}},
	} {
		got, err := e.takeBack(tree(c.first), tree(c.second), tree(c.on))
		switch {
		case c.want == nil:
			if !errors.As(err, new(*ProposalError)) {
				t.Errorf("%s: it becomes %s, %v", c.name, got, err)
			}
		case err != nil || got != tree(c.want):
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
