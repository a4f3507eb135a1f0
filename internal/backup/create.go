package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// Source is what is backed up.
type Source struct {
	Journal journal.Journal
	Objects *objects.Store
	Chains  []journal.Chain // none: all
	Home    string
	Release string
	Now     time.Time
}

const (
	packSize    = 32 << 20 // bytes of a pack, about; one object may be larger
	segmentSize = 16 << 20 // bytes of a segment's records, about
	// mostSegments is how many blobs a run's records may lie in before they are
	// written anew, together.
	mostSegments = 64
)

// Create makes a backup. Runs may go on meanwhile: each is copied as of one
// record, with everything that the records up to it need. A backup that was
// broken off at any moment has changed none that was there before. When Create
// returns, the backup is durable.
func (r *Repository) Create(ctx context.Context, src Source) (*Manifest, error) {
	unlock, err := r.store.Lock(ctx, holder())
	if err != nil {
		return nil, err
	}
	defer unlock()
	ix, err := r.index(ctx)
	if err != nil {
		return nil, err
	}
	previous, _ := r.List(ctx) // one that cannot be read is not built upon
	c := &creation{repo: r, src: src, known: ix.where, m: &Manifest{Time: src.Now.UTC().Truncate(time.Millisecond), Home: src.Home, Release: src.Release}}
	c.m.Host, _ = os.Hostname()
	chains := src.Chains
	if len(chains) == 0 {
		if chains, err = journal.AllChains(ctx, src.Journal); err != nil {
			return nil, err
		}
		slices.SortFunc(chains, func(a, b journal.Chain) int { return strings.Compare(a.Name(), b.Name()) })
	}
	p := r.packing(ctx, src.Objects, func(err error) { c.damaged(err.Error()) })
	for _, chain := range chains {
		if err := c.run(ctx, chain, before(previous, chain), len(ix.gone) > 0, p.add); err != nil {
			_, _ = p.finish()
			return nil, fmt.Errorf("backing up run %s: %w", chain, err)
		}
	}
	entries, err := p.finish()
	if err != nil {
		return nil, fmt.Errorf("writing to the backup: %w", err)
	}
	for _, e := range entries {
		c.m.Objects += len(e.Objects)
		c.m.Bytes += e.Size
	}
	if len(entries) > 0 {
		content, err := json.Marshal(entries)
		if err != nil {
			return nil, err
		}
		_, size, err := r.putNamed(ctx, indexes, content)
		if err != nil {
			return nil, err
		}
		c.m.Bytes += size
	}
	slices.Sort(c.m.Damaged)
	content, err := json.Marshal(c.m)
	if err != nil {
		return nil, err
	}
	name, _, err := r.putNamed(ctx, backupsDir, content)
	c.m.name, c.m.ID = name, idOf(c.m.Time, name)
	return c.m, err
}

// holder names this process for those who find its lock.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// before is the newest backup that has a chain.
func before(all []*Manifest, c journal.Chain) *Run {
	for i := len(all) - 1; i >= 0; i-- {
		if r := all[i].Run(c.Name()); r != nil && len(all[i].Damaged) == 0 {
			return r
		}
	}
	return nil
}

// creation is a backup in the making.
type creation struct {
	repo  *Repository
	src   Source
	known map[objects.Digest]*indexEntry
	asked map[objects.Digest]bool
	m     *Manifest
	mu    sync.Mutex // guards m.Damaged, which the packing adds to
}

func (c *creation) damaged(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.Damaged = append(c.m.Damaged, what)
}

// run backs up what a run has beyond an earlier backup of it; doubt says that
// not all of that may be there any more.
func (c *creation) run(ctx context.Context, chain journal.Chain, earlier *Run, doubt bool, add func(objects.Digest) error) error {
	head, err := c.src.Journal.Head(ctx, chain)
	if err != nil {
		return err
	}
	out := Run{Run: chain.Name(), Seq: head.Seq, Hash: head.Hash.String()}
	var from int64 = 1
	if earlier != nil && !doubt && len(earlier.Segments) < mostSegments && c.extends(ctx, chain, earlier, head) {
		out.Segments = slices.Clone(earlier.Segments)
		from = earlier.Seq + 1
	}
	s := &segmenting{creation: c, run: &out, add: add}
	if from <= head.Seq {
		for r, err := range c.src.Journal.Read(ctx, chain, from) {
			var damage *journal.RecordDamageError
			if errors.As(err, &damage) {
				// What stands before it is worth keeping.
				c.damaged(err.Error())
				break
			}
			if err != nil {
				return err
			}
			if r.Seq > head.Seq {
				break
			}
			if err := s.record(ctx, r); err != nil {
				return err
			}
			out.Seq, out.Hash = r.Seq, r.Hash.String()
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	if len(out.Segments) > 0 {
		c.m.Runs = append(c.m.Runs, out)
	}
	return nil
}

// extends reports whether a run's records begin with those of an earlier
// backup.
func (c *creation) extends(ctx context.Context, chain journal.Chain, earlier *Run, head journal.Head) bool {
	if earlier.Seq > head.Seq {
		return false
	}
	if earlier.Seq == head.Seq {
		return earlier.Hash == head.Hash.String()
	}
	for r, err := range c.src.Journal.Read(ctx, chain, earlier.Seq) {
		return err == nil && r.Hash.String() == earlier.Hash
	}
	return false
}

// segmenting collects records into segments, and what they need into packs.
type segmenting struct {
	*creation
	run     *Run
	add     func(objects.Digest) error
	records []journal.Record
	size    int
	needs   map[objects.Digest]bool
}

func (s *segmenting) record(ctx context.Context, r journal.Record) error {
	refs, err := research.ReferencesIn(r.Type, r.Version, r.Payload)
	if err != nil {
		return fmt.Errorf("record %d: %w", r.Seq, err)
	}
	if s.needs == nil {
		s.needs = map[objects.Digest]bool{}
	}
	for _, ref := range refs {
		d := objects.Digest(ref.Digest)
		if err := s.need(d); err != nil {
			return err
		}
		if !ref.Tree {
			continue
		}
		tree, err := s.src.Objects.Tree(d)
		if err != nil {
			s.damaged(fmt.Sprintf("run %s, %s: %v", s.run.Run, ref.What, err))
			continue
		}
		for _, f := range tree {
			for _, d := range f.Objects() {
				if err := s.need(d); err != nil {
					return err
				}
			}
		}
	}
	s.records = append(s.records, r)
	if s.size += len(r.Payload) + 200; s.size >= segmentSize {
		return s.flush(ctx)
	}
	return nil
}

func (s *segmenting) need(d objects.Digest) error {
	s.needs[d] = true
	if s.known[d] != nil || s.asked[d] {
		return nil
	}
	if s.asked == nil {
		s.asked = map[objects.Digest]bool{}
	}
	s.asked[d] = true
	return s.add(d)
}

func (s *segmenting) flush(ctx context.Context) error {
	if len(s.records) == 0 {
		return nil
	}
	needs := make([]objects.Digest, 0, len(s.needs))
	for d := range s.needs {
		needs = append(needs, d)
	}
	slices.Sort(needs)
	content, err := encodeSegment(s.records, needs)
	if err != nil {
		return err
	}
	name, size, err := s.repo.putNamed(ctx, journals, content)
	if err != nil {
		return err
	}
	s.m.Bytes += size
	s.run.Segments = append(s.run.Segments, Segment{name, s.records[0].Seq, s.records[len(s.records)-1].Seq})
	s.records, s.size, s.needs = nil, 0, nil
	return nil
}

// packing writes objects into packs, several at a time.
type packing struct {
	objects chan objects.Digest
	ctx     context.Context
	cancel  context.CancelCauseFunc
	workers sync.WaitGroup
	mu      sync.Mutex
	entries []*indexEntry
}

func (r *Repository) packing(ctx context.Context, from *objects.Store, damaged func(error)) *packing {
	p := &packing{objects: make(chan objects.Digest, 64)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	for range max(2, runtime.GOMAXPROCS(0)) {
		p.workers.Go(func() {
			for d := range p.objects {
				e, err := r.writePack(p.ctx, from, d, p.objects, damaged)
				if err != nil {
					p.cancel(err)
					return
				}
				if len(e.Objects) > 0 {
					p.mu.Lock()
					p.entries = append(p.entries, e)
					p.mu.Unlock()
				}
			}
		})
	}
	return p
}

// add hands an object over.
func (p *packing) add(d objects.Digest) error {
	select {
	case p.objects <- d:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// finish waits until all is written, and says where it is.
func (p *packing) finish() ([]*indexEntry, error) {
	close(p.objects)
	p.workers.Wait()
	err := context.Cause(p.ctx)
	p.cancel(nil)
	slices.SortFunc(p.entries, func(a, b *indexEntry) int { return strings.Compare(a.Pack, b.Pack) })
	return p.entries, err
}

// writePack writes one pack: a first object, and more until it is full or
// there are none.
func (r *Repository) writePack(ctx context.Context, from *objects.Store, first objects.Digest, more <-chan objects.Digest, damaged func(error)) (*indexEntry, error) {
	id := random(16)
	e := &indexEntry{Pack: packs + id[:2] + "/" + id}
	err := r.store.Write(ctx, e.Pack, func(w io.Writer) error {
		outer := newCounter(w)
		sealed, err := r.keys.seal(outer)
		if err != nil {
			return err
		}
		var offset int64
		for d, ok := first, true; ok; {
			n, err := from.CopyStored(sealed, d)
			var damage *objects.ObjectDamageError
			switch {
			case errors.As(err, &damage):
				damaged(err)
			case err != nil:
				return err
			default:
				e.Objects = append(e.Objects, placed{d, offset, n})
			}
			if offset += n; offset >= packSize {
				break
			}
			if d, ok = <-more; ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if err := sealed.Close(); err != nil {
			return err
		}
		e.Size, e.Digest = outer.n, outer.digest()
		return nil
	})
	return e, err
}
