package untrusted

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// folder makes a folder of files; a name that ends in a slash is a folder,
// content that begins with "->" makes a link, "|" a named pipe.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch to, link := strings.CutPrefix(content, "->"); {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case link:
			err = errors.Join(err, os.Symlink(to, path))
		case content == "|":
			err = errors.Join(err, unix.Mkfifo(path, 0o644))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func opened(t *testing.T, open func(string) (*Folder, error), dir string) *Folder {
	t.Helper()
	f, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOpen(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "precious", "deep/key": "precious"})
	dir := folder(t, map[string]string{
		"a/file": "mine", "link": "->" + filepath.Join(outside, "secret"), "dir": "->" + outside, "inside": "->a/file",
		"up": "->..", "pipe": "|", "self": "->self", "empty/": "",
	})
	f := opened(t, OpenBox, dir)
	for _, name := range []string{
		"link", "dir/secret", "dir/deep/key", "inside", "up", "pipe", "self", "self/x", "empty", ".", "", "missing", "a/file/x",
		"../" + filepath.Base(outside) + "/secret", "/etc/passwd", "a/../link", "a/./../dir/secret",
	} {
		if file, _, err := f.Open(name); err == nil {
			b, _ := io.ReadAll(file)
			t.Errorf("%q was opened: %q", name, b)
		} else if !Theirs(err) {
			t.Errorf("%q: %v is taken for a fault of the machine", name, err)
		}
	}
	file, info, err := f.Open("a/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if b, err := io.ReadAll(file); string(b) != "mine" || err != nil || info.Size != 4 {
		t.Errorf("a/file: %q, %d bytes, %v", b, info.Size, err)
	}
	if _, err := f.Folder("dir"); err == nil {
		t.Error("a link was entered")
	}
	if info, err := f.Lstat("link"); err != nil || info.Mode&fs.ModeSymlink == 0 {
		t.Errorf("link is %v, %v", info.Mode, err)
	}
	if _, err := OpenBox(filepath.Join(dir, "dir")); err == nil {
		t.Error("a link in place of a box was followed")
	}
	if Theirs(fmt.Errorf("reading: %w", unix.EMFILE)) || Theirs(unix.EIO) || Theirs(unix.ENOSPC) {
		t.Error("a fault of the machine is taken for the folder's")
	}
}

func paths(t *testing.T, f *Folder) (found []string, refused map[string]error) {
	t.Helper()
	refused = map[string]error{}
	err := f.Walk(func(e *Entry, err error) error {
		if err != nil {
			refused[e.Path] = err
		} else {
			found = append(found, e.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, refused
}

func TestWalk(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "precious"})
	dir := folder(t, map[string]string{"b/x": "1", "a": "2", "c": "->" + outside, "b/y/z": "3", "d": "|", "e/": ""})
	f := opened(t, OpenBox, dir)
	want := []string{"a", "b", "b/x", "b/y", "b/y/z", "c", "d", "e"}
	for range 2 { // a handle can be walked again
		if found, refused := paths(t, f); !slices.Equal(found, want) || len(refused) > 0 {
			t.Errorf("found %q, refused %v", found, refused)
		}
	}
	var seen []string
	err := f.Walk(func(e *Entry, err error) error {
		seen = append(seen, e.Path)
		if e.Path == "b" {
			return fs.SkipDir
		}
		if e.Path == "d" {
			return io.EOF
		}
		return err
	})
	if !errors.Is(err, io.EOF) || !slices.Equal(seen, []string{"a", "b", "c", "d"}) {
		t.Errorf("saw %q, %v", seen, err)
	}
	// A folder that is exchanged for a link between the look and the way in.
	err = f.Walk(func(e *Entry, err error) error {
		if strings.HasPrefix(e.Path, "b/") || strings.Contains(e.Path, "secret") {
			t.Errorf("came to %s", e.Path)
		}
		if e.Path == "b" && err == nil {
			if err := errors.Join(os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "z")), os.Symlink(outside, filepath.Join(dir, "b"))); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// nest makes folders in folders, deeper than any path reaches, and leaves each
// with the rights given.
func nest(t *testing.T, dir string, depth int, rights uint32) {
	t.Helper()
	in, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 50)
	for range depth {
		if err := unix.Mkdirat(in, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(in, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Fchmod(in, rights); err != nil {
			t.Fatal(err)
		}
		unix.Close(in)
		in = next
	}
	if fd, err := unix.Openat(in, "leaf", unix.O_CREAT|unix.O_WRONLY, 0o644); err != nil {
		t.Fatal(err)
	} else {
		unix.Close(fd)
	}
	unix.Close(in)
}

func TestDeepFolders(t *testing.T) {
	dir := t.TempDir()
	box := filepath.Join(dir, "box")
	if err := os.Mkdir(box, 0o755); err != nil {
		t.Fatal(err)
	}
	nest(t, box, 3000, 0o755)
	found, refused := paths(t, opened(t, OpenBox, box))
	if len(found) != mostDepth+1 || len(refused) != 1 {
		t.Errorf("found %d folders, %d refused", len(found), len(refused))
	}
	for _, err := range refused {
		if !errors.Is(err, ErrDepth) {
			t.Error(err)
		}
	}
	if err := RemoveAll(box); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(box, 0o755); err != nil {
		t.Fatal(err)
	}
	nest(t, box, 300, 0)
	if err := RemoveAll(box); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestRemoveAllTwice removes the same folder from several places at a time: what
// one of them has just removed is no error of another.
func TestRemoveAllTwice(t *testing.T) {
	for range 20 {
		box := filepath.Join(t.TempDir(), "box")
		for i := range 100 {
			if err := os.MkdirAll(filepath.Join(box, fmt.Sprint(i%10), fmt.Sprint(i), "a"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		nest(t, box, 2*deepRemoval+50, 0o755)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := RemoveAll(box); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if _, err := os.Lstat(box); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "precious", "deep/key": "precious"})
	dir := folder(t, map[string]string{"box/a/b": "1", "box/link": "->" + outside, "box/a/up": "->" + filepath.Join(outside, "deep"), "box/p": "|", "beside": "stays"})
	for _, f := range []string{"box/a", "box"} {
		if err := os.Chmod(filepath.Join(dir, f), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveAll(filepath.Join(dir, "box")); err != nil {
		t.Error(err)
	}
	if found, _ := paths(t, opened(t, Open, dir)); !slices.Equal(found, []string{"beside"}) {
		t.Errorf("left %q", found)
	}
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Symlink(outside, link), RemoveAll(link)); err != nil {
		t.Error(err)
	}
	for _, missing := range []string{"link", "nowhere/at/all"} {
		if err := RemoveAll(filepath.Join(dir, missing)); err != nil {
			t.Error(err)
		}
	}
	if found, _ := paths(t, opened(t, Open, outside)); !slices.Equal(found, []string{"deep", "deep/key", "secret"}) {
		t.Errorf("of what links led to, there is %q", found)
	}
}

// TestLockedFolders: a walk of a box sees into folders whose owner has no
// rights on them, and leaves them as they were.
func TestLockedFolders(t *testing.T) {
	dir := folder(t, map[string]string{"a/b/c": "1", "x": "2"})
	for _, f := range []string{"a/b", "a"} {
		if err := os.Chmod(filepath.Join(dir, f), 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = RemoveAll(filepath.Join(dir, "a")) })
	if found, refused := paths(t, opened(t, OpenBox, dir)); !slices.Equal(found, []string{"a", "a/b", "a/b/c", "x"}) || len(refused) > 0 {
		t.Errorf("found %q, refused %v", found, refused)
	}
	info, err := os.Lstat(filepath.Join(dir, "a"))
	if err != nil || info.Mode().Perm() != 0 {
		t.Errorf("a is %v now, %v", info.Mode(), err)
	}
	// A box that is locked itself is opened all the same.
	box := opened(t, OpenBox, dir)
	for range 2 {
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
		if found, _ := paths(t, box); len(found) != 4 {
			t.Errorf("of a box that was locked after it was opened, found %q", found)
		}
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
		box = opened(t, OpenBox, dir)
	}
	// Where the folder is not a program's of ours, nothing is changed.
	if _, refused := paths(t, opened(t, Open, dir)); os.Getuid() != 0 && len(refused) != 1 {
		t.Errorf("refused %v", refused)
	}
}

func TestTake(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "precious", "deep/key": "precious"})
	dir := folder(t, map[string]string{
		"a/x": "1", "a/y": "->x", "a/up": "->../b/z", "b/z": "2", "c": "->b", "through": "->c/z", "far": "->a/up",
		"bad/abs": "->" + filepath.Join(outside, "secret"), "bad/rel": "->../../" + filepath.Base(outside) + "/secret", "ok/dir": "->../b", "ok/far": "->dir", "m/to": "->../n", "n/to": "->../m",
		"bad/dangling": "->nothing", "bad/loop": "->loop", "bad/pipe": "|", "bad/out": "->" + outside, "bad/inside": "->../a/x", "bad/here": "->.", "bad/up": "->..", "abs": "->" + outside,
	})
	f := opened(t, Open, dir)
	take := func(names ...string) (map[string]string, error) {
		out := map[string]string{}
		err := f.VisitFiles(names, nil, func(path string, open func() (*os.File, Info, error)) error {
			file, _, err := open()
			if err != nil {
				return err
			}
			defer file.Close()
			b, err := io.ReadAll(file)
			out[path] = string(b)
			return err
		})
		return out, err
	}
	got, err := take("a", "b/z", "c", "c/z", "through", "far", "bad/inside", "ok")
	want := map[string]string{"ok/dir/z": "2", "ok/far/z": "2", "a/x": "1", "a/y": "1", "a/up": "2", "b/z": "2", "c/z": "2", "through": "2", "far": "2", "bad/inside": "1"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("took %v, %v", got, err)
	}
	for name, why := range map[string]string{
		"bad/abs": "leads out of the folder", "bad/rel": "leads out of the folder", "bad/here": "a folder that it lies in", "bad/up": "a folder that it lies in", "m": "behind 8 others", "bad/dangling": "not there",
		"bad/loop": "to itself", "bad/pipe": "a named pipe", "bad/out": "leads out", "abs/secret": "leads out", "abs/deep": "leads out", "bad": "bad/", "../x": "", "n": "behind 8 others",
	} {
		got, err := take(name)
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(fmt.Sprint(got), "precious") {
			t.Errorf("%s: took %v, %v", name, got, err)
		}
	}
}
