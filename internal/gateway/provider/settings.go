package provider

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/yamlfile"
	"ratchet/study"
)

// Settings are what the engine's config.yaml says of models.
type Settings struct {
	Providers map[string]*Provider
	// Aliases are names for one model or several, of which the next is asked
	// when one does not answer.
	Aliases       map[string][]string
	Prices        map[string]ledger.Price // by provider/model
	AllowUnpriced bool
	Timeout       time.Duration // of one try of a call, until its answer begins
	Stall         time.Duration // of a stream, between two parts
	Linger        time.Duration // that a call whose client is gone is still waited for
	Hedge         time.Duration // until a second try is made beside the first; 0: never
	Retries       int           // after the first try, of each provider
	MaxRequest    int64         // bytes
	// MaxOutput bounds the tokens of an answer where a request does not, and is put into
	// such; 0: the model's own bound is what they may cost.
	MaxOutput int64
	// ClientTools are types of tools that programs run themselves, besides those known.
	ClientTools []string
	MaxAnswer   int64         // bytes
	Day         ledger.Budget // of all runs of the home together, by the day (UTC)
	// Secrets are forms of what no request may have in it, besides those that
	// are known anyhow.
	Secrets []*regexp.Regexp
}

// Rates bound requests or tokens. Zero means no bound.
type Rates struct{ PerMinute, PerHour, PerDay int64 }

// Limits are how much may be asked of a provider, or of one of its models.
type Limits struct{ Requests, Tokens Rates }

// DefaultSettings are the settings of an empty config.yaml; the environment's
// addresses of providers are in them.
func DefaultSettings() (*Settings, error) {
	s := &Settings{
		Providers: builtIn(), Aliases: map[string][]string{}, Prices: map[string]ledger.Price{},
		Timeout: 10 * time.Minute, Stall: 2 * time.Minute, Linger: time.Minute, Retries: 4,
		MaxRequest: 64 << 20, MaxAnswer: 64 << 20, Day: ledger.Budget{Name: "models.budget.day"},
	}
	for _, p := range s.Providers {
		name := "RATCHET_" + strings.ToUpper(p.Name) + "_UPSTREAM"
		if v := os.Getenv(name); v != "" {
			u, err := upstreamURL(p.Protocol, v)
			if err != nil {
				return nil, fmt.Errorf("$%s: %w", name, err)
			}
			p.URL = u
		}
	}
	return s, nil
}

// Read lays the mapping `models` of config.yaml over settings.
func (s *Settings) Read(r *yamlfile.Reader, n ast.Node) {
	duration := func(to *time.Duration, what string) func(ast.Node) {
		return func(n ast.Node) {
			*to = time.Duration(yamlfile.Unit(r, n, "models."+what, study.ParseDuration))
		}
	}
	size := func(to *int64, what string) func(ast.Node) {
		return func(n ast.Node) { *to = int64(yamlfile.Unit(r, n, "models."+what, study.ParseBytes)) }
	}
	var all Limits
	r.Fields(n, "models", map[string]func(ast.Node){
		"timeout":        duration(&s.Timeout, "timeout"),
		"stall":          duration(&s.Stall, "stall"),
		"linger":         duration(&s.Linger, "linger"),
		"hedge":          duration(&s.Hedge, "hedge"),
		"retries":        func(n ast.Node) { s.Retries = r.Whole(n, "models.retries", 0, 100) },
		"max_request":    size(&s.MaxRequest, "max_request"),
		"max_answer":     size(&s.MaxAnswer, "max_answer"),
		"max_output":     func(n ast.Node) { s.MaxOutput = int64(r.Whole(n, "models.max_output", 1, 1<<30)) },
		"allow_unpriced": func(n ast.Node) { s.AllowUnpriced = r.Choice(n, "models.allow_unpriced", "true", "false") == "true" },
		"requests":       func(n ast.Node) { all.Requests = readRates(r, n, "models.requests") },
		"tokens":         func(n ast.Node) { all.Tokens = readRates(r, n, "models.tokens") },
		"client_tools":   func(n ast.Node) { s.ClientTools = r.Texts(n, "models.client_tools") },
		"providers":      func(n ast.Node) { s.readProviders(r, n) },
		"aliases": func(n ast.Node) {
			for _, e := range r.Mapping(n, "models.aliases") {
				if _, list := r.Resolve(e.Value).(*ast.SequenceNode); list {
					s.Aliases[e.Key] = r.Texts(e.Value, "models.aliases."+e.Key)
				} else {
					s.Aliases[e.Key] = []string{r.Text(e.Value, "models.aliases."+e.Key)}
				}
			}
		},
		"prices": func(n ast.Node) { s.readPrices(r, n) },
		"budget": func(n ast.Node) {
			r.Fields(n, "models.budget", map[string]func(ast.Node){
				"day": func(n ast.Node) { readBudget(r, n, "models.budget.day", &s.Day) },
			})
		},
		"secrets": func(n ast.Node) {
			for i, t := range r.Texts(n, "models.secrets") {
				re, err := regexp.Compile(t)
				if err != nil {
					r.Complain(n, fmt.Sprintf("models.secrets, number %d, is not a regular expression: %v", i+1, err), "see https://pkg.go.dev/regexp/syntax")
					continue
				}
				s.Secrets = append(s.Secrets, re)
			}
		},
	})
	for _, p := range s.Providers {
		p.Requests, p.Tokens = p.Requests.or(all.Requests), p.Tokens.or(all.Tokens)
	}
	for name, models := range s.Aliases {
		for _, m := range models {
			if p, _, _ := strings.Cut(m, "/"); s.Providers[p] == nil {
				r.Complain(n, fmt.Sprintf("the alias %s names %q, and there is no provider %q", name, m, p), "write provider/model; the providers are %s", strings.Join(s.names(), ", "))
			}
		}
	}
}

func (s *Settings) names() []string { return slices.Sorted(maps.Keys(s.Providers)) }

func (r Rates) or(o Rates) Rates {
	if r == (Rates{}) {
		return o
	}
	return r
}

func readRates(r *yamlfile.Reader, n ast.Node, what string) (out Rates) {
	whole := func(to *int64, key string) func(ast.Node) {
		return func(n ast.Node) { *to = int64(r.Whole(n, what+"."+key, 1, 1<<40)) }
	}
	r.Fields(n, what, map[string]func(ast.Node){
		"per_minute": whole(&out.PerMinute, "per_minute"), "per_hour": whole(&out.PerHour, "per_hour"), "per_day": whole(&out.PerDay, "per_day"),
	})
	return out
}

// readBudget reads the bounds of a budget.
func readBudget(r *yamlfile.Reader, n ast.Node, what string, b *ledger.Budget) {
	r.Fields(n, what, map[string]func(ast.Node){
		"cost":   func(n ast.Node) { b.Cost = yamlfile.Unit(r, n, what+".cost", study.ParseMoney) },
		"tokens": func(n ast.Node) { b.Tokens = int64(r.Whole(n, what+".tokens", 1, 1<<50)) },
		"calls":  func(n ast.Node) { b.Calls = int64(r.Whole(n, what+".calls", 1, 1<<50)) },
	})
}

func (s *Settings) readProviders(r *yamlfile.Reader, n ast.Node) {
	for _, e := range r.Mapping(n, "models.providers") {
		what := "models.providers." + e.Key
		p := s.Providers[e.Key]
		if p == nil {
			p = &Provider{Name: e.Key, Protocol: protocol.OpenAI, KeyIn: "Authorization", Prices: e.Key, Concurrency: DefaultConcurrency}
			s.Providers[e.Key] = p
		}
		if strings.ContainsAny(e.Key, "/ ") || e.Key == "" {
			r.Complain(e.At, fmt.Sprintf("%q is no name for a provider", e.Key), "use letters, digits and hyphens")
		}
		address, at := "", e.Value
		r.Fields(e.Value, what, map[string]func(ast.Node){
			"protocol": func(n ast.Node) {
				p.Protocol = protocol.Name(r.Choice(n, what+".protocol", protocol.Names()...))
			},
			"url":    func(n ast.Node) { address, at = r.Text(n, what+".url"), n },
			"key_in": func(n ast.Node) { p.KeyIn = r.Text(n, what+".key_in") },
			"prices": func(n ast.Node) { p.Prices = r.Text(n, what+".prices") },
			"free":   func(n ast.Node) { p.Free = r.Choice(n, what+".free", "true", "false") == "true" },
			"stream_options": func(n ast.Node) {
				p.NoStreamOptions = r.Choice(n, what+".stream_options", "true", "false") == "false"
			},
			"concurrency": func(n ast.Node) { p.Concurrency = r.Whole(n, what+".concurrency", 1, 100_000) },
			"requests":    func(n ast.Node) { p.Requests = readRates(r, n, what+".requests") },
			"tokens":      func(n ast.Node) { p.Tokens = readRates(r, n, what+".tokens") },
			"models": func(n ast.Node) {
				p.Models = map[string]Limits{}
				for _, m := range r.Mapping(n, what+".models") {
					of := what + ".models." + m.Key
					var l Limits
					r.Fields(m.Value, of, map[string]func(ast.Node){
						"requests": func(n ast.Node) { l.Requests = readRates(r, n, of+".requests") },
						"tokens":   func(n ast.Node) { l.Tokens = readRates(r, n, of+".tokens") },
					})
					p.Models[m.Key] = l
				}
			},
			"key": func(n ast.Node) {
				var k KeySource
				r.Fields(n, what+".key", map[string]func(ast.Node){
					"env":     func(n ast.Node) { k.Env = []string{r.Text(n, what+".key.env")} },
					"file":    func(n ast.Node) { k.File = r.Text(n, what+".key.file") },
					"command": func(n ast.Node) { k.Command = r.Texts(n, what+".key.command") },
				})
				p.Key = k
			},
		})
		if address != "" && os.Getenv("RATCHET_"+strings.ToUpper(p.Name)+"_UPSTREAM") == "" {
			u, err := upstreamURL(p.Protocol, address)
			if err != nil {
				r.Complain(at, what+".url: "+err.Error(), "write it like http://127.0.0.1:8000/v1")
			}
			p.URL = u
		}
		if p.URL == "" {
			r.Complain(e.At, fmt.Sprintf("the provider %s has no url", e.Key), "add url: http://127.0.0.1:8000/v1")
		}
	}
}

func (s *Settings) readPrices(r *yamlfile.Reader, n ast.Node) {
	for _, e := range r.Mapping(n, "models.prices") {
		what := "models.prices." + e.Key
		if p, model, ok := strings.Cut(e.Key, "/"); !ok || p == "" || model == "" {
			r.Complain(e.At, fmt.Sprintf("%q is no model", e.Key), "write provider/model")
		}
		var p ledger.Price
		set := func(to *float64, key string) func(ast.Node) {
			return func(n ast.Node) { *to = r.Number(n, what+"."+key, 0, 1e6) }
		}
		seen := r.Fields(e.Value, what, map[string]func(ast.Node){
			"in": set(&p.In, "in"), "out": set(&p.Out, "out"), "cache_read": set(&p.CacheRead, "cache_read"),
			"cache_write": set(&p.CacheWrite, "cache_write"), "cache_hour": set(&p.CacheHour, "cache_hour"),
			"max_output": func(n ast.Node) { p.MaxOutput = int64(r.Whole(n, what+".max_output", 1, 1<<30)) },
		})
		if !seen["in"] || !seen["out"] {
			r.Complain(e.At, what+" is not whole", "write {in: 0.5, out: 1.5}, in US dollars for a million tokens")
		}
		for key, to := range map[string]*float64{"cache_read": &p.CacheRead, "cache_write": &p.CacheWrite, "cache_hour": &p.CacheHour} {
			if !seen[key] {
				*to = p.In
			}
		}
		s.Prices[e.Key] = p
	}
}
