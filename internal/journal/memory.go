package journal

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
)

// Memory is a journal in memory: the twin of the one on disk, for tests and
// for runs that need not be kept.
type Memory struct {
	mu      sync.Mutex
	chains  map[Chain][]Record
	changed Signal
	closed  bool
}

// NewMemory returns an empty journal.
func NewMemory() *Memory { return &Memory{chains: map[Chain][]Record{}} }

// Append implements Journal.
func (m *Memory) Append(ctx context.Context, c Chain, expected Head, entries ...Entry) (Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Head{}, err
	}
	if head := m.head(c); head != expected {
		return Head{}, &ConflictError{c, expected, head}
	}
	records, err := Link(c, expected, entries)
	if err != nil || len(records) == 0 {
		return expected, err
	}
	m.chains[c] = append(m.chains[c], records...)
	m.changed.Fire()
	return m.head(c), nil
}

// Replace implements Journal.
func (m *Memory) Replace(ctx context.Context, c Chain, records iter.Seq2[Record, error]) error {
	var all []Record
	for r, err := range Verified(c, records) {
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if m.chains[c] = all; len(all) == 0 {
		delete(m.chains, c)
	}
	m.changed.Fire()
	return nil
}

// Read implements Journal.
func (m *Memory) Read(ctx context.Context, c Chain, from int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		m.mu.Lock()
		err := m.usable(ctx)
		records := slices.Clone(m.chains[c])
		m.mu.Unlock()
		if err != nil {
			yield(Record{}, err)
			return
		}
		var before Head
		for _, r := range records {
			if err := Verify(c, before, r); err != nil {
				yield(Record{}, err)
				return
			}
			before = r.At()
			if r.Seq >= from && !yield(r, nil) {
				return
			}
		}
	}
}

// Subscribe implements Journal.
func (m *Memory) Subscribe(ctx context.Context, c Chain, from int64) iter.Seq2[Record, error] {
	return Follow(ctx, m, c, from, func() <-chan struct{} {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.changed.Wait()
	})
}

// Head implements Journal.
func (m *Memory) Head(ctx context.Context, c Chain) (Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head(c), m.usable(ctx)
}

// Chains implements Journal.
func (m *Memory) Chains(ctx context.Context, k Kind) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		all, err := m.list(ctx, k)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for _, i := range all {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Latest implements Journal.
func (m *Memory) Latest(ctx context.Context, k Kind) (latest Info, err error) {
	all, err := m.list(ctx, k)
	for _, i := range all {
		if latest.Seq == 0 || i.Last.After(latest.Last) {
			latest = i
		}
	}
	return latest, err
}

func (m *Memory) list(ctx context.Context, k Kind) ([]Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Info
	for c, records := range m.chains {
		if c.Kind == k {
			all = append(all, Info{Chain: c, Head: m.head(c), First: records[0].Time, Last: records[len(records)-1].Time})
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Run, b.Run) })
	return all, m.usable(ctx)
}

// Close implements Journal.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.changed.Fire()
	return nil
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

func (m *Memory) head(c Chain) Head {
	records := m.chains[c]
	if len(records) == 0 {
		return Head{}
	}
	return records[len(records)-1].At()
}
