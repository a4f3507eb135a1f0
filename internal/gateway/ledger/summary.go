package ledger

import (
	"slices"
)

// Summary is what a run's calls, or those of one attempt, come to.
type Summary struct {
	Calls    int      `json:"calls"` // that were sent
	Answered int      `json:"answered"`
	Failed   int      `json:"failed,omitempty"` // and not answered since
	Again    int      `json:"again,omitempty"`  // delivered out of the record
	Lost     int      `json:"lost,omitempty"`   // in flight at a crash
	Refused  int      `json:"refused,omitempty"`
	Retries  int      `json:"retries,omitempty"`
	Tokens   Tokens   `json:"tokens,omitzero"`
	Spent    Spending `json:"spent,omitzero"`
	Saved    Spending `json:"saved,omitzero"` // by the record
}

// Summary sums up all calls.
func (l *Ledger) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums.Summary()
}

// SummaryOf sums up what an attempt sent and got. A call that was in flight when
// its engine died is the attempt's that makes it again, and before that only in
// the sum of all.
func (l *Ledger) SummaryOf(attempt string) Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	var s Summary
	for _, c := range l.order {
		if slices.Contains(c.Delivered, attempt) && c.Attempt != attempt {
			s.Again++
			s.Saved = s.Saved.Plus(c.Answered.Spent)
			continue
		}
		if c.Attempt != attempt || c.Open {
			continue
		}
		s.Calls++
		s.Lost += c.Lost
		s.Spent = s.Spent.Plus(c.Spent())
		switch {
		case c.Answered != nil:
			s.Answered++
			s.Retries += len(c.Answered.Retries)
			s.Tokens = s.Tokens.plus(c.Answered.Tokens)
		case c.Failed != nil:
			s.Failed++
			s.Retries += len(c.Failed.Retries)
		}
	}
	for _, r := range l.refused {
		if r.Attempt == attempt {
			s.Refused++
		}
	}
	return s
}

func (t Tokens) plus(o Tokens) Tokens {
	return Tokens{t.In + o.In, t.CacheRead + o.CacheRead, t.CacheWrite + o.CacheWrite, t.CacheHour + o.CacheHour, t.Out + o.Out, t.Reasoning + o.Reasoning}
}
