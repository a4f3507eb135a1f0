package maintenance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"ratchet/internal/backup"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/journal/sqlite"
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
	Run string `json:"run"` // the chain's name
	Seq int64  `json:"seq"` // of its last record now
	// Calls is the run whose model calls the chain is; "": the chain is a run.
	Calls string `json:"-"`
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
	done, err := m.home.LockShared()
	if err != nil {
		return nil, err
	}
	defer done()
	var chains []journal.Chain
	for _, run := range o.Runs {
		if chains = append(chains, journal.Of(run)); from.Run(journal.CallsOf(run).Name()) != nil {
			chains = append(chains, journal.CallsOf(run))
		}
	}
	if len(chains) == 0 {
		for _, run := range from.Runs {
			chains = append(chains, run.Chain())
		}
	}
	aside, remove, err := m.scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	var plans []*restoring
	for _, c := range chains {
		run := from.Run(c.Name())
		if run == nil {
			return nil, &home.UnknownRunError{Name: c.Name(), Known: []string{""}}
		}
		plan, err := m.planRestore(ctx, aside, r, run, o)
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
		if c.Kind != journal.KindRun {
			continue // the run's own lock is theirs
		}
		unlock, err := m.home.LockRun(c.Run)
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
			return out, fmt.Errorf("restoring run %s: %w", plan.chain, err)
		}
		done, err := m.restoreChain(ctx, plan)
		done.Output = output
		if err != nil {
			return out, fmt.Errorf("restoring run %s: %w", plan.chain, err)
		}
		out.Runs = append(out.Runs, done)
	}
	return out, nil
}

// scratch is a home that has nothing but a journal, for records that are looked at
// before they come into this home; remove removes it.
func (m *Maintenance) scratch() (h *home.Home, remove func(), err error) {
	if err := os.MkdirAll(filepath.Join(m.home.Folder, "aside"), 0o700); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(m.home.Folder, "aside"), "restoring-")
	if err != nil {
		return nil, nil, err
	}
	j, err := sqlite.Open(filepath.Join(dir, "journal.db"))
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &home.Home{Journal: j, Now: m.home.Now}, func() {
		_ = j.Close()
		_ = os.RemoveAll(dir) // what is left of it harms nothing
	}, nil
}

// restoring is a chain that was read from a backup into a scratch journal and
// compared with what is here.
type restoring struct {
	chain   journal.Chain
	from    journal.Journal
	last    journal.Head // of the records that are restored
	mine    journal.Head // as it is here
	extends bool         // what is here is their beginning
}

// records yields the records that are restored, from a number on.
func (p *restoring) records(ctx context.Context, from int64) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		for r, err := range p.from.Read(ctx, p.chain, from) {
			if err == nil && r.Seq > p.last.Seq || !yield(r, err) {
				return
			}
		}
	}
}

// at is the record with a number; the zero Record if there is none.
func at(ctx context.Context, j journal.Journal, c journal.Chain, seq int64) (journal.Record, error) {
	for r, err := range j.Read(ctx, c, seq) {
		return r, err
	}
	return journal.Record{}, nil
}

func (m *Maintenance) planRestore(ctx context.Context, aside *home.Home, r *backup.Repository, run *backup.Run, o RestoreOptions) (*restoring, error) {
	plan := &restoring{chain: run.Chain(), from: aside.Journal}
	if err := aside.Journal.Replace(ctx, plan.chain, r.Records(ctx, run)); err != nil {
		return nil, err
	}
	var err error
	if plan.last, err = aside.Journal.Head(ctx, plan.chain); err != nil {
		return nil, err
	}
	if err := plan.cut(ctx, aside, o.At); err != nil {
		return nil, err
	}
	if plan.mine, err = m.home.Journal.Head(ctx, plan.chain); err != nil {
		return nil, err
	}
	n := plan.mine.Seq
	same := n == 0
	if !same && n <= plan.last.Seq {
		theirs, err := at(ctx, aside.Journal, plan.chain, n)
		if err != nil {
			return nil, err
		}
		same = theirs.Hash == plan.mine.Hash
	}
	plan.extends = same
	if !plan.extends && !o.Force {
		newer := &NewerError{Run: plan.chain.Name(), Seq: plan.last.Seq, Mine: n, Other: true}
		if n > plan.last.Seq {
			mine, err := at(ctx, m.home.Journal, plan.chain, plan.last.Seq)
			newer.Other = err != nil || mine.Hash != plan.last.Hash
		}
		return nil, newer
	}
	return plan, nil
}

// cut leaves the records up to a position, and folds them: what cannot be
// folded is not restored.
func (p *restoring) cut(ctx context.Context, aside *home.Home, position string) error {
	if p.chain.Kind == journal.KindCalls {
		_, err := ledger.Open(ctx, p.chain.Run, aside.Journal, nil, aside.Now)
		return err
	}
	run, past := p.chain.Run, history.Of(aside)
	if position != "" {
		seq, err := past.Locate(ctx, run, position)
		if err != nil {
			return err
		}
		if seq > p.last.Seq {
			return &history.PositionError{Why: fmt.Sprintf("run %s has %d records in the backup; there is no record %d", run, p.last.Seq, seq)}
		}
		last, err := at(ctx, aside.Journal, p.chain, seq)
		if err != nil {
			return err
		}
		p.last = last.At()
	}
	spans, err := past.Timeline(ctx, run, p.last.Seq)
	if err != nil {
		return err
	}
	s, _, err := past.FoldSpans(ctx, run, spans, nil)
	if err == nil && s.Created.Run != run {
		err = fmt.Errorf("the records of run %s are those of %q", run, research.Printable(s.Created.Run, 100))
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
	for _, plan := range plans {
		err := visit(plan.chain, plan.records(ctx, 1), func(ref research.Reference) error {
			d := objects.Digest(ref.Digest)
			check(d)
			if ref.Tree {
				trees = append(trees, d)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if err := take(); err != nil {
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

// receive notes that a run came here, unless its first record, which says what
// matters, was here before; and says where its report goes.
func (m *Maintenance) receive(ctx context.Context, p *restoring, backup, reports string) (output string, err error) {
	if p.chain.Kind != journal.KindRun || p.extends && p.mine.Seq > 0 {
		return "", nil
	}
	mine, err := at(ctx, m.home.Journal, p.chain, 1)
	if err == nil && mine.Seq == 1 {
		theirs, err := at(ctx, p.from, p.chain, 1)
		if err != nil || theirs.Hash == mine.Hash {
			return "", err
		}
	}
	run := p.chain.Run
	if output, err = filepath.Abs(filepath.Join(reports, untrusted.Name(run))); err != nil {
		return "", err
	}
	return output, m.home.NoteArrival(run, &home.Arrival{Backup: backup, Output: output})
}

func (m *Maintenance) restoreChain(ctx context.Context, p *restoring) (RestoredRun, error) {
	out := RestoredRun{Run: p.chain.Name(), Seq: p.last.Seq, Was: p.mine.Seq}
	if p.chain.Kind == journal.KindCalls {
		out.Calls = p.chain.Run
	}
	if p.extends && p.mine.Seq > 0 {
		var entries []journal.Entry
		for r, err := range p.records(ctx, p.mine.Seq+1) {
			if err != nil {
				return out, err
			}
			entries = append(entries, r.Entry)
		}
		if len(entries) == 0 {
			return out, nil
		}
		_, err := m.home.Journal.Append(ctx, p.chain, p.mine, entries...)
		return out, err
	}
	head, err := m.home.Journal.Head(ctx, p.chain)
	if err == nil && head != p.mine {
		err = errors.New("another process wrote to it meanwhile")
	}
	if err != nil {
		return out, err
	}
	if p.mine.Seq > 0 {
		if out.Aside, err = m.setAside(ctx, p.chain); err != nil {
			return out, fmt.Errorf("keeping what is here aside: %w", err)
		}
	}
	return out, m.home.Journal.Replace(ctx, p.chain, p.records(ctx, 1))
}

// setAside keeps a run's records, as far as they can be read, in a backup of
// its own beside the home's journal.
func (m *Maintenance) setAside(ctx context.Context, c journal.Chain) (string, error) {
	place := filepath.Join(m.home.Folder, "aside", untrusted.Name(c.Name())+m.home.Now().UTC().Format("-20060102-150405"))
	r, err := backup.Open(ctx, place, backup.Keys{}, "", true)
	if err != nil {
		return "", err
	}
	defer r.Close()
	_, err = r.Create(ctx, backup.Source{Journal: m.home.Journal, Objects: m.home.Objects, Chains: []journal.Chain{c}, Home: m.home.Folder, Release: home.Release, Now: m.home.Now()})
	return place, err
}
