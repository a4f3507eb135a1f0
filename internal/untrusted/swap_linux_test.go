package untrusted

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ratchet/internal/proof"
)

const precious = "a canary that nobody may see"

// canaries is a folder that links lead to, and check reports what has become of
// it: read, changed, or gone.
func canaries(t *testing.T) (dir string, check func()) {
	t.Helper()
	dir = folder(t, map[string]string{"secret": precious, "deep/key": precious, "deep/er/key": precious, "a": precious, "b/c": precious})
	long := time.Now().Add(-48 * time.Hour)
	stats := func() map[string][2]time.Time {
		out := map[string][2]time.Time{}
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			var s unix.Stat_t
			if err = errors.Join(err, unix.Lstat(path, &s)); err == nil && !e.IsDir() {
				out[path] = [2]time.Time{time.Unix(s.Atim.Unix()), time.Unix(s.Ctim.Unix())}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return out
	}
	for path := range stats() {
		if err := os.Chtimes(path, long, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	before := stats()
	return dir, func() {
		t.Helper()
		after := stats()
		if len(after) != len(before) {
			t.Errorf("of %d canaries there are %d", len(before), len(after))
		}
		for path, was := range before {
			if after[path] != was {
				t.Errorf("%s was read or changed: it was %v, and is %v", path, was, after[path])
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != precious {
				t.Errorf("%s is %q now, %v", path, b, err)
			}
		}
	}
}

// swapper changes a folder at random, as a program would that wants the engine
// to come to another. It goes by handles: through its own links it would change
// the canaries itself.
type swapper struct {
	box     *Folder
	outside string
	r       *rand.Rand
}

func (s *swapper) name() string {
	var parts []string
	for range 1 + s.r.IntN(3) {
		parts = append(parts, string(rune('a'+s.r.IntN(4))))
	}
	return strings.Join(parts, "/")
}

func (s *swapper) step() {
	a, b := s.name(), s.name()
	inA, errA := s.box.Folder(filepath.Dir(a))
	inB, errB := s.box.Folder(filepath.Dir(b))
	defer inA.Close()
	defer inB.Close()
	if errA != nil || errB != nil {
		return
	}
	a, b = filepath.Base(a), filepath.Base(b)
	// Most steps find something in their way.
	switch s.r.IntN(12) {
	case 0, 1, 2:
		_ = unix.Renameat2(inA.fd(), a, inB.fd(), b, unix.RENAME_EXCHANGE)
	case 3:
		_ = unix.Renameat(inA.fd(), a, inB.fd(), b)
	case 4:
		_ = unix.Symlinkat(s.outside, inA.fd(), a)
	case 5:
		targets := []string{"..", "../..", "../../" + filepath.Base(s.outside), "/", ".", "/proc/self/root", "/proc/self/cwd", "a", "../b/c"}
		_ = unix.Symlinkat(targets[s.r.IntN(len(targets))], inA.fd(), a)
	case 6, 7:
		_ = unix.Mkdirat(inA.fd(), a, 0o755)
	case 8, 9:
		if fd, err := unix.Openat(inA.fd(), a, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644); err == nil {
			_, _ = unix.Write(fd, []byte("mine"))
			_ = unix.Close(fd)
		}
	case 10:
		_ = unix.Mknodat(inA.fd(), a, unix.S_IFIFO|0o644, 0)
	case 11:
		_ = unix.Unlinkat(inA.fd(), a, s.r.IntN(2)*unix.AT_REMOVEDIR)
		if s.r.IntN(8) == 0 {
			_ = unix.Fchmod(inA.fd(), uint32(s.r.IntN(2)*0o755))
		}
	}
}

// TestSwaps: a folder changes at random while it is read and parts of it are
// removed; its links are not followed.
func TestSwaps(t *testing.T) {
	outside, check := canaries(t)
	box := filepath.Join(t.TempDir(), "box")
	if err := os.Mkdir(box, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = RemoveAll(box) })
	f := opened(t, OpenBox, box)
	var steps atomic.Int64
	most := int64(proof.Of(20_000, 1_000_000))
	var wait sync.WaitGroup
	for n := range 4 {
		s := &swapper{f, outside, rand.New(rand.NewPCG(1, uint64(n)))}
		wait.Go(func() {
			for steps.Add(1) < most {
				s.step()
			}
		})
	}
	var read atomic.Int64
	look := func(file *os.File, _ Info, err error) {
		if err != nil {
			if !Theirs(err) && !isUnfit(err) {
				t.Error(err)
			}
			return
		}
		defer file.Close()
		b, err := io.ReadAll(io.LimitReader(file, 1000))
		if err != nil || bytes.Contains(b, []byte(precious)) {
			t.Errorf("read %q, %v", b, err)
		}
		read.Add(1)
	}
	for n := range 3 {
		s := &swapper{f, outside, rand.New(rand.NewPCG(2, uint64(n)))}
		wait.Go(func() {
			for steps.Load() < most {
				name := s.name()
				switch n {
				case 0:
					err := f.Walk(func(e *Entry, err error) error {
						if err == nil && e.Info.Mode.IsRegular() {
							look(e.Open())
						}
						if err != nil && !Theirs(err) {
							t.Error(err)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				case 1:
					look(f.Open(name))
					look(f.Follow(name))
					err := f.VisitFiles([]string{name}, nil, func(_ string, open func() (*os.File, Info, error)) error {
						look(open())
						return nil
					})
					if err != nil && !Theirs(err) && !isUnfit(err) {
						t.Error(err)
					}
				case 2:
					// What is above is trusted, and here it is not: only what lies in the
					// box itself is removed.
					if err := RemoveAll(filepath.Join(box, name[:1])); err != nil && !Theirs(err) && !errors.Is(err, unix.ENOTEMPTY) {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	if read.Load() == 0 {
		t.Error("nothing was read at all")
	}
	check()
}

func isUnfit(err error) bool { return errors.As(err, new(*UnfitError)) }
