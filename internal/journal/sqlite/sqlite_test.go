package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"ratchet/internal/journal"
	"ratchet/internal/journal/faultdisk"
	"ratchet/internal/journal/journaltest"
	"ratchet/internal/journal/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string, o ...sqlite.Option) *sqlite.Journal {
	t.Helper()
	j, err := sqlite.Open(path, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func TestContract(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journal.Journal { return open(t, filepath.Join(t.TempDir(), "journal.db")) })
}

// TestTwoAtOnce: two journals on one file, as of two processes, keep each
// other's appends apart.
func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder with ? and #", "journal.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := open(t, path), open(t, path)
	var all sync.WaitGroup
	for i, j := range []*sqlite.Journal{a, b, a, b} {
		run := fmt.Sprint("run-", i)
		all.Go(func() {
			var head journal.Head
			for range 50 {
				var err error
				if head, err = j.Append(context.Background(), journal.Of(run), head, journaltest.Entries(1)...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for i := range 4 {
		if n := len(journaltest.All(t, a, fmt.Sprint("run-", i))); n != 50 {
			t.Errorf("run-%d has %d records", i, n)
		}
	}
	head := journaltest.Append(t, a, "x", journal.Head{}, journaltest.Entries(1)...)
	if _, err := b.Append(context.Background(), journal.Of("x"), journal.Head{}, journaltest.Entries(1)...); !errors.As(err, new(*journal.ConflictError)) {
		t.Errorf("the second writer got %v", err)
	}
	next := journaltest.Append(t, b, "x", head, journaltest.Entries(1)...)
	// The first remembers the head that it made, and finds that it is not any more.
	if _, err := a.Append(context.Background(), journal.Of("x"), head, journaltest.Entries(1)...); !errors.As(err, new(*journal.ConflictError)) {
		t.Errorf("the first writer, after the second, got %v", err)
	}
	next = journaltest.Append(t, a, "x", next, journaltest.Entries(1)...)
	if err := b.Replace(context.Background(), journal.Of("x"), journal.All(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(context.Background(), journal.Of("x"), next, journaltest.Entries(1)...); !errors.As(err, new(*journal.ConflictError)) {
		t.Errorf("after its records were replaced, the first writer got %v", err)
	}
}

func TestReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	head := journaltest.Append(t, j, "a", journal.Head{}, journaltest.Entries(5)...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	journaltest.Append(t, j, "a", head, journaltest.Entries(1)...)
	if n := len(journaltest.All(t, j, "a")); n != 6 {
		t.Errorf("%d records", n)
	}
}

// TestFaultyDisk lets the disk fail at every operation of an append, in every
// way. What was acknowledged is there afterwards, what failed is not, and the
// journal goes on once the fault is gone, in the same process and in one that
// comes after it.
func TestFaultyDisk(t *testing.T) {
	for _, fault := range faultdisk.Faults {
		t.Run(fault.Name, func(t *testing.T) {
			failed := 0
			for n, began := 1, true; began; n++ {
				if n > 200 {
					t.Fatal("the fault is met again and again")
				}
				var refused bool
				if began, refused = failOnce(t, fault, n); refused {
					failed++
				}
			}
			if failed == 0 {
				t.Error("no append ever failed")
			}
		})
	}
}

// faulted appends, acknowledged, and then appends while a fault begins with the
// n-th operation. The disk has healed when it returns: the journal, its file,
// the head as it must be, whether the fault began, and whether the append was
// refused.
func faulted(t *testing.T, fault faultdisk.Fault, n int) (j *sqlite.Journal, path string, head journal.Head, began, refused bool) {
	t.Helper()
	disk := faultdisk.New()
	t.Cleanup(disk.Close)
	path = filepath.Join(t.TempDir(), "journal.db")
	j = open(t, path, sqlite.VFS(disk.Name))
	head = journaltest.Append(t, j, "a", journal.Head{}, journaltest.Entries(3)...)
	disk.FailFrom(n, fault)
	after, err := j.Append(context.Background(), journal.Of("a"), head, journaltest.Entries(4)...)
	began = disk.Heal()
	if err == nil {
		return j, path, after, began, false
	}
	if !strings.Contains(err.Error(), "journal") {
		t.Errorf("the error does not say what was being done: %v", err)
	}
	return j, path, head, began, true
}

// failOnce begins a fault at the n-th operation of an append.
func failOnce(t *testing.T, fault faultdisk.Fault, n int) (began, refused bool) {
	t.Helper()
	j, path, after, began, refused := faulted(t, fault, n)
	if now, err := j.Head(context.Background(), journal.Of("a")); err != nil || now != after {
		t.Errorf("operation %d: the head is record %d (%v), want %d", n, now.Seq, err, after.Seq)
	}
	after = journaltest.Append(t, j, "a", after, journaltest.Entries(1)...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	if got := int64(len(journaltest.All(t, j, "a"))); got != after.Seq {
		t.Errorf("operation %d: opened again it has %d records, want %d", n, got, after.Seq)
	}
	return began, refused
}

// TestLeavingAfterAFault: an append failed, nothing came after it, and the
// journal was closed: the next process does not find the failed one.
func TestLeavingAfterAFault(t *testing.T) {
	for _, fault := range faultdisk.Faults {
		for n := 1; n < 8; n++ {
			j, path, after, _, _ := faulted(t, fault, n)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if now, err := open(t, path).Head(context.Background(), journal.Of("a")); err != nil || now != after {
				t.Errorf("%s, operation %d: the head is record %d (%v), want %d", fault.Name, n, now.Seq, err, after.Seq)
			}
		}
	}
}

// TestKilled: a process that finds the files of a killed one has all that was
// acknowledged; and where the end of the log is torn, as by a power loss in
// the middle of a write, whole appends and nothing else.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	j := open(t, filepath.Join(dir, "journal.db"))
	head := journaltest.Append(t, j, "a", journal.Head{}, journaltest.Entries(3)...)
	journaltest.Append(t, j, "a", head, journaltest.Entries(4)...)
	db, err := os.ReadFile(filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(filepath.Join(dir, "journal.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for size := len(wal); size >= 0; size -= 1000 {
		left := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(left, "journal.db"), db, 0o600), os.WriteFile(filepath.Join(left, "journal.db-wal"), wal[:size], 0o600)); err != nil {
			t.Fatal(err)
		}
		n := len(journaltest.All(t, open(t, filepath.Join(left, "journal.db")), "a"))
		if size == len(wal) && n != 7 {
			t.Errorf("of 7 acknowledged records %d are there", n)
		}
		if n != 0 && n != 3 && n != 7 {
			t.Errorf("with %d of %d bytes of the log there are %d records: part of an append", size, len(wal), n)
		}
		seen[n] = true
	}
	if !seen[0] || !seen[3] || !seen[7] {
		t.Errorf("the cuts left %v records", seen)
	}
}

// TestFlippedBytes: any byte of the database that is changed is noticed where
// it changes what is read.
func TestFlippedBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	head := journaltest.Append(t, j, "a", journal.Head{}, journaltest.Entries(20)...)
	want := journaltest.All(t, j, "a")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	for at := 0; at < len(whole); at += 13 {
		b := append([]byte{}, whole...)
		b[at] ^= 0x41
		damaged := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if !sameOrNoticed(t, damaged, head, len(want)) {
			t.Fatalf("byte %d was changed and nobody noticed", at)
		}
		noticed++
	}
	if noticed < 100 {
		t.Errorf("only %d bytes were tried", noticed)
	}
}

// sameOrNoticed reports whether reading gives what was written, or an error, to
// one who reads the chain or all chains.
func sameOrNoticed(t *testing.T, path string, head journal.Head, n int) bool {
	t.Helper()
	j, err := sqlite.Open(path)
	if err != nil {
		return true
	}
	defer j.Close()
	read := func(c journal.Chain) (last journal.Head, records int, err error) {
		for r, err := range j.Read(context.Background(), c, 1) {
			if err != nil {
				return last, records, err
			}
			records++
			last = r.At()
		}
		return last, records, nil
	}
	last, records, err := read(journal.Of("a"))
	if err != nil || last == head && records == n {
		return true
	}
	for i, err := range j.Chains(context.Background(), journal.KindRun) {
		if err != nil {
			return true
		}
		if _, _, err := read(i.Chain); err != nil {
			return true
		}
	}
	return false
}

func TestNotAJournal(t *testing.T) {
	for name, content := range map[string]string{"a text": strings.Repeat("This is no database. ", 100), "too new": ""} {
		path := filepath.Join(t.TempDir(), "journal.db")
		if content != "" {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			if err := open(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[63] = 3 // user_version, a big-endian number at 60 (SQLite's file format, 1.3)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := sqlite.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead puts any bytes in the place of a database: opening and reading give
// an error or whole records, and nothing panics.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "journal.db")
	j, err := sqlite.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := j.Append(context.Background(), journal.Of("a"), journal.Head{}, journaltest.Entries(3)...); err != nil {
		f.Fatal(err)
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("SQLite format 3\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := sqlite.Open(path)
		if err != nil {
			return
		}
		defer j.Close()
		for i, err := range j.Chains(context.Background(), journal.KindRun) {
			if err != nil {
				return
			}
			var before journal.Head
			for r, err := range j.Read(context.Background(), i.Chain, 1) {
				if err != nil {
					break
				}
				if err := journal.Verify(i.Chain, before, r); err != nil {
					t.Fatalf("a record that is not whole was given: %v", err)
				}
				before = r.At()
			}
		}
	})
}
