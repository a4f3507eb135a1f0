package maintenance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"ratchet/internal/backup"
	"ratchet/internal/gateway"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
)

// RestoreOptions say what is restored, and over what.
type RestoreOptions struct {
	Backup string   // its id, the beginning of it, or "latest"
	Runs   []string // none: all that the backup has
	At     string   // restore up to this position; see Locate; empty: all
	Force  bool     // replace runs that have gone on, or another way, since
	Output string   // the folder that reports of runs which were not here go into; default results
}

// Restored is what a restore did.
type Restored struct {
	Backup  string        `json:"backup"`
	Runs    []RestoredRun `json:"runs"`
	Objects int           `json:"objects"` // that were not here, or were damaged
}

// RestoredRun is a run that was restored.
type RestoredRun struct {
	Run string `json:"run"`
	Seq int64  `json:"seq"` // of its last record now
	// Was is its last record before; 0: it was not here.
	Was int64 `json:"was"`
	// Aside is where the records are that it had before; empty: they are still
	// its beginning.
	Aside string `json:"aside,omitempty"`
	// Output is the folder of its report, where it was not here before: what its
	// records say of that is not believed.
	Output string `json:"output,omitempty"`
}

// NewerError says that a restore would undo what a run has done since.
type NewerError struct {
	Run       string
	Seq, Mine int64
	Other     bool // it went another way, too
}

func (n *NewerError) Error() string {
	if n.Other {
		return fmt.Sprintf("run %s has gone another way here than in the backup (%d records here, %d there); --force replaces it and keeps what is here aside", n.Run, n.Mine, n.Seq)
	}
	return fmt.Sprintf("run %s is newer here (%d records) than in the backup (%d); --force replaces it and keeps what is here aside", n.Run, n.Mine, n.Seq)
}

// Restore brings runs back from a backup. All of it is read and checked, every
// record and every object, before anything here is touched. A run that the
// backup has more of is gone on with; one that is newer here is left alone
// without Force.
func (m *Maintenance) Restore(ctx context.Context, p BackupPlace, o RestoreOptions) (*Restored, error) {
	r, err := repository(ctx, m.home.Folder, p, false)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	from, err := r.Find(ctx, o.Backup)
	if err != nil {
		return nil, err
	}
	done, err := m.home.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	var names []string
	for _, name := range o.Runs {
		if names = append(names, name); from.Run(gateway.Stream(name)) != nil {
			names = append(names, gateway.Stream(name))
		}
	}
	if len(names) == 0 {
		for _, run := range from.Runs {
			names = append(names, run.Run)
		}
	}
	var plans []*restoring
	for _, name := range names {
		run := from.Run(name)
		if run == nil {
			return nil, &home.UnknownRunError{Name: name, Known: []string{""}}
		}
		plan, err := m.planRestore(ctx, r, run, o)
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
		if _, calls := gateway.StreamOf(name); calls {
			continue // the run's own lock is theirs
		}
		unlock, err := m.home.LockRun(name)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	out := &Restored{Backup: from.ID, Runs: []RestoredRun{}}
	if out.Objects, err = m.restoreObjects(ctx, r, plans); err != nil {
		return nil, err
	}
	for _, plan := range plans {
		output, err := m.receive(ctx, plan, from.ID, cmp.Or(o.Output, "results"))
		if err != nil {
			return out, fmt.Errorf("restoring run %s: %w", plan.run, err)
		}
		done, err := m.restoreRun(ctx, plan)
		done.Output = output
		if err != nil {
			return out, fmt.Errorf("restoring run %s: %w", plan.run, err)
		}
		out.Runs = append(out.Runs, done)
	}
	return out, nil
}

// restoring is a run that was read from a backup and compared with what is
// here.
type restoring struct {
	run     string
	records []journal.Record // as they will be
	mine    journal.Head     // as it is here
	extends bool             // what is here is their beginning
}

func (m *Maintenance) planRestore(ctx context.Context, r *backup.Repository, run *backup.Run, o RestoreOptions) (*restoring, error) {
	plan := &restoring{run: run.Run}
	for rec, err := range r.Records(ctx, run) {
		if err != nil {
			return nil, err
		}
		plan.records = append(plan.records, rec)
	}
	if err := plan.cut(ctx, o.At, m.home.Now); err != nil {
		return nil, err
	}
	var err error
	if plan.mine, err = m.home.Journal.Head(ctx, run.Run); err != nil {
		return nil, err
	}
	last := plan.records[len(plan.records)-1]
	n := plan.mine.Seq
	plan.extends = n == 0 || n <= last.Seq && plan.records[n-1].Hash == plan.mine.Hash
	if !plan.extends && !o.Force {
		newer := &NewerError{Run: run.Run, Seq: last.Seq, Mine: n, Other: true}
		if n > last.Seq {
			for rec, err := range m.home.Journal.Read(ctx, run.Run, last.Seq) {
				newer.Other = err != nil || rec.Hash != last.Hash
				break
			}
		}
		return nil, newer
	}
	return plan, nil
}

// cut leaves the records up to a position, and folds them: what cannot be
// folded is not restored.
func (p *restoring) cut(ctx context.Context, at string, now func() time.Time) error {
	memory := journal.NewMemory()
	if err := memory.Replace(ctx, p.run, p.records); err != nil {
		return err
	}
	if run, calls := gateway.StreamOf(p.run); calls {
		_, err := gateway.OpenLedger(ctx, run, memory, nil, now)
		return err
	}
	aside := history.Of(&home.Home{Journal: memory, Now: now})
	if at != "" {
		seq, err := aside.Locate(ctx, p.run, at)
		if err != nil {
			return err
		}
		if seq > int64(len(p.records)) {
			return &history.PositionError{Why: fmt.Sprintf("run %s has %d records in the backup; there is no record %d", p.run, len(p.records), seq)}
		}
		p.records = p.records[:seq]
	}
	spans, err := aside.Timeline(ctx, p.run, int64(len(p.records)))
	if err != nil {
		return err
	}
	s, _, err := aside.FoldSpans(ctx, p.run, spans, nil)
	if err == nil && s.Created.Run != p.run {
		err = fmt.Errorf("the records of run %s are those of %q", p.run, research.Printable(s.Created.Run, 100))
	}
	return err
}

// restoreObjects takes all objects that the records need and that are not
// here, or not whole, and fails unless it has them all.
func (m *Maintenance) restoreObjects(ctx context.Context, r *backup.Repository, plans []*restoring) (int, error) {
	want := map[objects.Digest]bool{}
	in, err := m.home.Objects.Intake()
	if err != nil {
		return 0, err
	}
	defer in.Discard()
	check := func(d objects.Digest) {
		if _, asked := want[d]; !asked {
			want[d] = m.home.Objects.Verify(d) != nil
		}
	}
	taken := 0
	take := func() error {
		missing := map[objects.Digest]bool{}
		for d, want := range want {
			if want && !in.Has(d) {
				missing[d] = true
			}
		}
		taken += len(missing)
		lost, err := r.Objects(ctx, missing, in.Put)
		if err != nil {
			return err
		}
		for d, err := range lost {
			return fmt.Errorf("object %s cannot be restored: %w", d, err)
		}
		return nil
	}
	// First what the records name, then what the manifests among that name.
	var trees []objects.Digest
	err = eachReference(plans, func(ref research.Reference) {
		d := objects.Digest(ref.Digest)
		check(d)
		if ref.Tree {
			trees = append(trees, d)
		}
	})
	if err == nil {
		err = take()
	}
	if err != nil {
		return 0, err
	}
	slices.Sort(trees)
	for _, d := range slices.Compact(trees) {
		tree, err := in.Tree(d)
		if err != nil {
			return 0, err
		}
		for _, f := range tree {
			for _, d := range f.Objects() {
				check(d)
			}
		}
	}
	if err := take(); err != nil {
		return 0, err
	}
	return taken, in.Commit()
}

func eachReference(plans []*restoring, f func(research.Reference)) error {
	for _, plan := range plans {
		for _, rec := range plan.records {
			refs, err := research.ReferencesIn(rec.Type, rec.Version, rec.Payload)
			if err != nil {
				return fmt.Errorf("run %s, record %d: %w", plan.run, rec.Seq, err)
			}
			for _, ref := range refs {
				f(ref)
			}
		}
	}
	return nil
}

// receive notes that a run came here, unless its first record, which says what
// matters, was here before; and says where its report goes.
func (m *Maintenance) receive(ctx context.Context, p *restoring, backup, reports string) (output string, err error) {
	if _, calls := gateway.StreamOf(p.run); calls || p.extends && p.mine.Seq > 0 {
		return "", nil
	}
	for rec, err := range m.home.Journal.Read(ctx, p.run, 1) {
		if err == nil && rec.Hash == p.records[0].Hash {
			return "", nil
		}
		break
	}
	if output, err = filepath.Abs(filepath.Join(reports, untrusted.Name(p.run))); err != nil {
		return "", err
	}
	return output, m.home.NoteArrival(p.run, &home.Arrival{Backup: backup, Output: output})
}

func (m *Maintenance) restoreRun(ctx context.Context, p *restoring) (RestoredRun, error) {
	last := p.records[len(p.records)-1]
	out := RestoredRun{Run: p.run, Seq: last.Seq, Was: p.mine.Seq}
	if p.extends {
		var entries []journal.Entry
		for _, r := range p.records[p.mine.Seq:] {
			entries = append(entries, r.Entry)
		}
		if len(entries) == 0 {
			return out, nil
		}
		_, err := m.home.Journal.Append(ctx, p.run, p.mine, entries...)
		return out, err
	}
	head, err := m.home.Journal.Head(ctx, p.run)
	if err == nil && head != p.mine {
		err = errors.New("somebody wrote to it meanwhile")
	}
	if err != nil {
		return out, err
	}
	if out.Aside, err = m.setAside(ctx, p.run); err != nil {
		return out, fmt.Errorf("keeping what is here aside: %w", err)
	}
	return out, m.home.Journal.Replace(ctx, p.run, p.records)
}

// setAside keeps a run's records, as far as they can be read, in a backup of
// its own beside the home's journal.
func (m *Maintenance) setAside(ctx context.Context, run string) (string, error) {
	place := filepath.Join(m.home.Folder, "aside", untrusted.Name(run)+m.home.Now().UTC().Format("-20060102-150405"))
	r, err := backup.Open(ctx, place, backup.Keys{}, "", true)
	if err != nil {
		return "", err
	}
	defer r.Close()
	_, err = r.Create(ctx, backup.Source{Journal: m.home.Journal, Objects: m.home.Objects, Runs: []string{run}, Home: m.home.Folder, Release: home.Release, Now: m.home.Now()})
	return place, err
}
