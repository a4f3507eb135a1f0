package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ratchet/internal/filelock"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
)

// Shared is what all gateways of a home know together, in whatever process:
// how many requests went where, until when a provider wants to be left alone,
// and what was spent today. It is a small file that is changed in place under a
// lock. It survives every crash of a process; where the machine loses power,
// the last seconds of it may be lost.
type Shared struct {
	path string
	now  func() time.Time

	mu    sync.Mutex
	holds map[string]time.Time // as last read
	read  time.Time            // modification time of what was read
}

// NewShared is the state in a file, which need not be there.
func NewShared(path string, now func() time.Time) *Shared {
	return &Shared{path: path, now: now, holds: map[string]time.Time{}}
}

type sharedState struct {
	Windows map[string]*window         `json:"windows,omitempty"` // by what they count
	Holds   map[string]time.Time       `json:"holds,omitempty"`   // by provider, or provider/model
	Days    map[string]ledger.Spending `json:"days,omitempty"`    // by date; reservations included
}

// window counts over a length of time. It is kept in cells, so that what is
// counted never exceeds a bound within any stretch of that length, as precisely
// as a cell is long.
type window struct {
	Cell   int64   `json:"cell"` // number of the newest, since 1970
	Counts []int64 `json:"counts"`
}

const cells = 60

// advance drops what is too old.
func (w *window) advance(cell int64) {
	if w.Counts == nil || cell-w.Cell > cells || cell < w.Cell-1 { // a clock that was set back starts anew
		w.Cell, w.Counts = cell, make([]int64, cells+1)
		return
	}
	for w.Cell < cell {
		w.Cell++
		w.Counts[w.Cell%(cells+1)] = 0
	}
}

func (w *window) sum() (n int64) {
	for _, c := range w.Counts {
		n += c
	}
	return n
}

// wait is how many cells pass until there is room for n; 0: now. What would
// never fit is let through when nothing else is there.
func (w *window) wait(n, most int64) int64 {
	sum := w.sum()
	for i := int64(0); i <= cells; i++ {
		if sum == 0 || sum+n <= most {
			return i
		}
		sum -= w.Counts[(w.Cell+1+i)%(cells+1)]
	}
	return cells + 1
}

// change changes the state as one step.
func (s *Shared) change(f func(*sharedState) error) error {
	file, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer filelock.Release(file)
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	old, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	var st sharedState
	if json.Unmarshal(bytes.TrimSpace(old), &st) != nil {
		st = sharedState{} // after a loss of power it counts from now on
	}
	if st.Holds == nil {
		st.Holds = map[string]time.Time{}
	}
	if st.Windows == nil {
		st.Windows = map[string]*window{}
	}
	if st.Days == nil {
		st.Days = map[string]ledger.Spending{}
	}
	if err := f(&st); err != nil {
		return err
	}
	now := s.now()
	maps.DeleteFunc(st.Holds, func(_ string, t time.Time) bool { return t.Before(now) })
	for _, day := range slices.Sorted(maps.Keys(st.Days)) {
		if day < dayOf(now.AddDate(0, 0, -31)) {
			delete(st.Days, day)
		}
	}
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if pad := len(old) - len(b); pad > 0 {
		b = append(b, bytes.Repeat([]byte(" "), pad)...)
	}
	// One write: a process that is killed has made it, or not begun it.
	_, err = file.WriteAt(b, 0)
	s.mu.Lock()
	s.holds = st.Holds
	s.mu.Unlock()
	return err
}

// reload reads the holds again if another process wrote.
func (s *Shared) reload() {
	info, err := os.Stat(s.path)
	if err != nil {
		return // nothing was written yet
	}
	s.mu.Lock()
	same := info.ModTime().Equal(s.read)
	s.read = info.ModTime()
	s.mu.Unlock()
	if same {
		return
	}
	b, err := os.ReadFile(s.path)
	var st sharedState
	if err == nil && json.Unmarshal(bytes.TrimSpace(b), &st) == nil {
		s.mu.Lock()
		s.holds = st.Holds
		s.mu.Unlock()
	}
}

// rate is a bound on a number of things in a length of time.
type rate struct {
	name   string
	cell   time.Duration
	most   int64
	amount int64
}

// rates are the bounds that a request to a provider's model meets.
func rates(p *provider.Provider, model string, tokens int64) []rate {
	return append(ratesOf(p.Limits, p.Name, tokens), ratesOf(p.Models[model], p.Name+"/"+model, tokens)...)
}

func ratesOf(l provider.Limits, of string, tokens int64) []rate {
	var out []rate
	for _, r := range []struct {
		what   string
		of     provider.Rates
		amount int64
	}{{"requests", l.Requests, 1}, {"tokens", l.Tokens, tokens}} {
		for _, w := range []struct {
			name string
			long time.Duration
			most int64
		}{{"minute", time.Minute, r.of.PerMinute}, {"hour", time.Hour, r.of.PerHour}, {"day", 24 * time.Hour, r.of.PerDay}} {
			if w.most > 0 {
				out = append(out, rate{strings.Join([]string{of, r.what, w.name}, " "), w.long / cells, w.most, r.amount})
			}
		}
	}
	return out
}

// enter waits until a provider may be asked: until its limits have room, and it
// does not want to be left alone. It counts the request.
func (s *Shared) enter(ctx context.Context, p *provider.Provider, model string, tokens int64) error {
	for {
		wait, err := s.try(p, model, tokens)
		if err != nil || wait <= 0 {
			return err
		}
		if wait > mostWait {
			return &heldError{p.Name + "/" + model, wait}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// heldError says that a model is not to be asked for longer than a call waits.
type heldError struct {
	model string
	wait  time.Duration
}

func (h *heldError) Error() string {
	return fmt.Sprintf("%s asked not to be called for another %s, and is left alone until then", h.model, h.wait.Round(time.Second))
}

func (s *Shared) try(p *provider.Provider, model string, tokens int64) (time.Duration, error) {
	s.reload()
	now := s.now()
	s.mu.Lock()
	until := s.holds[p.Name]
	if t := s.holds[p.Name+"/"+model]; t.After(until) {
		until = t
	}
	s.mu.Unlock()
	if until.After(now) {
		return until.Sub(now), nil
	}
	limits := rates(p, model, tokens)
	if len(limits) == 0 {
		return 0, nil
	}
	var wait time.Duration
	err := s.change(func(st *sharedState) error {
		for _, l := range limits {
			w := st.Windows[l.name]
			if w == nil {
				w = &window{}
				st.Windows[l.name] = w
			}
			w.advance(now.UnixNano() / int64(l.cell))
			if n := w.wait(l.amount, l.most); n > 0 {
				end := time.Unix(0, (w.Cell+n)*int64(l.cell))
				wait = max(wait, end.Sub(now))
			}
		}
		if wait > 0 {
			return nil
		}
		for _, l := range limits {
			w := st.Windows[l.name]
			w.Counts[w.Cell%(cells+1)] += l.amount
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting requests in %s: %w", s.path, err)
	}
	return wait, nil
}

// blockUntil leaves a provider, or one of its models, alone until a time.
func (s *Shared) blockUntil(what string, until time.Time) error {
	return s.change(func(st *sharedState) error {
		if until.After(st.Holds[what]) {
			st.Holds[what] = until
		}
		return nil
	})
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// reserveDay keeps room in the day's budget, or says why there is none.
// settle puts what was spent in the place of what was reserved.
func (s *Shared) reserveDay(b ledger.Budget, most ledger.Spending) (settle func(spent ledger.Spending) error, err error) {
	if b.Cost == 0 && b.Tokens == 0 && b.Calls == 0 {
		return func(ledger.Spending) error { return nil }, nil
	}
	day := dayOf(s.now())
	err = s.change(func(st *sharedState) error {
		if spent := b.Refuses(st.Days[day], most); spent != nil {
			spent.Why += "; the day ends at 00:00 UTC"
			return spent
		}
		st.Days[day] = st.Days[day].Plus(most)
		return nil
	})
	if err != nil && !errors.As(err, new(*ledger.BudgetError)) {
		err = fmt.Errorf("counting what the day cost in %s: %w", s.path, err)
	}
	return func(spent ledger.Spending) error {
		return s.change(func(st *sharedState) error {
			st.Days[day] = st.Days[day].Plus(spent).Minus(most)
			return nil
		})
	}, err
}
