package ledger

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ratchet/study"
)

// Spending is what calls cost.
type Spending struct {
	NanoUSD int64 `json:"nano_usd"` // thousand-millionths of a US dollar
	Tokens  int64 `json:"tokens"`   // in and out
	Calls   int64 `json:"calls"`
}

func (s Spending) Plus(o Spending) Spending {
	return Spending{s.NanoUSD + o.NanoUSD, s.Tokens + o.Tokens, s.Calls + o.Calls}
}

func (s Spending) Minus(o Spending) Spending {
	return Spending{s.NanoUSD - o.NanoUSD, s.Tokens - o.Tokens, s.Calls - o.Calls}
}

func (s Spending) Times(n int) Spending {
	return Spending{s.NanoUSD * int64(n), s.Tokens * int64(n), s.Calls * int64(n)}
}

// USD is the money, in dollars.
func (s Spending) USD() float64 { return float64(s.NanoUSD) / 1e9 }

// NanoUSD is an amount of money in thousand-millionths of a dollar.
func NanoUSD(m study.Money) int64 { return int64(m) * 1000 }

// Tokens are what an answer used, as its provider says.
type Tokens struct {
	In         int64 `json:"in"`                    // all of the request, what was cached included
	CacheRead  int64 `json:"cache_read,omitempty"`  // of In
	CacheWrite int64 `json:"cache_write,omitempty"` // of In, kept for five minutes or so
	CacheHour  int64 `json:"cache_hour,omitempty"`  // of In, kept for an hour
	Out        int64 `json:"out"`                   // of the answer, with its reasoning
	Reasoning  int64 `json:"reasoning,omitempty"`   // of Out
}

// Price is what a model's tokens cost, in US dollars for a million. The zero
// price is that of a model that costs nothing.
type Price struct {
	In         float64 `json:"in"`
	Out        float64 `json:"out"`
	CacheRead  float64 `json:"cache_read"`
	CacheWrite float64 `json:"cache_write"`
	CacheHour  float64 `json:"cache_hour"` // of writing what is kept for an hour
	// A request of more than LongFrom tokens costs LongIn and LongOut times as
	// much, all of it; 0: there is no such price.
	LongFrom int64   `json:"long_from,omitempty"`
	LongIn   float64 `json:"long_in,omitempty"`
	LongOut  float64 `json:"long_out,omitempty"`
	// MaxOutput is how many tokens an answer can have; 0: not known.
	MaxOutput int64 `json:"max_output,omitempty"`
}

// Cost is what tokens cost, rounded up to the thousand-millionth of a dollar.
func (p Price) Cost(t Tokens) int64 {
	plain := max(0, t.In-t.CacheRead-t.CacheWrite-t.CacheHour)
	in := float64(plain)*p.In + float64(t.CacheRead)*p.CacheRead + float64(t.CacheWrite)*p.CacheWrite + float64(t.CacheHour)*p.CacheHour
	return p.sum(t.In, in, float64(t.Out)*p.Out)
}

// Most is the highest cost of a request that has at most so many tokens.
func (p Price) Most(in, out int64) int64 {
	return p.sum(in, float64(in)*max(p.In, p.CacheRead, p.CacheWrite, p.CacheHour), float64(out)*p.Out)
}

func (p Price) sum(tokens int64, in, out float64) int64 {
	if p.LongFrom > 0 && tokens > p.LongFrom {
		in, out = in*p.LongIn, out*p.LongOut
	}
	return int64(math.Ceil((in+out)*1000 - 1e-6))
}

// Budget is a bound on what calls may cost together. Zero means no bound.
type Budget struct {
	Name   string // what it bounds, as the settings name it: limits.run, say
	Cost   study.Money
	Tokens int64
	Calls  int64
}

// Refuses says why spending more does not fit; nil: it does.
func (b Budget) Refuses(spent, more Spending) *BudgetError {
	all := spent.Plus(more)
	switch {
	case b.Cost > 0 && all.NanoUSD > NanoUSD(b.Cost):
		return &BudgetError{
			Why:    fmt.Sprintf("%s.cost is %s: %s are spent or reserved, and this call may cost %s", b.Name, b.Cost, study.Dollars(spent.USD()), study.Dollars(more.USD())),
			Budget: b.Name, Key: "cost", Enough: strings.ReplaceAll(study.Money(roundUp(max(2*int64(b.Cost), (all.NanoUSD+999)/1000))).String(), " ", ""),
		}
	case b.Tokens > 0 && all.Tokens > b.Tokens:
		return &BudgetError{
			Why:    fmt.Sprintf("%s.tokens is %d: %d are spent or reserved, and this call may use %d", b.Name, b.Tokens, spent.Tokens, more.Tokens),
			Budget: b.Name, Key: "tokens", Enough: strconv.FormatInt(roundUp(max(2*b.Tokens, all.Tokens)), 10),
		}
	case b.Calls > 0 && all.Calls > b.Calls:
		return &BudgetError{Why: fmt.Sprintf("%s.calls is %d, and so many were made", b.Name, b.Calls), Budget: b.Name, Key: "calls", Enough: strconv.FormatInt(roundUp(2*b.Calls), 10)}
	}
	return nil
}

// roundUp is the next whole number with two digits that count.
func roundUp(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit - 1) / unit * unit
}
