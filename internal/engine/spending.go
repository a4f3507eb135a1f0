package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"ratchet/internal/gateway"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/journal"
	"ratchet/study"
)

// What model calls may cost, what they have cost, and what of their requests counts.

// priced are the settings with the prices that the command line said: when the run was
// made, unless it was restored from a backup, and now.
func (d *driver) priced(s *provider.Settings) (*provider.Settings, error) {
	of := []Pricing{d.options.Pricing}
	a, err := d.engine.Arrived(d.run)
	if err != nil {
		return nil, err
	}
	if a == nil {
		of = append([]Pricing{{d.created.Prices, d.created.AllowUnpriced}}, of...)
	}
	out := *s
	out.Prices = maps.Clone(s.Prices)
	if out.Prices == nil {
		out.Prices = map[string]ledger.Price{}
	}
	for _, p := range of {
		out.AllowUnpriced = out.AllowUnpriced || p.AllowUnpriced
		for model, price := range p.Prices {
			out.Prices[model] = ledger.Price{In: price.In, Out: price.Out, CacheRead: price.In, CacheWrite: price.In, CacheHour: price.In}
		}
	}
	return &out, nil
}

// rulesOf are what of requests does not count, as a study says.
func rulesOf(m *study.Models) (gateway.Rules, error) {
	rules := gateway.Rules{Fields: m.IgnoreFields}
	for _, t := range m.IgnoreText {
		re, err := regexp.Compile(t)
		if err != nil {
			return rules, err // the study was checked
		}
		rules.Text = append(rules.Text, re)
	}
	return rules, nil
}

// CallDiffs say why calls of later attempts of a run were sent although others were on
// record.
func (e *Engine) CallDiffs(ctx context.Context, run string) ([]ledger.Diff, error) {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	rules := gateway.Rules{}
	if m := s.Created.Study.Models; m != nil {
		if rules, err = rulesOf(m); err != nil {
			return nil, err
		}
	}
	l, err := e.Calls(ctx, run)
	if err != nil {
		return nil, err
	}
	return l.Diffs(ctx, rules.Apply)
}

// blockedWhy says why the run's model calls cannot go on, and how they can.
func blockedWhy(run string, why error) string {
	var spent *ledger.BudgetError
	switch {
	case !errors.As(why, &spent):
		return why.Error() + "; once that is mended, `ratchet resume` goes on"
	case spent.Budget == runBudget:
		flag := map[string]string{"cost": "--budget", "tokens": "--tokens", "calls": "--calls"}[spent.Key]
		return fmt.Sprintf("%s; raise it with `ratchet resume %s %s`", spent.Why, flag, spent.Enough)
	case strings.HasPrefix(spent.Budget, "limits."):
		return fmt.Sprintf("%s; the study says so: `ratchet fork %s --set %s=%s` goes on with more", spent.Why, run, spent.Budget+"."+spent.Key, spent.Enough)
	}
	return fmt.Sprintf("%s; raise %s.%s in config.yaml, to %s say, or wait, and `ratchet resume` goes on", spent.Why, spent.Budget, spent.Key, spent.Enough)
}

// runBudget is the name of the budget that resuming can raise.
const runBudget = "limits.run"

// budgets are the limits of the run's model calls.
func (d *driver) budgets() ledger.Budgets {
	run, l := d.state.SpendLimit(), d.study.Limits
	b := ledger.Budgets{
		Run:   ledger.Budget{Name: runBudget, Cost: run.Cost, Tokens: run.Tokens, Calls: run.Calls},
		Stage: ledger.Budget{Name: "limits.stage", Cost: l.Stage.Cost, Tokens: l.Stage.Tokens, Calls: l.Stage.Calls},
		Model: map[string]ledger.Budget{},
	}
	for name, s := range l.Model {
		b.Model[name] = ledger.Budget{Cost: s.Cost, Tokens: s.Tokens, Calls: s.Calls}
	}
	return b
}

// Calls folds the model calls of a run.
func (e *Engine) Calls(ctx context.Context, run string) (*ledger.Ledger, error) {
	return ledger.Open(ctx, run, e.Journal, e.Objects, e.Now)
}

// What is kept of a run's calls; see history.ReadFold. The form changes with
// gateway.Sums.
const (
	sumsFile = "calls"
	sumsForm = 2
	// How many records of calls are folded before what they come to is kept: by who
	// looks, and by who makes them.
	sumsEvery = 1_000
	sumsDrive = 10_000
)

// CallSums is what the model calls of a run come to.
func (e *Engine) CallSums(ctx context.Context, run string) (*ledger.Sums, error) {
	sums, chain := ledger.NewSums(), journal.CallsOf(run)
	if body, head, ok := e.ReadFold(ctx, chain, sumsFile, sumsForm); ok {
		if kept, err := ledger.DecodeSums(body, head); err == nil {
			sums = kept
		}
	}
	kept := sums.Head.Seq
	if err := sums.Follow(ctx, run, e.Journal); err != nil {
		return nil, err
	}
	if sums.Head.Seq-kept > sumsEvery {
		e.KeepFold(chain, sumsFile, sumsForm, sums.Head, sums.Encode())
	}
	return sums, nil
}
