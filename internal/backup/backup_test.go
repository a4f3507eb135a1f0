package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/proof"
	"ratchet/internal/research"
	"ratchet/study"
)

// home is a journal and objects to be backed up.
type home struct {
	t       testing.TB
	journal journal.Journal
	objects *objects.Store
	heads   map[string]journal.Head
	now     time.Time
	rand    *rand.Rand
	dir     string
}

func newHome(t testing.TB) *home {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "objects")
	o, err := objects.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &home{t, journal.NewMemory(), o, map[string]journal.Head{}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), rand.New(rand.NewPCG(1, 2)), dir}
}

func (h *home) object(n int) objects.Digest {
	h.t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(h.rand.Uint32())
	}
	d, err := h.objects.PutBytes(b)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// grow appends to a run: its beginning, or n attempts, each with a file of
// some size.
func (h *home) grow(run string, n, size int) {
	h.t.Helper()
	var payloads []research.Payload
	if h.heads[run].Seq == 0 {
		tree, err := h.objects.PutTree(objects.Tree{{Path: "x.sh", Digest: h.object(10), Size: 10}})
		if err != nil {
			h.t.Fatal(err)
		}
		payloads = append(payloads, research.RunCreated{Run: run, Study: &study.Study{Name: "x"}, StudyFile: string(h.object(100)), Snapshot: string(tree), Environment: string(h.object(100))})
	}
	for range n {
		tree, err := h.objects.PutTree(objects.Tree{{Path: "output/file", Digest: h.object(size), Size: int64(size)}})
		if err != nil {
			h.t.Fatal(err)
		}
		payloads = append(payloads, research.AttemptEnded{Action: "a", Attempt: research.Attempt{Trial: "t", Evidence: string(tree)}})
	}
	var entries []journal.Entry
	for _, p := range payloads {
		b, err := json.Marshal(p)
		if err != nil {
			h.t.Fatal(err)
		}
		h.now = h.now.Add(time.Second)
		entries = append(entries, journal.Entry{Time: h.now, Type: p.Type(), Version: 1, Payload: b})
	}
	head, err := h.journal.Append(context.Background(), journal.Of(run), h.heads[run], entries...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.heads[run] = head
}

func (h *home) source(runs ...string) Source {
	h.now = h.now.Add(time.Minute)
	var chains []journal.Chain
	for _, run := range runs {
		chains = append(chains, journal.Named(run))
	}
	return Source{Journal: h.journal, Objects: h.objects, Chains: chains, Home: "/home/of/tests", Release: "test", Now: h.now}
}

func (h *home) records(run string) []journal.Record {
	h.t.Helper()
	var out []journal.Record
	for r, err := range h.journal.Read(context.Background(), journal.Of(run), 1) {
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func openRepo(t testing.TB, dest string, keys Keys, cache string) *Repository {
	t.Helper()
	r, err := Open(t.Context(), dest, keys, cache, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func create(t testing.TB, r *Repository, src Source) *Manifest {
	t.Helper()
	m, err := r.Create(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sound(t *testing.T, r *Repository) *Verification {
	t.Helper()
	v, err := r.Verify(t.Context())
	if err != nil || len(v.Damages) > 0 {
		t.Fatalf("verify: %+v (%v)", v, err)
	}
	return v
}

// restores: a backup has a run's records as they were, and every object whole.
func restores(t *testing.T, r *Repository, m *Manifest, run string, want []journal.Record) {
	t.Helper()
	of := m.Run(run)
	if of == nil {
		t.Fatalf("the backup %s does not have run %s", m.ID, run)
	}
	var got []journal.Record
	for rec, err := range r.Records(t.Context(), of) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run %s came back otherwise: %s", run, diff)
	}
	need, err := r.Needs(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	store, err := objects.Open(filepath.Join(t.TempDir(), "back"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := store.Intake()
	if err != nil {
		t.Fatal(err)
	}
	lost, err := r.Objects(t.Context(), need, in.Put)
	if err != nil || len(lost) > 0 {
		t.Fatalf("lost: %v (%v)", lost, err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	for d := range need {
		if err := store.Verify(d); err != nil {
			t.Error(err)
		}
	}
	if len(need) < 4 {
		t.Errorf("run %s needs %d objects", run, len(need))
	}
}

func keys(t *testing.T) Keys {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte("# a comment\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := ReadKeys([]string{id.Recipient().String()}, file)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestBackups: in every kind of place, encrypted or not, a backup has what was
// there, a later one too, and each restores as it was.
func TestBackups(t *testing.T) {
	for kind, dest := range locations(t) {
		for _, k := range []Keys{{}, keys(t)} {
			if len(k.recipients) > 0 && kind != "folder" {
				continue // what is sealed does not ask where it goes
			}
			t.Run(fmt.Sprintf("%s, %d recipients", kind, len(k.recipients)), func(t *testing.T) {
				if len(k.recipients) > 0 {
					dest += "-sealed"
				}
				h := newHome(t)
				h.grow("one", 20, 1000)
				h.grow("two", 1, 40<<20)
				r := openRepo(t, dest, k, t.TempDir())
				first := create(t, r, h.source())
				wantOne, wantTwo := h.records("one"), h.records("two")
				h.grow("one", 5, 1000)
				h.grow("three", 1, 10)
				second := create(t, r, h.source())
				if second.Objects >= first.Objects/2 || second.Bytes > first.Bytes/10 {
					t.Errorf("the second backup added %d objects and %d bytes, the first %d and %d", second.Objects, second.Bytes, first.Objects, first.Bytes)
				}
				restores(t, r, first, "one", wantOne)
				restores(t, r, first, "two", wantTwo)
				restores(t, r, second, "one", h.records("one"))
				restores(t, r, second, "two", wantTwo)
				restores(t, r, second, "three", h.records("three"))
				if v := sound(t, r); v.Backups != 2 || v.Records != int64(len(h.records("one"))+len(wantTwo)+len(h.records("three"))) {
					t.Errorf("%+v", v)
				}
				for _, id := range []string{second.ID, "latest", second.ID[:len(second.ID)-1]} {
					if m, err := r.Find(t.Context(), id); err != nil || m.ID != second.ID {
						t.Errorf("%q is %v (%v)", id, m, err)
					}
				}
				var unknown *UnknownBackupError
				for _, id := range []string{"2026", "nonsense"} {
					if _, err := r.Find(t.Context(), id); !errors.As(err, &unknown) {
						t.Errorf("%q: %v", id, err)
					}
				}
			})
		}
	}
}

// TestUnchanged: a backup of what did not change writes next to nothing, also
// where nothing is remembered here.
func TestUnchanged(t *testing.T) {
	h := newHome(t)
	for i := range 10 {
		h.grow(fmt.Sprint("run-", i), 50, 300)
	}
	dest := filepath.Join(t.TempDir(), "place")
	for _, cache := range []string{t.TempDir(), ""} {
		r := openRepo(t, dest, Keys{}, cache)
		create(t, r, h.source())
		before := size(t, dest)
		m := create(t, r, h.source())
		grown := size(t, dest) - before
		if m.Objects != 0 || grown*100 > before {
			t.Errorf("an unchanged home of %d bytes added %d objects and %d bytes", before, m.Objects, grown)
		}
	}
}

func size(t *testing.T, dir string) int64 {
	t.Helper()
	f := &folder{dir}
	blobs, err := f.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, b := range blobs {
		n += b.Size
	}
	return n
}

// TestSealed: what is encrypted says nothing without its identity, not even
// names, and a backup can be made without it.
func TestSealed(t *testing.T) {
	k := keys(t)
	dest := filepath.Join(t.TempDir(), "place")
	h := newHome(t)
	h.grow("a-secret-name", 5, 100)
	r := openRepo(t, dest, k, t.TempDir())
	create(t, r, h.source())
	f := &folder{dest}
	blobs, err := f.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		content := read(t, f, b.Name)
		if strings.Contains(content, "a-secret-name") || !strings.HasPrefix(content, "age-encryption.org/v1") && b.Name != markerName && b.Name != "lock" {
			t.Errorf("%s is not encrypted", b.Name)
		}
	}
	blind := k
	blind.identities = nil
	r = openRepo(t, dest, blind, "")
	if _, bad := r.List(t.Context()); len(bad) != 1 || !errors.Is(bad[0], ErrLocked) {
		t.Errorf("without its identity: %v", bad)
	}
	if _, err := r.Verify(t.Context()); !errors.Is(err, ErrLocked) {
		t.Errorf("without its identity: %v", err)
	}
	if _, err := r.Prune(t.Context(), Keep{Last: 1}); !errors.Is(err, ErrLocked) {
		t.Errorf("without its identity: %v", err)
	}
	h.grow("a-secret-name", 1, 100)
	create(t, r, h.source())
	all := openRepo(t, dest, k, "")
	m, err := all.Find(t.Context(), "latest")
	if err != nil {
		t.Fatal(err)
	}
	restores(t, all, m, "a-secret-name", h.records("a-secret-name"))
	another := keys(t)
	another.recipients = k.recipients
	if _, err := openRepo(t, dest, another, "").Find(t.Context(), "latest"); !errors.Is(err, ErrLocked) {
		t.Errorf("with another's identity: %v", err)
	}
	// A place is encrypted as a whole or not at all.
	for _, wrong := range []struct {
		dest string
		k    Keys
	}{{dest, Keys{}}, {plainPlace(t), k}} {
		if _, err := Open(t.Context(), wrong.dest, wrong.k, "", true); err == nil || !strings.Contains(err.Error(), "encrypted") {
			t.Errorf("half encrypted: %v", err)
		}
	}
	for _, text := range []string{"age1nonsense", "AGE-SECRET-KEY-1QQQQ"} {
		if _, err := ReadKeys([]string{text}, ""); err == nil {
			t.Errorf("%q was read as a recipient", text)
		}
	}
}

func plainPlace(t *testing.T) string {
	dest := filepath.Join(t.TempDir(), "plain")
	openRepo(t, dest, Keys{}, "")
	return dest
}

// TestDamagedHome: what is damaged at home is not backed up as if it were
// whole; the rest is, and the next backup tries again.
func TestDamagedHome(t *testing.T) {
	h := newHome(t)
	h.grow("one", 5, 100)
	lostContent := []byte("this will be missing")
	lost, err := h.objects.PutBytes(lostContent)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := h.objects.PutTree(objects.Tree{{Path: "output/lost", Digest: lost, Size: 20}})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(research.AttemptEnded{Action: "a", Attempt: research.Attempt{Trial: "t", Evidence: string(tree)}})
	if _, err := h.journal.Append(t.Context(), journal.Of("one"), h.heads["one"], journal.Entry{Time: h.now, Type: "attempt.ended", Version: 1, Payload: b}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.dir, string(lost[:2]), string(lost))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r := openRepo(t, filepath.Join(t.TempDir(), "place"), Keys{}, t.TempDir())
	m := create(t, r, h.source())
	if len(m.Damaged) != 1 || !strings.Contains(m.Damaged[0], string(lost)) {
		t.Errorf("damaged: %q", m.Damaged)
	}
	if _, err := h.objects.PutBytes(lostContent); err != nil {
		t.Fatal(err)
	}
	m = create(t, r, h.source())
	if len(m.Damaged) != 0 || m.Objects != 1 {
		t.Errorf("mended, it added %d objects; damaged: %q", m.Objects, m.Damaged)
	}
	restores(t, r, m, "one", h.records("one"))
}

// TestEveryByte of a small place with a backup, flipped (in the sample, some of
// them): it is noticed, and what still comes back is what was there.
func TestEveryByte(t *testing.T) {
	for _, k := range []Keys{{}, keys(t)} {
		h := newHome(t)
		h.grow("one", 2, 50)
		dest := filepath.Join(t.TempDir(), "place")
		r := openRepo(t, dest, k, "")
		m := create(t, r, h.source())
		f := &folder{dest}
		blobs, err := f.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			if b.Name == "lock" || b.Name == markerName {
				continue
			}
			whole := []byte(read(t, f, b.Name))
			for at := 0; at < len(whole); at += proof.Of(17, 1) {
				flipped := bytes.Clone(whole)
				flipped[at] ^= 0x20
				if err := os.WriteFile(f.path(b.Name), flipped, 0o600); err != nil {
					t.Fatal(err)
				}
				v, err := r.Verify(t.Context())
				if err == nil && len(v.Damages) == 0 {
					t.Errorf("byte %d of %s is flipped, and nobody complains", at, b.Name)
				}
				if at%16 == 0 {
					atMostTheTruth(t, r, m, h)
				}
			}
			for _, cut := range []int{0, 1, len(whole) - 1} {
				if err := os.WriteFile(f.path(b.Name), whole[:cut], 0o600); err != nil {
					t.Fatal(err)
				}
				if v, err := r.Verify(t.Context()); err == nil && len(v.Damages) == 0 {
					t.Errorf("%s is cut to %d bytes, and nobody complains", b.Name, cut)
				}
			}
			if err := os.Remove(f.path(b.Name)); err != nil {
				t.Fatal(err)
			}
			if v, err := r.Verify(t.Context()); err == nil && len(v.Damages) == 0 && !strings.HasPrefix(b.Name, backupsDir) {
				t.Errorf("%s is gone, and nobody complains", b.Name)
			}
			if err := os.WriteFile(f.path(b.Name), whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sound(t, r)
	}
}

// atMostTheTruth: records and objects that come back are those that were
// there.
func atMostTheTruth(t *testing.T, r *Repository, m *Manifest, h *home) {
	t.Helper()
	want := h.records("one")
	for rec, err := range r.Records(t.Context(), m.Run("one")) {
		if err != nil {
			break
		}
		if diff := cmp.Diff(want[rec.Seq-1], rec); diff != "" {
			t.Errorf("a wrong record came back: %s", diff)
		}
	}
	need, err := r.Needs(t.Context(), m.Run("one"))
	if err != nil {
		return
	}
	_, _ = r.Objects(t.Context(), need, func(d objects.Digest, stored io.Reader) error {
		b, err := io.ReadAll(stored)
		if err != nil {
			return err
		}
		if h.objects.CheckStored(d, bytes.NewReader(b)) != nil {
			return &objects.ObjectDamageError{Digest: d, Why: "damaged"}
		}
		return nil
	})
}

// TestSwapped: blobs that stand in each other's place are damage.
func TestSwapped(t *testing.T) {
	h := newHome(t)
	h.grow("one", 2, 50)
	h.grow("two", 2, 50)
	dest := filepath.Join(t.TempDir(), "place")
	r := openRepo(t, dest, Keys{}, "")
	m := create(t, r, h.source())
	f := &folder{dest}
	a, b := m.Run("one").Segments[0].Name, m.Run("two").Segments[0].Name
	x, y := read(t, f, a), read(t, f, b)
	put(t, f, a, []byte(y))
	put(t, f, b, []byte(x))
	v, err := r.Verify(t.Context())
	if err != nil || len(v.Damages) != 2 {
		t.Errorf("%+v (%v)", v, err)
	}
}

// TestKeep, beside its definition.
func TestKeep(t *testing.T) {
	var all []*Manifest
	begin := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	for i := range 24 * 30 { // one an hour, for thirty days
		all = append(all, &Manifest{ID: fmt.Sprint(i), Time: begin.Add(time.Duration(i) * time.Hour)})
	}
	for _, c := range []struct {
		keep Keep
		want []int
	}{
		{Keep{Last: 2}, []int{718, 719}},
		{Keep{Daily: 3}, []int{671, 695, 719}},
		{Keep{Weekly: 3}, []int{431, 599, 719}}, // Sundays the 18th and 25th, and the last
		{Keep{Last: 1, Daily: 2, Weekly: 2}, []int{599, 695, 719}},
		{Keep{Last: 10_000}, nil},
	} {
		kept, gone := c.keep.choose(all)
		var got []int
		for _, m := range kept {
			var i int
			_, _ = fmt.Sscan(m.ID, &i)
			got = append(got, i)
		}
		if c.want != nil && !slices.Equal(got, c.want) || len(kept)+len(gone) != len(all) || c.want == nil && len(gone) > 0 {
			t.Errorf("%+v keeps %v, want %v", c.keep, got, c.want)
		}
	}
	other := &Manifest{ID: "other", Host: "elsewhere", Time: begin}
	if kept, _ := (Keep{Last: 1}).choose(append([]*Manifest{other}, all...)); len(kept) != 2 {
		t.Errorf("of two homes %d backups stay", len(kept))
	}
}

// TestPrune: what no backup needs goes; what stays restores.
func TestPrune(t *testing.T) {
	h := newHome(t)
	dest := filepath.Join(t.TempDir(), "place")
	r := openRepo(t, dest, Keys{}, t.TempDir())
	h.grow("kept", 3, 1000)
	h.grow("gone", 3, 5<<20)
	create(t, r, h.source("gone"))
	create(t, r, h.source("kept"))
	h.grow("kept", 3, 1000)
	last := create(t, r, h.source("kept"))
	f := &folder{dest}
	put(t, f, packs+"ab/abandoned", []byte("of a backup that was broken off"))
	if _, err := r.Prune(t.Context(), Keep{}); err == nil {
		t.Error("all backups would have gone")
	}
	before := size(t, dest)
	p, err := r.Prune(t.Context(), Keep{Last: 1})
	if err != nil || len(p.Kept) != 1 || p.Kept[0] != last.ID || len(p.Removed) != 2 || p.Bytes < 15<<20 {
		t.Fatalf("%+v (%v)", p, err)
	}
	if after := size(t, dest); after > before-p.Bytes {
		t.Errorf("of %d bytes %d are left, %d are said to be gone", before, after, p.Bytes)
	}
	restores(t, r, last, "kept", h.records("kept"))
	sound(t, r)
	m := create(t, r, h.source("kept"))
	if m.Objects != 0 {
		t.Errorf("after pruning a backup of the same adds %d objects", m.Objects)
	}
	h.grow("gone", 1, 10)
	m = create(t, r, h.source())
	restores(t, r, m, "gone", h.records("gone"))
	sound(t, r)
}

// TestManySegments: a run that is backed up often does not lie in ever more
// blobs.
func TestManySegments(t *testing.T) {
	h := newHome(t)
	r := openRepo(t, filepath.Join(t.TempDir(), "place"), Keys{}, t.TempDir())
	most := 0
	var m *Manifest
	for range mostSegments + 5 {
		h.grow("one", 1, 10)
		m = create(t, r, h.source())
		most = max(most, len(m.Runs[0].Segments))
	}
	if most != mostSegments || len(m.Runs[0].Segments) > 10 {
		t.Errorf("%d blobs at most, %d at last", most, len(m.Runs[0].Segments))
	}
	restores(t, r, m, "one", h.records("one"))
}

// TestLostPack: a backup that finds something gone from the place puts it back
// there, as far as it is here.
func TestLostPack(t *testing.T) {
	h := newHome(t)
	dest := filepath.Join(t.TempDir(), "place")
	r := openRepo(t, dest, Keys{}, t.TempDir())
	h.grow("one", 3, 1000)
	create(t, r, h.source())
	f := &folder{dest}
	blobs, err := f.List(t.Context(), packs)
	if err != nil || len(blobs) == 0 {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if err := f.Delete(t.Context(), b.Name); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := r.Verify(t.Context()); err != nil || len(v.Damages) == 0 {
		t.Errorf("%+v (%v)", v, err)
	}
	m := create(t, r, h.source())
	restores(t, r, m, "one", h.records("one"))
}
