package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"ratchet/internal/breaker"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/redact"
	"ratchet/internal/research"
)

// Mode says what becomes of a request that was made before.
type Mode string

// The modes.
const (
	Resume Mode = "resume"        // it gets the answer that is on record; what is new is sent
	Strict Mode = "strict-replay" // what is new is an error: the run is played back, offline
	Off    Mode = "off"           // a new attempt's requests are all sent
)

// Options are what a gateway serves with.
type Options struct {
	Run      string
	Ledger   *ledger.Ledger // it stays open when the gateway closes
	Store    ledger.Store
	Settings *provider.Settings
	Shared   *Shared
	Deps     *breaker.Dependencies
	Secrets  *redact.Redactor
	// Key is what tokens are made with; see Token.
	Key []byte
	// Scope gives the trial that an attempt belongs to; "": there is no such
	// attempt.
	Scope   func(attempt string) string
	Budgets ledger.Budgets
	Mode    Mode
	Rules   Rules
	Tools   Tools
	// ClientTools are types of tools that the study says its programs run themselves.
	ClientTools []string
	Allow       []string // models that may be called, provider/model with * and ?; nil: all
	// Trouble is told what the run should wait for: a spent budget, a key that
	// is refused.
	Trouble func(class research.Class, why error)
	Warn    func(error)
}

// Gateway serves the model calls of one run. It is safe for concurrent use.
type Gateway struct {
	Options
	up     *upstream
	server *http.Server
	bodies *semaphore.Weighted // bytes of requests in memory
	ctx    context.Context     // of calls; ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // flights
	tokens sync.Map       // those that were found to be genuine

	mu      sync.Mutex
	flights map[string]*flight // by call
	stage   string
}

// New returns a gateway that serves nothing yet.
func New(o Options) *Gateway {
	g := &Gateway{Options: o, up: newUpstream(o.Settings, o.Deps, o.Shared, o.Tools, o.Secrets), flights: map[string]*flight{}, bodies: semaphore.NewWeighted(mostBodies)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 256 << 10, ConnContext: withConn}
	if g.Trouble == nil {
		g.Trouble = func(research.Class, error) {}
	}
	if g.Warn == nil {
		g.Warn = func(error) {}
	}
	return g
}

// clientTools are the types of tools that programs run themselves, besides those that
// are known: those of the settings, and of the study's those that no provider is known to
// run.
func (g *Gateway) clientTools() []string {
	out := slices.Clone(g.Settings.ClientTools)
	for _, kind := range g.ClientTools {
		if !protocol.Hosted(kind) {
			out = append(out, kind)
		}
	}
	return out
}

// mostBodies bounds the requests that are in memory at the same time, in bytes
// together: others wait.
const mostBodies = 512 << 20

// body reads a request's body. done gives its room back.
func (g *Gateway) body(w http.ResponseWriter, hr *http.Request) (body []byte, done func(), err error) {
	room := hr.ContentLength
	if room < 0 || room > g.Settings.MaxRequest {
		room = g.Settings.MaxRequest
	}
	room = min(room, mostBodies)
	if err := g.bodies.Acquire(hr.Context(), room); err != nil {
		return nil, func() {}, err
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, hr.Body, g.Settings.MaxRequest))
	rest := min(room, int64(len(body))) // it may have said less, or nothing, of how long it is
	g.bodies.Release(room - rest)
	return body, func() { g.bodies.Release(rest) }, err
}

// Serve accepts connections until Close.
func (g *Gateway) Serve(l net.Listener) error {
	if err := g.server.Serve(prefacing{l}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close breaks off what is under way. What was journaled stays.
func (g *Gateway) Close() {
	_ = g.server.Close() // what its clients miss they ask for again
	g.cancel()
	g.work.Wait()
	g.up.close()
}

// SetStage says which stage the run is in.
func (g *Gateway) SetStage(stage string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stage = stage
}

// tokenPrefix begins the tokens that programs get in the place of a key.
const tokenPrefix = "ratchet-"

// Token is what an attempt's calls are known by. It is worth nothing outside of
// its run.
func Token(key []byte, attempt string) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, attempt) // a hash takes everything
	return tokenPrefix + attempt + "." + hex.EncodeToString(mac.Sum(nil)[:16])
}

// attempt gives whose token a request has.
func (g *Gateway) attempt(h http.Header) (attempt, scope string, ok bool) {
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		token := strings.TrimPrefix(h.Get(name), "Bearer ")
		rest, is := strings.CutPrefix(token, tokenPrefix)
		if !is {
			continue
		}
		attempt, _, _ := strings.Cut(rest, ".")
		if _, known := g.tokens.Load(token); !known {
			if !hmac.Equal([]byte(token), []byte(Token(g.Key, attempt))) {
				continue
			}
			g.tokens.Store(token, nil)
		}
		scope := g.Scope(attempt)
		return attempt, scope, scope != ""
	}
	return "", "", false
}

// tokenOf puts a token where it is looked for that a request has in its path, as
// /t/TOKEN/…, for clients that know no keys, or in its query, as Google's have it.
func tokenOf(hr *http.Request) {
	if rest, ok := strings.CutPrefix(hr.URL.Path, "/t/"); ok {
		token, path, _ := strings.Cut(rest, "/")
		hr.Header.Set("Authorization", "Bearer "+token)
		hr.URL.Path, hr.URL.RawPath = "/"+path, ""
	}
	if query := hr.URL.Query(); strings.HasPrefix(query.Get("key"), tokenPrefix) {
		hr.Header.Set("X-Goog-Api-Key", query.Get("key"))
		query.Del("key")
		hr.URL.RawQuery = query.Encode()
	}
}

// ServeHTTP carries one call out.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	if !g.local(w, hr) {
		g.serve(w, hr)
	}
}

func (g *Gateway) serve(w http.ResponseWriter, hr *http.Request) {
	if proxied(hr) {
		g.proxy(w, hr)
		return
	}
	tokenOf(hr)
	r, err := parseTarget(hr.Method, hr.URL, func(name string) bool { return g.Settings.Providers[name] != nil })
	if err != nil && strings.EqualFold(hr.Header.Get("Upgrade"), "websocket") {
		// Clients that try a WebSocket first fall back to HTTP at once.
		w.Header().Set("Upgrade", "HTTP/1.1")
		g.answerError(w, protocol.OpenAI, research.ProgramFault, http.StatusUpgradeRequired, "the gateway carries model calls over HTTP alone")
		return
	}
	if err != nil {
		speaks := protocol.OpenAI
		if hr.Header.Get("Anthropic-Version") != "" {
			speaks = protocol.Anthropic
		}
		g.answerError(w, speaks, research.ProgramFault, http.StatusNotFound, err.Error())
		return
	}
	attempt, scope, ok := g.attempt(hr.Header)
	if !ok {
		g.answerError(w, r.protocol, research.Auth, 0, "this is not a token of an attempt that runs; the environment of the attempt has one in OPENAI_API_KEY and ANTHROPIC_API_KEY")
		return
	}
	r.header = hr.Header
	body, done, err := g.body(w, hr)
	defer done()
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			g.refuse(w, r, attempt, research.ProgramFault, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is larger than models.max_request, %d bytes", g.Settings.MaxRequest))
		}
		return // its client broke off
	}
	canonical, err := r.read(body, g.Rules, g.clientTools())
	if err != nil {
		g.refuse(w, r, attempt, research.ProgramFault, 0, err.Error())
		return
	}
	if r.Out == 0 && g.Settings.MaxOutput > 0 && protocol.OutputField(r.endpoint, "") != "" {
		r.bound, r.Out = g.Settings.MaxOutput, g.Settings.MaxOutput
	}
	if r.endpoint == protocol.StreamGenerateContent && hr.URL.Query().Get("alt") != "sse" {
		g.refuse(w, r, attempt, research.ProgramFault, 0, "a stream of generateContent is carried as events alone; ask for it with ?alt=sse, as Google's own clients do")
		return
	}
	if r.Background {
		g.refuse(w, r, attempt, research.ProgramFault, 0, "background responses are billed while nothing counts or records them; leave out `background: true`, and stream the answer if it takes long")
		return
	}
	g.call(w, hr, r, attempt, scope, canonical)
}

func (g *Gateway) call(w http.ResponseWriter, hr *http.Request, r *request, attempt, scope string, canonical []byte) {
	targets, err := g.targets(r)
	if err != nil {
		g.refuse(w, r, attempt, research.ProgramFault, 0, err.Error())
		return
	}
	g.perform(w, hr, r, targets, attempt, scope, canonical)
}

// perform gives a program the answer to its request: out of the record, of the
// call that is under way, or of one that leaves now.
func (g *Gateway) perform(w http.ResponseWriter, hr *http.Request, r *request, targets []target, attempt, scope string, canonical []byte) {
	var err error
	c, done := g.Ledger.Claim(ledger.Key{Scope: scope, Digest: r.digest(canonical)}, attempt, g.Mode != Off)
	done = sync.OnceFunc(done)
	defer done()
	known := g.Ledger.Now(c)
	g.mu.Lock()
	f := g.flights[c.Call]
	stage := g.stage
	g.mu.Unlock()
	switch {
	case known.Answered != nil:
		g.replay(w, hr, c, r, attempt)
		return
	case f != nil:
		f.join()
		defer f.leave()
	case g.Mode == Strict:
		g.refuse(w, r, attempt, research.ProgramFault, 0, "this request is not on record, and the run is played back; `ratchet calls RUN --diff` shows what is nearest to it")
		return
	default:
		var fly func()
		if f, fly, err = g.startCall(hr.Context(), c, r, targets, attempt, stage); err != nil {
			var spent *ledger.BudgetError
			switch {
			case errors.As(err, new(*leakError)):
				g.refuse(w, r, attempt, research.Security, 0, err.Error())
			case errors.As(err, &spent):
				g.refuse(w, r, attempt, research.Quota, 0, err.Error())
				g.Trouble(research.Quota, spent)
			case errors.As(err, new(*unpricedError)), errors.As(err, new(*unboundedError)):
				g.refuse(w, r, attempt, research.ProgramFault, 0, err.Error())
			case hr.Context().Err() == nil:
				g.answerError(w, r.protocol, research.Transient, 0, err.Error())
				g.Warn(err)
			}
			return
		}
		if r.Stream {
			g.work.Go(fly)
		} else if !g.flyFor(hr.Context(), fly, func() { f.leave(); done() }) {
			return
		}
		defer f.leave()
	}
	w.Header().Set("X-Ratchet-Call", c.Call)
	_, err = f.deliver(hr.Context(), w)
	switch {
	case err == nil:
		if g.Ledger.Now(c).Answered != nil {
			if err := g.Ledger.Delivered(c, attempt, false); err != nil {
				g.Warn(err)
			}
		}
	case hr.Context().Err() != nil:
	case errors.Is(err, errCutOff):
		panic(http.ErrAbortHandler) // a stream that ends early must look like it
	default:
		g.answerError(w, r.protocol, research.Transient, 0, err.Error())
	}
}

// flyFor carries a call out of which nothing can be delivered before its end. It
// goes on if its client leaves meanwhile, who may come back to it from then on;
// false then.
func (g *Gateway) flyFor(client context.Context, fly, leave func()) bool {
	stays := context.AfterFunc(client, leave)
	g.work.Add(1)
	defer g.work.Done()
	fly()
	return stays()
}

// replay delivers an answer out of the record.
func (g *Gateway) replay(w http.ResponseWriter, hr *http.Request, c *ledger.Call, r *request, attempt string) {
	a, body, err := g.Ledger.Answer(hr.Context(), c)
	if err != nil {
		g.answerError(w, r.protocol, research.Internal, 0, fmt.Sprintf("the recorded answer of call %s cannot be read: %v", c.Call, err))
		g.Warn(err)
		return
	}
	for name, v := range a.Header {
		w.Header().Set(name, v)
	}
	w.Header().Set("X-Ratchet-Call", c.Call)
	w.Header().Set("X-Ratchet-Replayed", "true")
	if len(body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.Status)
	if _, err := w.Write(body); err != nil {
		return // its client left, and asks again
	}
	if err := g.Ledger.Delivered(c, attempt, true); err != nil {
		g.Warn(err)
	}
}

// refuse answers a call that is not let through, and journals that.
func (g *Gateway) refuse(w http.ResponseWriter, r *request, attempt string, class research.Class, status int, why string) {
	err := g.Ledger.Refuse(ledger.Refused{Attempt: attempt, Model: r.Model, Path: r.target(), Class: class, Why: research.Printable(g.Secrets.Text(why), 500)}, class != research.Security)
	if err != nil {
		g.Warn(err)
	}
	g.answerError(w, r.protocol, class, status, why)
}

func (g *Gateway) answerError(w http.ResponseWriter, p protocol.Name, class research.Class, status int, why string) {
	code, body := protocol.Refusal(p, class, "ratchet: "+why)
	if status != 0 {
		code = status
	}
	w.Header().Set("Content-Type", "application/json")
	if class != research.Transient {
		w.Header().Set("X-Should-Retry", "false")
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) // its client may be gone
}
