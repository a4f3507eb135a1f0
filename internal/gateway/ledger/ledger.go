package ledger

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ratchet/internal/journal"
)

// Ledger is what a run's calls are: the fold of their records. It is safe for
// concurrent use.
type Ledger struct {
	run   string
	log   journal.Journal
	store Store
	now   func() time.Time

	mu       sync.Mutex
	head     journal.Head
	order    []*Call
	calls    map[string]*Call
	same     map[Key][]*Call            // in the order of their occurrence
	taken    map[string]map[Key]int     // by attempt: how many of them, from the first, it has or waits for
	has      map[string]map[string]bool // by attempt: the calls that were delivered to it
	busy     map[*Call]bool             // those that a client waits for
	last     int                        // number of the last call
	refused  []RefusedCall
	told     map[Refused]bool // what is on record as refused, or is about to be
	spending spending
	sums     *Sums
	inFlight int // calls that are with their providers

	queue   []entry // to be appended
	lingers bool    // there is something in it that waits for company
	ready   ahead   // answers that are likely to be asked for next
	writing bool
	idle    *sync.Cond    // no append is under way
	changed chan struct{} // closed, and made anew, when a reservation ends
	broken  error         // why nothing can be appended any more
	closed  bool
	wait    sync.WaitGroup
}

// Key names a request: what makes two of them the same.
type Key struct{ Scope, Digest string }

// RefusedCall is a call that was not let through.
type RefusedCall struct {
	Refused
	Time time.Time `json:"time"`
}

// Open folds a run's calls.
func Open(ctx context.Context, run string, log journal.Journal, store Store, now func() time.Time) (*Ledger, error) {
	l := &Ledger{
		run: run, log: log, store: store, now: now,
		calls: map[string]*Call{}, same: map[Key][]*Call{}, taken: map[string]map[Key]int{}, has: map[string]map[string]bool{}, busy: map[*Call]bool{}, told: map[Refused]bool{},
		spending: newSpending(), sums: NewSums(), changed: make(chan struct{}),
	}
	l.idle = sync.NewCond(&l.mu)
	for rec, err := range log.Read(ctx, journal.CallsOf(run), 1) {
		if err != nil {
			return nil, err
		}
		payload, _ := cutBody(rec.Payload)
		r, err := decodeRecord(rec.Type, rec.Version, payload)
		if err != nil {
			return nil, fmt.Errorf("run %s, call record %d: %w", run, rec.Seq, err)
		}
		if err := l.apply(r, rec.Time, rec.Seq); err != nil {
			return nil, fmt.Errorf("run %s, call record %d: %w", run, rec.Seq, err)
		}
		l.head = journal.Head{Seq: rec.Seq, Hash: rec.Hash}
	}
	for _, c := range l.order {
		c.cut = c.Open
	}
	return l, nil
}

// Close appends what is waiting. Nothing can be added any more.
func (l *Ledger) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.flush()
	l.mu.Lock()
	for l.writing {
		l.idle.Wait()
	}
	l.mu.Unlock()
	l.wait.Wait()
}

// apply folds one record. It is the only place where calls change.
func (l *Ledger) apply(r Event, at time.Time, seq int64) error {
	if err := l.sums.apply(r); err != nil {
		return err
	}
	switch r := r.(type) {
	case Sent:
		// Read again when they are shown: what stays in memory is small.
		r.Request.Text, r.Request.Bytes, r.Headers = "", nil, nil
		c := l.calls[r.Call]
		if c == nil {
			c = &Call{Sent: Sent{Call: r.Call}}
			l.calls[r.Call] = c
			k := Key{r.Scope, r.Digest}
			l.same[k] = append(l.same[k], c)
			var n int
			if _, err := fmt.Sscanf(r.Call, "c%d", &n); err == nil {
				l.last = max(l.last, n)
			}
		}
		l.spending.change(c, func() {
			switch {
			case c.sent == 0:
				c.Time, c.sent = at, seq
				l.order = append(l.order, c)
			case c.Open:
				c.Lost++
			}
			c.Sent, c.Open, c.cut = r, true, false
		})
	case Answered:
		c := l.calls[r.Call]
		r.Answer.Text, r.Answer.Bytes, r.Header = "", nil, nil
		l.spending.change(c, func() { c.Open, c.Answered, c.answered = false, &r, seq })
	case Failed:
		c := l.calls[r.Call]
		l.spending.change(c, func() { c.Open, c.Failed, c.Failures = false, &r, c.Failures.Plus(r.Spent) })
	case Delivered:
		if l.has[r.Attempt] == nil {
			l.has[r.Attempt] = map[string]bool{}
		}
		for _, id := range append([]string{r.Call}, r.More...) {
			c := l.calls[id]
			if !slices.Contains(c.Delivered, r.Attempt) {
				c.Delivered = append(c.Delivered, r.Attempt)
			}
			if r.Again {
				c.Again++
			}
			l.has[r.Attempt][id] = true
		}
	case Began:
		l.taken[r.Attempt], l.has[r.Attempt] = map[Key]int{}, map[string]bool{}
	case Refused:
		l.refused, l.told[r] = append(l.refused, RefusedCall{r, at}), true
	}
	return nil
}

// Refuse journals that a call was not let through, once: a program that asks
// the same for hours fills no journal.
func (l *Ledger) Refuse(r Refused, lazy bool) error {
	l.mu.Lock()
	known := l.told[r]
	l.told[r] = true
	l.mu.Unlock()
	if known {
		return nil
	}
	return l.Add(r, lazy)
}

// Claim gives the call that an attempt's request is: the first occurrence of
// the request that the attempt neither has nor waits for. It may have been
// answered, be under way without a client, or never have left; which of them
// c says. The caller must call done in the end. again false: answers of
// earlier attempts do not count.
func (l *Ledger) Claim(k Key, attempt string, again bool) (c *Call, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken[attempt] == nil {
		l.taken[attempt], l.has[attempt] = map[Key]int{}, map[string]bool{}
	}
	has, all := l.has[attempt], l.same[k]
	from := l.taken[attempt][k] // all before it the attempt has for good
	for from < len(all) && has[all[from].Call] {
		from++
	}
	l.taken[attempt][k] = from
	for _, one := range all[from:] {
		mine := again || one.Attempt == "" || one.Attempt == attempt
		if mine && !has[one.Call] && !l.busy[one] {
			c = one
			break
		}
	}
	if c == nil {
		l.last++
		c = &Call{Sent: Sent{Call: callID(int64(l.last)), Scope: k.Scope, Digest: k.Digest, Nth: len(all) + 1}}
		l.calls[c.Call] = c
		l.same[k] = append(all, c)
	}
	l.busy[c] = true
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.busy, c)
	}
}

// CallBegan says that a call is with its provider from now on, end that it is not
// any more: what it may cost can still become less.
func (l *Ledger) CallBegan() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight++
}

func (l *Ledger) CallEnded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.announce()
}

// announce wakes those who wait for a reservation to end. The caller holds the
// lock.
func (l *Ledger) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Now gives a copy of a call as it is now.
func (l *Ledger) Now(c *Call) Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *c
}

// Begin journals that an attempt's process is about to start. What an earlier
// process of that name got, this one has not.
func (l *Ledger) Begin(attempt string) error { return l.Add(Began{Attempt: attempt}, false) }

// Delivered marks a call as one that an attempt has.
func (l *Ledger) Delivered(c *Call, attempt string, again bool) error {
	l.mu.Lock()
	l.has[attempt][c.Call] = true // at once: the next request of the same form is another
	l.mu.Unlock()
	return l.Add(Delivered{Call: c.Call, Attempt: attempt, Again: again}, true)
}

func (l *Ledger) record(ctx context.Context, seq int64) (Event, error) {
	for rec, err := range l.log.Read(ctx, journal.CallsOf(l.run), seq) {
		if err != nil {
			return nil, err
		}
		return decodeRecord(rec.Type, rec.Version, rec.Payload)
	}
	return nil, fmt.Errorf("run %s has no call record %d", l.run, seq)
}

// Calls are all calls, in the order in which they left first. The bodies are
// not in them.
func (l *Ledger) Calls() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Call, len(l.order))
	for i, c := range l.order {
		out[i] = *c
		out[i].Delivered = slices.Clone(c.Delivered)
	}
	return out
}

// CutOff reports whether an attempt had a call under way when an earlier engine
// died, and has not asked for its answer since.
func (l *Ledger) CutOff(attempt string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.order, func(c *Call) bool { return c.cut && c.Open && c.Attempt == attempt })
}

// Refused are the calls that were not let through.
func (l *Ledger) Refused() []RefusedCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.refused)
}

// Kept is what the calls come to, to be kept; see Sums.Encode.
func (l *Ledger) Kept() (body []byte, head journal.Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums.Encode(), l.head
}

// Head is the last record of the calls.
func (l *Ledger) Head() journal.Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}
