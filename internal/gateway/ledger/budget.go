package ledger

import (
	"context"
	"fmt"
)

// Budgets bound what a run's calls may cost.
type Budgets struct {
	Run   Budget
	Stage Budget            // each stage
	Model map[string]Budget // by provider/model
}

// spending is what the calls cost, with the reservations of those that are
// under way.
type spending struct {
	all     Spending
	stage   map[string]Spending
	model   map[string]Spending
	waiting int // reservations of calls that are not in the ledger yet
}

func newSpending() spending {
	return spending{stage: map[string]Spending{}, model: map[string]Spending{}}
}

// change changes a call, and what is spent with it.
func (s *spending) change(c *Call, how func()) {
	s.count(c, -1)
	how()
	s.count(c, 1)
}

func (s *spending) count(c *Call, sign int) {
	spent := c.Spent().Times(sign)
	s.all = s.all.Plus(spent)
	s.stage[c.Stage] = s.stage[c.Stage].Plus(spent)
	names := c.Targets
	if c.Answered != nil {
		names = []string{c.Answered.Provider + "/" + c.Answered.Model}
	}
	for _, name := range names {
		s.model[name] = s.model[name].Plus(spent)
	}
}

// Held is what the calls have cost, with the reservations of those that are under
// way.
func (l *Ledger) Held() Spending {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spending.all
}

// BudgetError says that a call does not fit into a budget.
type BudgetError struct {
	Why    string
	Budget string // its name
	Key    string // what of it is spent: cost, tokens or calls
	// Enough is a bound, as settings have it, with which the call fits, and others
	// after it: at least twice the one that there is.
	Enough string
}

func (e *BudgetError) Error() string { return e.Why }

// Reserve keeps room in all budgets for what a call may cost, as one step, so
// that calls at the same time never spend more together. Where there is room
// only once calls that are under way have cost less than they may, it waits for
// them. release gives the room back; it is called once the call is in the
// ledger, or will not be.
func (l *Ledger) Reserve(ctx context.Context, b Budgets, stage string, models []string, most Spending) (release func(), err error) {
	for {
		l.mu.Lock()
		why := l.spending.refuses(b, stage, models, most)
		if why == nil {
			l.spending.reserve(stage, models, most)
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.spending.reserve(stage, models, most.Times(-1))
				l.announce()
			}, nil
		}
		underWay := l.spending.waiting > 0 || l.inFlight > 0
		changed, broken := l.changed, l.broken
		l.mu.Unlock()
		if !underWay || broken != nil {
			return nil, why
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *spending) reserve(stage string, models []string, most Spending) {
	if most.Calls > 0 {
		s.waiting++
	} else {
		s.waiting--
	}
	s.all = s.all.Plus(most)
	s.stage[stage] = s.stage[stage].Plus(most)
	for _, m := range models {
		s.model[m] = s.model[m].Plus(most)
	}
}

func (s *spending) refuses(b Budgets, stage string, models []string, most Spending) *BudgetError {
	if why := b.Run.Refuses(s.all, most); why != nil {
		return why
	}
	if why := b.Stage.Refuses(s.stage[stage], most); why != nil {
		return why
	}
	for _, m := range models {
		limit, ok := b.Model[m]
		if !ok {
			continue
		}
		limit.Name = fmt.Sprintf("limits.model.%s", m)
		if why := limit.Refuses(s.model[m], most); why != nil {
			return why
		}
	}
	return nil
}
