package journal

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
)

// Memory is a journal in memory: the twin of the one on disk, for tests and
// for runs that nobody wants to keep.
type Memory struct {
	mu     sync.Mutex
	runs   map[string][]Record
	closed bool
}

// NewMemory returns an empty journal.
func NewMemory() *Memory { return &Memory{runs: map[string][]Record{}} }

// Append implements Journal.
func (m *Memory) Append(ctx context.Context, run string, expected Head, entries ...Entry) (Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Head{}, err
	}
	if head := m.head(run); head != expected {
		return Head{}, &ConflictError{run, expected, head}
	}
	records, err := Chain(run, expected, entries)
	if err != nil {
		return Head{}, err
	}
	m.runs[run] = append(m.runs[run], records...)
	return m.head(run), nil
}

// Replace implements Journal.
func (m *Memory) Replace(ctx context.Context, run string, records []Record) error {
	if err := VerifyAll(run, records); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if m.runs[run] = slices.Clone(records); len(records) == 0 {
		delete(m.runs, run)
	}
	return nil
}

// Read implements Journal.
func (m *Memory) Read(ctx context.Context, run string, from int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		m.mu.Lock()
		err := m.usable(ctx)
		records := slices.Clone(m.runs[run])
		m.mu.Unlock()
		if err != nil {
			yield(Record{}, err)
			return
		}
		var before Head
		for _, r := range records {
			if err := Verify(run, before, r); err != nil {
				yield(Record{}, err)
				return
			}
			before = Head{r.Seq, r.Hash}
			if r.Seq >= from && !yield(r, nil) {
				return
			}
		}
	}
}

// Head implements Journal.
func (m *Memory) Head(ctx context.Context, run string) (Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head(run), m.usable(ctx)
}

// Runs implements Journal.
func (m *Memory) Runs(ctx context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.runs)), m.usable(ctx)
}

// Close implements Journal.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

func (m *Memory) head(run string) Head {
	records := m.runs[run]
	if len(records) == 0 {
		return Head{}
	}
	last := records[len(records)-1]
	return Head{last.Seq, last.Hash}
}
