package backup

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"sync"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
)

// Records yields the records of a run as of a backup, each checked against
// the chain. It ends at the first error.
func (r *Repository) Records(ctx context.Context, run *Run) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		var head journal.Head
		for _, s := range run.Segments {
			records, _, err := r.segment(ctx, s)
			if err != nil {
				yield(journal.Record{}, err)
				return
			}
			for _, rec := range records {
				if err := journal.Verify(run.Chain(), head, rec); err != nil {
					yield(journal.Record{}, &BackupDamageError{s.Name, err.Error()})
					return
				}
				head = journal.Head{Seq: rec.Seq, Hash: rec.Hash}
				if !yield(rec, nil) {
					return
				}
			}
		}
		if head.Seq != run.Seq || head.Hash.String() != run.Hash {
			yield(journal.Record{}, &BackupDamageError{"the journal of run " + run.Run, fmt.Sprintf("it ends at record %d, and should at %d", head.Seq, run.Seq)})
		}
	}
}

func (r *Repository) segment(ctx context.Context, s Segment) ([]journal.Record, []objects.Digest, error) {
	content, err := r.getNamed(ctx, s.Name)
	if err != nil {
		return nil, nil, err
	}
	records, needs, err := decodeSegment(content)
	if err != nil {
		return nil, nil, &BackupDamageError{s.Name, err.Error()}
	}
	return records, needs, nil
}

// Needs are the objects that a run's records need.
func (r *Repository) Needs(ctx context.Context, run *Run) (map[objects.Digest]bool, error) {
	out := map[objects.Digest]bool{}
	for _, s := range run.Segments {
		_, needs, err := r.segment(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, d := range needs {
			out[d] = true
		}
	}
	return out, nil
}

// Objects calls put with the stored form of every object of a set, in several
// goroutines. The forms are as they were written if put finds them so: it is
// put that checks. It returns those that are not to be had, with the reason.
func (r *Repository) Objects(ctx context.Context, want map[objects.Digest]bool, put func(objects.Digest, io.Reader) error) (map[objects.Digest]error, error) {
	ix, err := r.index(ctx)
	if err != nil {
		return nil, err
	}
	if ix.locked {
		return nil, ErrLocked
	}
	lost := map[objects.Digest]error{}
	byPack := map[*indexEntry][]placed{}
	for d := range want {
		e := ix.where[d]
		if e == nil {
			lost[d] = &objects.ObjectDamageError{Digest: d, Why: "the backup does not have it"}
			continue
		}
		i := slices.IndexFunc(e.Objects, func(p placed) bool { return p.Digest == d })
		byPack[e] = append(byPack[e], e.Objects[i])
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var workers sync.WaitGroup
	queue := make(chan *indexEntry)
	for range max(2, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for e := range queue {
				err := r.unpack(ctx, e, byPack[e], func(d objects.Digest, stored io.Reader) error {
					err := put(d, stored)
					if errors.As(err, new(*objects.ObjectDamageError)) {
						mu.Lock()
						lost[d] = err
						mu.Unlock()
						return nil
					}
					return err
				}, func(d objects.Digest, err error) {
					mu.Lock()
					lost[d] = err
					mu.Unlock()
				})
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for e := range byPack {
		select {
		case queue <- e:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	return lost, context.Cause(ctx)
}

// unpack reads some objects of a pack. A pack that is damaged ends with what
// stands before the damage; what stands behind it is lost.
func (r *Repository) unpack(ctx context.Context, e *indexEntry, want []placed, put func(objects.Digest, io.Reader) error, lost func(objects.Digest, error)) error {
	slices.SortFunc(want, func(a, b placed) int { return cmp.Compare(a.Offset, b.Offset) })
	rc, err := r.store.Open(ctx, e.Pack)
	if errors.Is(err, fs.ErrNotExist) {
		err = &BackupDamageError{e.Pack, "it is missing"}
	}
	if errors.As(err, new(*BackupDamageError)) {
		for _, p := range want {
			lost(p.Digest, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	defer rc.Close() // only read from
	plain, err := r.keys.open(bufio.NewReaderSize(rc, 1<<20), r.marker.Encrypted)
	if errors.Is(err, ErrLocked) {
		return err
	}
	var at int64
	for i, p := range want {
		if err == nil && p.Offset < at {
			err = errors.New("its objects overlap")
		}
		if err == nil {
			_, err = io.CopyN(io.Discard, plain, p.Offset-at)
		}
		if err != nil {
			for _, p := range want[i:] {
				lost(p.Digest, &BackupDamageError{e.Pack, "it cannot be read: " + err.Error()})
			}
			return ctx.Err()
		}
		part := &part{r: plain, left: p.Size}
		if err := put(p.Digest, part); err != nil && part.err == nil {
			return err
		}
		if err = part.err; err == nil {
			_, err = io.Copy(io.Discard, part)
		}
		if err != nil {
			lost(p.Digest, &BackupDamageError{e.Pack, "it cannot be read: " + err.Error()})
		}
		at = p.Offset + p.Size
	}
	return ctx.Err()
}

// part is a stretch of a reader. It tells an error of the reader, also its
// early end, from its own.
type part struct {
	r    io.Reader
	left int64
	err  error
}

func (p *part) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	if errors.Is(err, io.EOF) {
		if err = nil; p.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		p.err = err
	}
	return n, err
}
