package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"ratchet/internal/objects"
)

// place is a backup of one run, and its files' contents.
type place struct {
	dir                      string
	manifest, index, segment []byte
	pack                     string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	h := newHome(t)
	h.grow("a-20260101-0001", 3, 100)
	p := &place{dir: t.TempDir()}
	r := openRepo(t, p.dir, Keys{}, "")
	m := create(t, r, h.source())
	content := func(name string) []byte {
		b, err := r.getNamed(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p.manifest, p.segment = content(m.name), content(m.Runs[0].Segments[0].Name)
	blobs, err := r.store.List(context.Background(), indexes)
	if err != nil || len(blobs) != 1 {
		t.Fatal(blobs, err)
	}
	p.index = content(blobs[0].Name)
	there, err := r.store.List(context.Background(), packs)
	if err != nil || len(there) == 0 {
		t.Fatal(there, err)
	}
	p.pack = there[0].Name
	return p
}

// copied is a copy of the place without the blobs below a prefix.
func (p *place) copied(t testing.TB, without string) *Repository {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
	if without != "" {
		if err := os.RemoveAll(filepath.Join(dir, without)); err != nil {
			t.Fatal(err)
		}
	}
	return openRepo(t, dir, Keys{}, "")
}

// readAll reads all that a repository has, as a restore and a check do.
func readAll(r *Repository) (damages []string, err error) {
	ctx := context.Background()
	all, bad := r.List(ctx)
	for _, err := range bad {
		damages = append(damages, err.Error())
	}
	for _, m := range all {
		for i := range m.Runs {
			for _, err := range r.Records(ctx, &m.Runs[i]) {
				if err != nil {
					damages = append(damages, err.Error())
				}
			}
		}
	}
	v, err := r.Verify(ctx)
	if err != nil {
		return damages, err
	}
	return append(damages, v.Damages...), nil
}

// TestStrangersBackups: what a stranger made of a backup is damage, named, read
// within bounds, and nothing is waited for.
func TestStrangersBackups(t *testing.T) {
	p := newPlace(t)
	edit := func(b []byte, from, to string) []byte {
		if !strings.Contains(string(b), from) {
			t.Fatalf("%q is not in %s", from, b)
		}
		return []byte(strings.ReplaceAll(string(b), from, to))
	}
	squeeze := func(t *testing.T, write func(io.Writer) error) []byte {
		var out strings.Builder
		z, err := zstd.NewWriter(&out)
		if err = errors.Join(err, write(z), z.Close()); err != nil {
			t.Fatal(err)
		}
		return []byte(out.String())
	}
	zeros := func(n int64) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.CopyN(w, endless{}, n)
			return err
		}
	}
	cases := map[string]struct {
		prefix  string // whose blobs are replaced
		content []byte // of the one in their place
		says    string
	}{
		"a run's name that leads out":   {backupsDir, edit(p.manifest, `"run":"a-20260101-0001"`, `"run":"../../../victim"`), `a run with the name "../../../victim"`},
		"a run's name that is a folder": {backupsDir, edit(p.manifest, `"run":"a-20260101-0001"`, `"run":".."`), "a run with the name"},
		"a run without segments":        {backupsDir, []byte(`{"runs":[{"run":"x","seq":0,"hash":"","segments":[]}]}`), "has no records"},
		"calls without segments":        {backupsDir, []byte(`{"runs":[{"run":"x.calls","seq":0}]}`), "has no records"},
		"a segment's name":              {backupsDir, edit(p.manifest, `"name":"journals/`, `"name":"../../etc/passwd`), "a segment with the name"},
		"a number that is none":         {backupsDir, edit(p.manifest, `"seq":4`, `"seq":-4`), "has no records"},
		"runs that are no list":         {backupsDir, []byte(`{"runs":7}`), "not a list"},
		"very many runs":                {backupsDir, []byte(`{"runs":[` + strings.Repeat(`{},`, 1<<20) + `{}]}`), "number 1 of a list"},
		"a negative size":               {indexes, edit(p.index, `"o":0,"n":`, `"o":0,"n":-`), "cannot lie at 0"},
		"a negative offset":             {indexes, edit(p.index, `"o":0,`, `"o":-1,`), "cannot lie at -1"},
		"an offset beyond all":          {indexes, edit(p.index, `"o":0,`, `"o":9223372036854775000,`), "cannot lie at"},
		"a digest that is none":         {indexes, edit(p.index, `{"d":"`, `{"d":"../`), "cannot lie at"},
		"a pack's name":                 {indexes, edit(p.index, `"pack":"packs/`, `"pack":"../packs/`), "a pack with the name"},
		"objects that overlap":          {indexes, edit(p.index, `"o":0,"n":`, `"o":1,"n":9`), ""},
		"very many objects":             {indexes, []byte(`[{"pack":"` + p.pack + `","objects":[` + strings.Repeat(`{},`, 1<<20) + `{}]}]`), "number 1 of a list"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := p.copied(t, c.prefix)
			if _, _, err := r.putNamed(context.Background(), c.prefix, c.content); err != nil {
				t.Fatal(err)
			}
			damages, err := readAll(r)
			if err != nil || len(damages) == 0 || !strings.Contains(strings.Join(damages, "\n"), c.says) {
				t.Errorf("%v, %v", damages, err)
			}
		})
	}
	file := func(r *Repository, name string) string { return r.store.(*folder).path(name) }
	zeroName := backupsDir + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		place func(t *testing.T, r *Repository) error
		says  string
	}{
		"a pipe for a backup": {func(_ *testing.T, r *Repository) error { return syscall.Mkfifo(file(r, zeroName), 0o644) }, "not a regular file"},
		"a pipe for a pack": {func(_ *testing.T, r *Repository) error {
			return errors.Join(os.Remove(file(r, p.pack)), syscall.Mkfifo(file(r, p.pack), 0o644))
		}, "missing"},
		"a link for a backup": {func(_ *testing.T, r *Repository) error { return os.Symlink("/dev/zero", file(r, zeroName)) }, "not a regular file"},
		"a link above packs": {func(_ *testing.T, r *Repository) error {
			return errors.Join(os.Rename(file(r, "packs"), file(r, "p2")), os.Symlink("p2", file(r, "packs")))
		}, "missing"},
		"a file of a terabyte": {func(_ *testing.T, r *Repository) error {
			return errors.Join(os.WriteFile(file(r, zeroName), nil, 0o644), os.Truncate(file(r, zeroName), 1<<40))
		}, "more than"},
		"a name that is short": {func(_ *testing.T, r *Repository) error { return os.WriteFile(file(r, backupsDir+"x"), nil, 0o644) }, "not the name of a backup"},
		"a bomb": {func(t *testing.T, r *Repository) error {
			blob := squeeze(t, zeros(1<<30))
			return os.WriteFile(file(r, backupsDir+string(objects.DigestOf(blob))), blob, 0o644)
		}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.copied(t, "")
			if err := c.place(t, r); err != nil {
				t.Fatal(err)
			}
			damages, err := readAll(r)
			if err != nil || !strings.Contains(strings.Join(damages, "\n"), c.says) {
				t.Errorf("%v, %v", damages, err)
			}
		})
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// FuzzRepository puts any content into the place of a repository's files, one
// kind after the other: all of it can be read, or is damage.
func FuzzRepository(f *testing.F) {
	p := newPlace(f)
	marker, err := json.Marshal(marker{Format: format, ID: "x"})
	if err != nil {
		f.Fatal(err)
	}
	for kind, content := range [][]byte{p.manifest, p.index, p.segment, marker, []byte("zstd")} {
		f.Add(byte(kind), content)
	}
	f.Fuzz(func(t *testing.T, kind byte, content []byte) {
		ctx := context.Background()
		r := p.copied(t, "")
		switch kind % 5 {
		case 0, 1, 2:
			prefix := []string{backupsDir, indexes, journals}[kind%5]
			if _, _, err := r.putNamed(ctx, prefix, content); err != nil {
				t.Fatal(err)
			}
			if kind%5 == 2 {
				_, _, _ = decodeSegment(content)
			}
		case 3:
			if err := r.put(ctx, markerName, content); err != nil {
				t.Fatal(err)
			}
			if r, err = Open(ctx, r.dest, Keys{}, "", false); err != nil {
				return
			}
		case 4:
			if err := r.put(ctx, p.pack, content); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := readAll(r); err != nil && !errors.Is(err, ErrLocked) {
			t.Error(err)
		}
	})
}
