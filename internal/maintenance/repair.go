package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/journal/sqlite"
	"ratchet/internal/objects"
	"ratchet/internal/publish"
	"ratchet/internal/research"
)

// Repaired is what Repair did.
type Repaired struct {
	Mended []string `json:"mended"` // what is whole again, and how
	Lost   []string `json:"lost"`   // what could not be saved
	// Aside is the folder with the damaged originals; empty: none were touched.
	Aside string `json:"aside,omitempty"`
}

// Repair mends a home, with what a backup has where there is one (place.To is
// not empty). Of a damaged journal it keeps each run's records up to the last
// good one, and behind it those of the backup and of the journal that go on
// from there; it puts objects back that are damaged or missing. What it could
// not save it says. Originals that were damaged are kept aside. No process may
// work in the home meanwhile.
func Repair(ctx context.Context, folder string, place BackupPlace) (*Repaired, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	r := &repair{home: folder, done: &Repaired{Mended: []string{}, Lost: []string{}}}
	done, err := (&home.Home{Folder: folder}).Exclusive()
	if errors.Is(err, home.ErrInUse) {
		return nil, errors.New("another process works in this home: pause its runs, then repair it")
	}
	if err != nil {
		return nil, err
	}
	defer done()
	r.aside = filepath.Join(folder, "aside", time.Now().UTC().Format("damaged-20060102-150405"))
	if place.To != "" {
		if r.backup, err = repository(ctx, folder, place, false); err != nil {
			return nil, err
		}
		defer r.backup.Close()
	}
	if err := r.journal(ctx); err != nil {
		return r.done, fmt.Errorf("repairing the journal: %w", err)
	}
	if err := r.rest(ctx); err != nil {
		return r.done, err
	}
	if _, err := os.Stat(r.aside); err == nil {
		r.done.Aside = r.aside
	}
	return r.done, nil
}

type repair struct {
	home   string
	aside  string
	backup *backup.Repository // nil: none
	done   *Repaired
}

func (r *repair) mended(format string, args ...any) {
	r.done.Mended = append(r.done.Mended, fmt.Sprintf(format, args...))
}

func (r *repair) lost(format string, args ...any) {
	r.done.Lost = append(r.done.Lost, fmt.Sprintf(format, args...))
}

// journal makes the journal anew if it is damaged.
func (r *repair) journal(ctx context.Context) error {
	path := filepath.Join(r.home, "journal.db")
	if r.wholeJournal(ctx, path) {
		return nil
	}
	// A copy first: opening a database can change it.
	for _, suffix := range []string{"", "-wal"} {
		if err := copyAside(path+suffix, r.aside); err != nil {
			return err
		}
	}
	lost, err := home.LostRuns(r.home, nil)
	if err != nil {
		return err
	}
	theirs := r.backedUp(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	all := map[journal.Chain]bool{}
	for _, run := range lost {
		all[journal.Of(run)] = true
	}
	for c := range theirs {
		all[c] = true
	}
	var names []string
	for _, c := range chainsOf(lost) {
		names = append(names, c.Name())
	}
	for c := range all {
		names = append(names, c.Name())
	}
	if err := os.MkdirAll(r.aside, 0o700); err != nil {
		return err
	}
	mine, err := sqlite.Salvage(filepath.Join(r.aside, "journal.db"), filepath.Join(r.aside, "salvage.db"), names)
	if err != nil {
		return err
	}
	defer mine.Close()
	had, err := mine.Chains()
	if err != nil {
		return err
	}
	fresh := path + ".repaired"
	if err := removeDatabase(fresh); err != nil {
		return err
	}
	j, err := sqlite.Open(fresh)
	if err != nil {
		return err
	}
	for c := range had {
		all[c] = true
	}
	for c := range all {
		if err := r.chain(ctx, j, c, had[c], mine.Records(c), theirs[c]); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	if err := j.Close(); err != nil {
		return err
	}
	if err := removeDatabase(path); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	r.mended("the journal was made anew")
	return nil
}

// chain puts into the new journal what can be saved of a chain. had is the number
// of the last record that was found.
func (r *repair) chain(ctx context.Context, j journal.Journal, c journal.Chain, had int64, mine iter.Seq2[journal.Record, error], theirs *copied) error {
	var backup iter.Seq2[journal.Record, error] = func(func(journal.Record, error) bool) {}
	if theirs != nil {
		backup = theirs.records(ctx)
	}
	m := mending{chain: c}
	if err := j.Replace(ctx, c, m.merge(mine, backup)); err != nil {
		return err
	}
	kept := m.head.Seq
	switch {
	case kept == 0:
		r.lost("run %s: none of its records can be read", c)
		return nil
	case kept < had:
		r.lost("run %s: records %d to %d; it stands at record %d now", c, kept+1, had, kept)
	}
	if m.taken > 0 {
		r.mended("run %s: %d of its %d records came from the backup", c, m.taken, kept)
	}
	return nil
}

// backedUp are the chains that there are backups of, each from the one that has
// most of it.
func (r *repair) backedUp(ctx context.Context) map[journal.Chain]*copied {
	out := map[journal.Chain]*copied{}
	if r.backup == nil {
		return out
	}
	all, bad := r.backup.List(ctx)
	for _, err := range bad {
		r.lost("a backup that cannot be read: %v", err)
	}
	for _, m := range all {
		for i := range m.Runs {
			c := m.Runs[i].Chain()
			best := out[c]
			if best != nil && m.Runs[i].Seq <= best.n {
				continue
			}
			one := &copied{from: r.backup, run: &m.Runs[i]}
			for _, err := range one.records(ctx) {
				if err != nil {
					if ctx.Err() == nil {
						r.lost("backup %s, run %s: %v", m.ID, c, err)
					}
					break
				}
				one.n++
			}
			if best == nil || one.n > best.n {
				out[c] = one
			}
		}
	}
	return out
}

// wholeJournal reports whether the records of every run are a chain.
func (r *repair) wholeJournal(ctx context.Context, path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	j, err := sqlite.Open(path)
	if err != nil {
		return false
	}
	defer j.Close()
	var runs []string
	for _, k := range journal.Kinds {
		for i, err := range j.Chains(ctx, k) {
			if err != nil {
				return false
			}
			if k == journal.KindRun {
				runs = append(runs, i.Run)
			}
			for _, err := range j.Read(ctx, i.Chain, 1) {
				if err != nil {
					return false
				}
			}
		}
	}
	lost, err := home.LostRuns(r.home, runs)
	return err == nil && len(lost) == 0
}

// rest mends what hangs on the journal: objects, kept states, reports.
func (r *repair) rest(ctx context.Context) error {
	h, err := home.Open(r.home, home.Options{})
	if err != nil {
		return err
	}
	defer h.Close()
	m := Of(h, publish.Of(h, nil), nil)
	chains, err := journal.AllChains(ctx, h.Journal)
	if err != nil {
		return err
	}
	in, err := m.home.Objects.Intake()
	if err != nil {
		return err
	}
	defer in.Discard()
	damaged := map[objects.Digest]string{} // and what it is
	seen := map[objects.Digest]bool{}
	look := func(run, what string, d objects.Digest) {
		if seen[d] {
			return
		}
		if seen[d] = true; m.home.Objects.Verify(d) == nil {
			return
		}
		damaged[d] = fmt.Sprintf("run %s, %s", run, what)
	}
	type named struct{ run, what, digest string }
	var trees []named
	for _, c := range chains {
		run := c.Name()
		err := visit(c, h.Journal.Read(ctx, c, 1), func(ref research.Reference) error {
			look(run, ref.What, objects.Digest(ref.Digest))
			if ref.Tree {
				trees = append(trees, named{run, ref.What, ref.Digest})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("repairing the objects of run %s: %w", run, err)
		}
	}
	// First the manifests, so that what they name can be looked at.
	if err := r.fetch(ctx, in, damaged); err != nil {
		return err
	}
	for _, t := range trees {
		tree, err := in.Tree(objects.Digest(t.digest))
		if err != nil {
			continue // it is lost, and with it the names of what it had
		}
		for _, f := range tree {
			for _, d := range f.Objects() {
				look(t.run, t.what+", "+f.Path, d)
			}
		}
	}
	if err := r.fetch(ctx, in, damaged); err != nil {
		return err
	}
	for d, what := range damaged {
		if in.Has(d) {
			if err := copyAside(m.home.Objects.Path(d), filepath.Join(r.aside, "objects")); err != nil {
				return err
			}
			r.mended("object %s (%s) came from the backup", d, what)
		} else {
			r.lost("object %s (%s)", d, what)
		}
	}
	slices.Sort(r.done.Mended)
	slices.Sort(r.done.Lost)
	if err := in.Commit(); err != nil {
		return err
	}
	runs, err := m.home.Runs(ctx)
	if err != nil {
		return err
	}
	return r.views(ctx, m, runs)
}

// fetch takes what is damaged, and was not taken yet, from the backup, as far
// as that has it.
func (r *repair) fetch(ctx context.Context, in *objects.Intake, damaged map[objects.Digest]string) error {
	want := map[objects.Digest]bool{}
	for d := range damaged {
		if !in.Has(d) {
			want[d] = true
		}
	}
	if r.backup == nil || len(want) == 0 {
		return nil
	}
	_, err := r.backup.Objects(ctx, want, in.Put)
	return err
}

// views throws away kept states that are not right, and writes reports anew
// that are not what the journal says.
func (r *repair) views(ctx context.Context, m *Maintenance, runs []string) error {
	for _, run := range runs {
		dropped, err := m.history.DropDamaged(ctx, run)
		if err != nil {
			return err
		}
		for _, seq := range dropped {
			r.mended("run %s: the kept state of record %d was thrown away", run, seq)
		}
		s, _, err := m.history.Load(ctx, run)
		if err != nil {
			r.lost("run %s cannot be folded: %v", run, err)
			continue
		}
		wrong := 0
		m.verifyResults(ctx, s, func(string, ...any) { wrong++ })
		if wrong == 0 {
			continue
		}
		results := filepath.Join(m.home.Output(s), "results.json")
		if err := copyAside(results, filepath.Join(r.aside, "results", run)); err != nil {
			return err
		}
		if err := os.Remove(results); err != nil {
			return err
		}
		if err := m.publisher.Publish(ctx, run); err != nil {
			r.lost("the report of run %s: %v", run, err)
			continue
		}
		r.mended("run %s: its report was written anew", run)
	}
	return nil
}

// copyAside copies a file into a folder; one that is not there is no error.
func copyAside(path, dir string) error {
	from, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close() // only read from
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	to, err := os.OpenFile(filepath.Join(dir, filepath.Base(path)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}

func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
