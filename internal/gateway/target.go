package gateway

import (
	"fmt"
	"math"
	"path"
	"strings"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/research"
)

// target is where a call may go.
type target struct {
	provider *provider.Provider
	model    string // of the provider
	price    ledger.Price
	priced   bool
	source   string // of the price
}

func (t target) name() string { return t.provider.Name + "/" + t.model }

// noModelError says that a call names no model that may be called.
type noModelError struct{ Why string }

func (e *noModelError) Error() string { return e.Why }

// targets are where a call may go, in order.
func (g *Gateway) targets(r *request) ([]target, error) {
	own := r.provider
	if own == "" {
		own = string(r.protocol)
	}
	if protocol.Lists(r.endpoint) {
		return []target{{provider: g.Settings.Providers[own], model: "models", priced: true}}, nil
	}
	if r.Model == "" {
		return nil, &noModelError{"the request names no model"}
	}
	names, alias := g.Settings.Aliases[r.Model]
	if !alias {
		names = []string{r.Model}
	}
	var out []target
	for _, name := range names {
		t := target{provider: g.Settings.Providers[own], model: name}
		if p, model, ok := strings.Cut(name, "/"); ok && r.provider == "" && g.Settings.Providers[p] != nil {
			t.provider, t.model = g.Settings.Providers[p], model
		}
		if t.provider.URL == "" {
			return nil, &noModelError{fmt.Sprintf("the provider %s has no address; set models.providers.%s.url in config.yaml", t.provider.Name, t.provider.Name)}
		}
		if !g.allowed(t.name()) {
			return nil, &noModelError{fmt.Sprintf("the study does not allow %s; it allows %s", t.name(), strings.Join(g.Allow, ", "))}
		}
		t.price, t.source, t.priced = g.Settings.PriceOf(t.provider, t.model)
		if protocol.Free(r.endpoint) {
			t.price, t.priced = ledger.Price{}, true // it costs nothing
		}
		out = append(out, t)
	}
	return out, nil
}

func (g *Gateway) allowed(name string) bool {
	if g.Allow == nil {
		return true
	}
	for _, pattern := range g.Allow {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
		if p, rest, ok := strings.Cut(pattern, "/"); ok && rest == "*" && strings.HasPrefix(name, p+"/") {
			return true // names of models can have slashes in them
		}
	}
	return false
}

// unpricedError says that a call's cost is unknown.
type unpricedError struct{ Model string }

func (e *unpricedError) Error() string {
	return fmt.Sprintf("the price of %s is not known, so that no budget could hold; give it with --price '%s=IN,OUT', in US dollars for a million tokens, or call it all the same with --allow-unpriced (or by models.prices or models.allow_unpriced in config.yaml)", e.Model, e.Model)
}

// unboundedError says that what a call may cost has no bound.
type unboundedError struct{ Tool string }

func (e *unboundedError) Error() string {
	return fmt.Sprintf("the request has its provider run a tool (%s), and its cost cannot be bounded beforehand, so that no budget could hold; add --allow-unpriced (or models.allow_unpriced: true in config.yaml), or leave the tool out", research.Printable(e.Tool, 60))
}

// bounds reports whether any budget bounds money or tokens.
func (g *Gateway) bounds() bool {
	bound := func(b ledger.Budget) bool { return b.Cost > 0 || b.Tokens > 0 }
	for _, b := range g.Budgets.Model {
		if bound(b) {
			return true
		}
	}
	return bound(g.Budgets.Run) || bound(g.Budgets.Stage) || bound(g.Settings.Day)
}

// times is a multiple of an amount, rounded up.
func times(nano int64, factor float64) int64 { return int64(math.Ceil(float64(nano) * factor)) }

// most is what a call may cost at most, at whichever target.
func (g *Gateway) most(r *request, targets []target) (ledger.Spending, error) {
	most := ledger.Spending{Calls: 1}
	if r.Runs != "" && g.bounds() && !g.Settings.AllowUnpriced {
		return most, &unboundedError{r.Runs}
	}
	for _, t := range targets {
		if !t.priced && !g.Settings.AllowUnpriced {
			return most, &unpricedError{t.name()}
		}
		out := r.Out
		switch {
		case protocol.Embeds(r.endpoint) || protocol.Free(r.endpoint):
			out = 0
		case out == 0 && t.price.MaxOutput > 0:
			out = t.price.MaxOutput
		case out == 0:
			out = 32_000 // as most models have it at most
		}
		in := r.In
		if protocol.Free(r.endpoint) || r.endpoint == tool {
			in, out = 0, 0
		}
		out *= r.N
		most.Tokens = max(most.Tokens, in+out)
		// A tier that costs less may turn out not to be had.
		most.NanoUSD = max(most.NanoUSD, times(t.price.Most(in, out), max(1, t.provider.TierFactor(r.Tier))))
	}
	if g.Settings.Hedge > 0 {
		most = most.Times(2)
	}
	return most, nil
}
