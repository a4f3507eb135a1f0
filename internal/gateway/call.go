package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/research"
)

// startCall begins a call: it looks for secrets, keeps what the call may cost and
// journals that it leaves. When it returns, the call is durable, and fly carries
// it out to its end.
func (g *Gateway) startCall(ctx context.Context, c *ledger.Call, r *request, targets []target, attempt, stage string) (f *flight, fly func(), err error) {
	if kind := g.leaks(r); kind != "" {
		return nil, nil, &leakError{kind}
	}
	most, err := g.most(r, targets)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.name()
	}
	release, err := g.Ledger.Reserve(ctx, g.Budgets, stage, names, most)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	settle, err := g.Shared.reserveDay(g.Settings.Day, most)
	if err != nil {
		return nil, nil, err
	}
	body, err := ledger.Keep(g.Store, r.body)
	if err == nil {
		sent := ledger.Sent{
			Call: c.Call, Scope: c.Scope, Attempt: attempt, Stage: stage, Digest: c.Digest, Nth: c.Nth, Method: r.method, Path: r.target(),
			Headers: headers(r.header), Model: r.Model, Targets: names, Stream: r.Stream, Request: body, Reserved: most,
		}
		err = g.Ledger.Add(sent, false)
	}
	if err != nil {
		return nil, nil, errors.Join(err, settle(ledger.Spending{}))
	}
	flying, giveUp := context.WithCancel(g.ctx)
	f = newFlight(g.Settings.Linger, giveUp)
	g.mu.Lock()
	g.flights[c.Call] = f
	g.mu.Unlock()
	g.Ledger.CallBegan()
	return f, func() {
		defer giveUp()
		defer g.Ledger.CallEnded()
		g.fly(flying, c, r, targets, f, settle)
	}, nil
}

// target is the path and query of a request, as the gateway was asked.
func (r *request) target() string {
	s := "/" + r.path
	switch {
	case r.protocol == web:
		s = r.provider + s
	case r.provider != "":
		s = "/p/" + r.provider + s
	}
	if r.query != "" {
		s += "?" + r.query
	}
	return s
}

// fly carries a call out and journals what came of it, before anybody is told.
func (g *Gateway) fly(ctx context.Context, c *ledger.Call, r *request, targets []target, f *flight, settle func(ledger.Spending) error) {
	began := time.Now()
	a := g.up.hedged(ctx, r, targets, f)
	rec, spent := g.outcome(c, r, &a, time.Since(began))
	err := settle(spent)
	if g.ctx.Err() == nil || a.class == research.Succeeded || a.class == research.ProgramFault {
		// Broken off by our own end it stays open, as after a crash.
		err = errors.Join(err, g.Ledger.Add(rec, false))
	}
	g.mu.Lock()
	delete(g.flights, c.Call)
	g.mu.Unlock()
	if err != nil {
		g.Warn(err)
	}
	_, answered := rec.(ledger.Answered)
	f.end(func() {
		switch {
		case err != nil:
			f.trouble = err
		case answered || a.status >= 400 && len(a.body) > 0 && !a.begun:
			// An error in the provider's own words is delivered like an answer.
			f.status, f.header, f.body, f.visible, f.whole = a.status, passed(a.header), a.body, len(a.body), true
			if !answered {
				f.header.Set("X-Should-Retry", "false") // the official clients obey it: we have tried
			}
		default:
			f.trouble = errors.New(a.why)
		}
	})
	switch {
	case r.endpoint == tool: // what a host refuses is the program's to know
	case a.class == research.Quota, a.class == research.Auth:
		g.Trouble(a.class, fmt.Errorf("%s: %s", a.target.name(), a.why))
	}
}

// outcome is the record of what came of a call.
func (g *Gateway) outcome(c *ledger.Call, r *request, a *answer, took time.Duration) (ledger.Event, ledger.Spending) {
	t := a.target
	spent := ledger.Spending{Calls: 1}
	deliverable := a.class == research.Succeeded || a.class == research.ProgramFault && a.status >= 400 && a.status < 500 && a.status != http.StatusUnauthorized
	tokens := a.use.Tokens
	estimated := false
	if a.class == research.Succeeded || a.begun {
		if !a.use.Found {
			// Four bytes a token, as the providers' own rule of thumb is.
			tokens, estimated = ledger.Tokens{In: int64(len(r.body)+3) / 4, Out: (a.use.Text + 3) / 4}, true
		}
		spent.Tokens, spent.NanoUSD = tokens.In+tokens.Out, times(t.price.Cost(tokens), t.provider.TierFactor(cmp.Or(a.use.Tier, r.Tier)))
		if t.provider.TellsCost && a.use.Cost > 0 {
			spent.NanoUSD, t.source, t.priced = int64(math.Ceil(a.use.Cost*1e9)), "the provider's own", true
		}
		if a.beside { // what was broken off beside it may have cost as much
			spent = spent.Times(2)
		}
	}
	if a.status == 0 && a.class == research.Auth {
		spent = ledger.Spending{} // it never left
	}
	if !deliverable {
		return ledger.Failed{Call: c.Call, Class: a.class, Why: research.Printable(a.why, 500), Status: a.status, Spent: spent, Took: took.Seconds(), Retries: a.retries}, spent
	}
	body, err := ledger.Keep(g.Store, a.body)
	if err != nil {
		g.Warn(err)
		return ledger.Failed{Call: c.Call, Class: research.Internal, Why: err.Error(), Spent: spent, Took: took.Seconds(), Retries: a.retries}, spent
	}
	return ledger.Answered{
		Call: c.Call, Provider: t.provider.Name, Model: t.model, Status: a.status, Header: kept(a.header), Answer: body, Tokens: tokens, Spent: spent,
		Tier: a.use.Tier, Prices: t.source, Unpriced: !t.priced, Estimated: estimated, First: a.first.Seconds(), Took: took.Seconds(), Retries: a.retries,
	}, spent
}

// kept are the headers of an answer that are delivered again.
func kept(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range passed(h) {
		low := strings.ToLower(name)
		switch {
		case low == "content-type", low == "content-encoding", low == "x-request-id", low == "request-id", strings.HasPrefix(low, "openai-") && low != "openai-organization":
			out[name] = h.Get(name)
		}
	}
	return out
}
