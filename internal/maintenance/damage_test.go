package maintenance_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/journal"
	"ratchet/internal/maintenance"
	"ratchet/internal/proof"
)

// looked is what a person sees of a home: what verify names, and
// the digest of the results with the record that they are of; empty if they
// are not printed.
type looked struct {
	damages []string
	digest  string
	seq     int64
}

// look opens a home, whatever is wrong with it.
func look(home, run string) looked {
	e, err := engine.Open(home, engine.Options{})
	if err != nil {
		return looked{damages: []string{err.Error()}}
	}
	defer e.Close()
	var out looked
	v, err := maintenance.Of(e.Home, e.Publisher, e.Executor).Verify(context.Background(), nil)
	if err != nil {
		out.damages = []string{err.Error()}
	} else {
		out.damages = v.Damages
	}
	if r, err := e.Results(context.Background(), run); err == nil {
		out.digest, out.seq = r.Digest, r.Journal.Seq
	}
	return out
}

// TestEveryByteOfAHome, flipped one at a time; files cut, swapped, deleted:
// verify names it, or it changed nothing; nothing panics, and no wrong result
// is ever printed: where the end of a journal cannot be found any more, what is
// printed was true of the record that it names. The sample flips some bytes, the
// proof each.
func TestEveryByteOfAHome(t *testing.T) {
	stride := proof.Of(97, 1)
	l := enginetest.New(t, strings.Replace(enginetest.SmallStudy, "[good, bad]", "[good]", 1), enginetest.SmallProgram)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	l.Drive(e, run)
	want := l.Digest(e, run)
	head, err := e.Journal.Head(context.Background(), journal.Of(run))
	if err != nil {
		t.Fatal(err)
	}
	truth := map[int64]string{}
	for seq := int64(1); seq <= head.Seq; seq++ {
		r, err := e.ResultsAt(context.Background(), run, seq)
		if err != nil {
			t.Fatal(err)
		}
		truth[seq] = r.Digest
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	err = filepath.WalkDir(l.Home(), func(path string, entry fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(l.Home(), path)
		if err == nil && !entry.IsDir() && (strings.HasPrefix(rel, "objects") || rel == "journal.db") {
			files = append(files, rel)
		}
		return err
	})
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	type change struct {
		file, what string
		content    []byte // nil: deleted
		harmless   bool   // it may change nothing
	}
	changes := make(chan change)
	var workers sync.WaitGroup
	tried := 0
	for i := range runtime.GOMAXPROCS(0) {
		home := filepath.Join(t.TempDir(), fmt.Sprint("copy-", i))
		if err := os.CopyFS(home, os.DirFS(l.Home())); err != nil {
			t.Fatal(err)
		}
		workers.Go(func() {
			for c := range changes {
				path := filepath.Join(home, c.file)
				whole, err := os.ReadFile(filepath.Join(l.Home(), c.file))
				if err == nil {
					err = os.Remove(path)
				}
				if err == nil && c.content != nil {
					err = os.WriteFile(path, c.content, 0o600)
				}
				if err != nil {
					t.Error(err)
					return
				}
				got := look(home, run)
				if got.digest != "" && (got.digest != truth[got.seq] || got.seq < head.Seq && len(got.damages) == 0) {
					t.Errorf("%s, %s: a wrong result is printed", c.file, c.what)
				}
				if len(got.damages) == 0 && (!c.harmless || got.digest != want) {
					t.Errorf("%s, %s: nobody complains", c.file, c.what)
				}
				for _, suffix := range []string{"-wal", "-shm"} {
					_ = os.Remove(path + suffix)
				}
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, file := range files {
		whole, err := os.ReadFile(filepath.Join(l.Home(), file))
		if err != nil {
			t.Fatal(err)
		}
		for at := i % stride; at < len(whole); at += stride {
			// SQLite has bytes that say nothing, and zstd a bit or two.
			changes <- change{file, fmt.Sprintf("byte %d flipped", at), enginetest.Flipped(whole, at), true}
			tried++
		}
		for _, n := range []int{1, len(whole) / 2, len(whole) - 1} {
			changes <- change{file, fmt.Sprintf("cut to %d bytes", n), slices.Clone(whole[:n]), false}
		}
		changes <- change{file, "deleted", nil, false}
		other, err := os.ReadFile(filepath.Join(l.Home(), files[(i+1)%len(files)]))
		if err != nil {
			t.Fatal(err)
		}
		changes <- change{file, "swapped with another", other, false}
	}
	close(changes)
	workers.Wait()
	t.Logf("%d bytes of %d files flipped", tried, len(files))
	// The published results, too.
	results := filepath.Join(l.Dir, "out", "results.json")
	whole, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += stride * 7 {
		if err := os.WriteFile(results, enginetest.Flipped(whole, at), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := look(l.Home(), run); len(got.damages) == 0 && !strings.ContainsRune(" \n{}[],:", rune(whole[at])) && !strings.Contains(importance(whole), string(whole[at:min(at+12, len(whole))])) {
			t.Errorf("byte %d of the results, %q, is flipped, and nobody complains", at, whole[max(0, at-20):min(len(whole), at+20)])
		}
	}
}

// importance is the part of published results that is computed anew.
func importance(results []byte) string {
	_, rest, _ := strings.Cut(string(results), `"importance"`)
	part, _, _ := strings.Cut(rest, `"gates"`)
	return part
}
