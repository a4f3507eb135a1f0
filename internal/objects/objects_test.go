package objects_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ratchet/internal/objects"
	"ratchet/internal/untrusted"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (*objects.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "objects")
	s, err := objects.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func put(t *testing.T, s *objects.Store, content []byte) objects.Digest {
	t.Helper()
	d, err := s.PutBytes(content)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestNames: an object has the SHA-256 of its content as its name, so that
// anybody can check it with `zstd -d | sha256sum`. The digest of "abc" is that
// of FIPS 180-2, appendix B.1.
func TestNames(t *testing.T) {
	s, dir := open(t)
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if d := put(t, s, []byte("abc")); d != abc {
		t.Errorf("abc has the digest %s", d)
	}
	if _, err := os.Stat(filepath.Join(dir, "ba", abc)); err != nil {
		t.Error(err)
	}
}

func TestPutAndGet(t *testing.T) {
	s, _ := open(t)
	for _, content := range [][]byte{nil, []byte("x"), noise(100), noise(3 << 20), bytes.Repeat([]byte("again and "), 1<<20)} {
		d := put(t, s, content)
		got, err := s.Get(d)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back as %d (%v)", len(content), len(got), err)
		}
		if err := s.Verify(d); err != nil {
			t.Error(err)
		}
	}
}

func TestDeduplicatedAndCompressed(t *testing.T) {
	s, dir := open(t)
	content := bytes.Repeat([]byte("the same line\n"), 100_000)
	first := put(t, s, content)
	if put(t, s, content) != first {
		t.Error("the same content has two digests")
	}
	n := 0
	for range s.All() {
		n++
	}
	info, err := os.Stat(filepath.Join(dir, string(first[:2]), string(first)))
	if err != nil {
		t.Fatal(err)
	}
	if n != 1 || info.Size() > int64(len(content))/50 {
		t.Errorf("%d objects, %d bytes for %d", n, info.Size(), len(content))
	}
}

func TestManyAtOnce(t *testing.T) {
	s, _ := open(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			d, err := s.PutBytes(fmt.Appendf(nil, "content %d", i%8))
			if err == nil {
				err = s.Verify(d)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	for range s.All() {
		n++
	}
	if n != 8 {
		t.Errorf("%d objects of 8 contents", n)
	}
}

type brokenReader struct{ n int }

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.n--; b.n < 0 {
		return 0, errors.New("the source broke")
	}
	return len(p), nil
}

// TestBrokenSource: nothing is left of what could not be read to its end.
func TestBrokenSource(t *testing.T) {
	s, dir := open(t)
	if _, _, err := s.Put(&brokenReader{5}); err == nil || !strings.Contains(err.Error(), "the source broke") {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// TestAnyFlippedByteIsNoticed, in every byte of an object's file.
func TestAnyFlippedByteIsNoticed(t *testing.T) {
	s, dir := open(t)
	content := append(noise(300), bytes.Repeat([]byte("text "), 100)...)
	d := put(t, s, content)
	path := filepath.Join(dir, string(d[:2]), string(d))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		for _, mask := range []byte{0x01, 0x80} {
			b := bytes.Clone(whole)
			b[at] ^= mask
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := s.Get(d)
			var damage *objects.ObjectDamageError
			if err == nil && bytes.Equal(got, content) {
				continue // a bit that zstd does not read: the content is whole
			}
			if !errors.As(err, &damage) || damage.Digest != d {
				t.Fatalf("byte %d: %v", at, err)
			}
		}
	}
	for _, size := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(d); !errors.As(err, new(*objects.ObjectDamageError)) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
}

func TestMissing(t *testing.T) {
	s, _ := open(t)
	for _, d := range []objects.Digest{objects.DigestOf([]byte("nobody")), "", "../../etc/passwd", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"} {
		_, err := s.Open(d)
		if !errors.As(err, new(*objects.ObjectDamageError)) {
			t.Errorf("%q: %v", d, err)
		}
	}
}

func TestSweep(t *testing.T) {
	s, dir := open(t)
	kept, gone := put(t, s, []byte("kept")), put(t, s, []byte("gone"))
	broken := filepath.Join(dir, "new-123")
	for _, other := range []string{broken, filepath.Join(dir, "README")} {
		if err := os.WriteFile(other, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reached := func(d objects.Digest) bool { return d == kept }
	later := time.Now().Add(time.Hour)
	for _, c := range []struct {
		young time.Time
		dry   bool
		want  int
	}{{time.Now().Add(-time.Hour), false, 0}, {later, true, 2}, {later, false, 2}, {later, false, 0}} {
		if n, err := s.Sweep(reached, c.young, c.dry); n.Objects != c.want || err != nil {
			t.Errorf("%+v: swept %+v (%v)", c, n, err)
		}
	}
	if err := s.Verify(kept); err != nil {
		t.Error(err)
	}
	if err := s.Verify(gone); err == nil {
		t.Error("the unreachable object is still there")
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 { // two folders of objects and a file that is not the store's
		t.Errorf("left: %v", left)
	}
}

// TestStoredAgainIsYoung: an object that is stored again, while nothing
// reaches it yet, is not swept.
func TestStoredAgainIsYoung(t *testing.T) {
	s, dir := open(t)
	d := put(t, s, []byte("old"))
	long := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, string(d[:2]), string(d)), long, long); err != nil {
		t.Fatal(err)
	}
	put(t, s, []byte("old"))
	if n, err := s.Sweep(func(objects.Digest) bool { return false }, time.Now().Add(-time.Hour), false); n.Objects != 0 || err != nil {
		t.Errorf("swept %+v (%v)", n, err)
	}
}

// TestChunks: a large file that changed in one place shares the rest, and
// comes back whole; a missing or swapped chunk is damage.
func TestChunks(t *testing.T) {
	s, _ := open(t)
	count := func() int {
		n := 0
		for range s.All() {
			n++
		}
		return n
	}
	content := noise(20 << 20)
	first, err := s.PutChunked(bytes.NewReader(content))
	if err != nil || len(first.Chunks) < 5 || first.Size != int64(len(content)) || first.Digest != objects.DigestOf(content) {
		t.Fatalf("%d chunks, %d bytes (%v)", len(first.Chunks), first.Size, err)
	}
	before := count()
	changed := append(append(bytes.Clone(content[:9<<20]), "something new"...), content[9<<20:]...)
	second, err := s.PutChunked(bytes.NewReader(changed))
	if err != nil || count() > before+3 {
		t.Errorf("a change in one place made %d new objects of %d (%v)", count()-before, len(second.Chunks), err)
	}
	var back bytes.Buffer
	if err := s.CopyFile(&back, second); err != nil || !bytes.Equal(back.Bytes(), changed) {
		t.Errorf("%d bytes came back of %d (%v)", back.Len(), len(changed), err)
	}
	second.Chunks[0], second.Chunks[1] = second.Chunks[1], second.Chunks[0]
	if err := s.CopyFile(io.Discard, second); !errors.As(err, new(*objects.ObjectDamageError)) {
		t.Errorf("swapped chunks: %v", err)
	}
	for _, small := range [][]byte{nil, []byte("x"), noise(300_000)} {
		f, err := s.PutChunked(bytes.NewReader(small))
		if err != nil || len(f.Chunks) != 0 || len(f.Objects()) != 1 {
			t.Errorf("%d bytes in %d chunks (%v)", len(small), len(f.Chunks), err)
		}
		back.Reset()
		if err := s.CopyFile(&back, f); err != nil || !bytes.Equal(back.Bytes(), small) {
			t.Errorf("%d bytes came back of %d (%v)", back.Len(), len(small), err)
		}
	}
}

func TestTree(t *testing.T) {
	s, _ := open(t)
	src := t.TempDir()
	for name, mode := range map[string]os.FileMode{"run.sh": 0o755, "lib/a.py": 0o644, "lib/deep/b.py": 0o600} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), []byte("# "+name), mode); err != nil {
			t.Fatal(err)
		}
	}
	put := func(dir string, names ...string) (objects.Tree, error) {
		folder, err := untrusted.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		return s.PutPaths(folder, names, nil)
	}
	tree, err := put(src, "run.sh", "lib")
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.PutTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Tree(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree, back); diff != "" {
		t.Error(diff)
	}
	dst := t.TempDir()
	if err := s.CopyOut(back, dst); err != nil {
		t.Fatal(err)
	}
	again, err := put(dst, "lib", "run.sh")
	if err != nil {
		t.Fatal(err)
	}
	if second, err := s.PutTree(again); err != nil || second != d {
		t.Errorf("copied out and stored again it is %s (%v)", second, err)
	}
}

// TestHostileManifests: a manifest that leads out of its folder is damage.
func TestHostileManifests(t *testing.T) {
	s, _ := open(t)
	ok := objects.DigestOf(nil)
	for _, text := range []string{
		`[{"path":"../x","digest":"` + string(ok) + `"}]`, `[{"path":"/etc/x","digest":"` + string(ok) + `"}]`,
		`[{"path":"x","digest":"y"}]`, `{}`, `nonsense`,
	} {
		if _, err := s.Tree(put(t, s, []byte(text))); !errors.As(err, new(*objects.ObjectDamageError)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestReadersAreClosed(t *testing.T) {
	s, _ := open(t)
	d := put(t, s, noise(1<<20))
	for range 3 {
		r, err := s.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, 10); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Verify(d); err != nil {
		t.Error(err)
	}
}

// TestIntakeStores: objects that are taken as they are have their names when they
// are committed, and nothing of them is in the store before.
func TestIntakeStores(t *testing.T) {
	s, _ := open(t)
	in, err := s.Intake()
	if err != nil {
		t.Fatal(err)
	}
	there, err := s.PutBytes([]byte("there already"))
	if err != nil {
		t.Fatal(err)
	}
	var digests []objects.Digest
	for _, text := range []string{"one", "two", "one", "", "there already"} {
		d, size, err := in.Store(strings.NewReader(text))
		if err != nil || size != int64(len(text)) || d != objects.DigestOf([]byte(text)) {
			t.Fatalf("%q: %s, %d, %v", text, d, size, err)
		}
		digests = append(digests, d)
		if d != there && s.Verify(d) == nil {
			t.Errorf("%q is there before it is committed", text)
		}
	}
	if _, _, err := in.Store(iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Error("what cannot be read is taken")
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, d := range digests {
		if err := s.Verify(d); err != nil {
			t.Error(err)
		}
	}
	n := 0
	for _, err := range s.All() {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 4 {
		t.Errorf("%d objects are there", n)
	}
}
