package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"ratchet/internal/breaker"
	"ratchet/internal/failure"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/redact"
	"ratchet/internal/research"
)

// upstream sends calls to providers: within their limits, again where that is
// safe, and to the next where one does not answer. It is safe for concurrent
// use.
type upstream struct {
	settings *provider.Settings
	client   *http.Client // of providers, where the user's settings lead
	web      *http.Client // of what programs fetch
	deps     *breaker.Dependencies
	shared   *Shared

	mu    sync.Mutex
	slots map[string]chan struct{} // by provider: calls at the same time
	known *redact.Redactor         // has the real keys
}

func newUpstream(s *provider.Settings, deps *breaker.Dependencies, shared *Shared, tools Tools, secrets *redact.Redactor) *upstream {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 512, 256
	t.DisableCompression = true // bytes are passed on as they come
	t.ReadBufferSize = 32 << 10
	u := &upstream{settings: s, deps: deps, shared: shared, slots: map[string]chan struct{}{}, known: secrets}
	stay := func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a key must not follow anybody elsewhere
	}
	u.client = &http.Client{Transport: t, CheckRedirect: stay}
	u.web = &http.Client{Transport: tools.transport(), CheckRedirect: stay}
	for name, p := range s.Providers {
		u.slots[name] = make(chan struct{}, max(1, p.Concurrency))
	}
	return u
}

// slotsOf are the places for calls of a provider at the same time.
func (u *upstream) slotsOf(p *provider.Provider) chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.slots[p.Name] == nil {
		u.slots[p.Name] = make(chan struct{}, max(provider.DefaultConcurrency, p.Concurrency))
	}
	return u.slots[p.Name]
}

// dependencyOf is what a provider's breaker is called.
func dependencyOf(p *provider.Provider) string {
	if p.Protocol == web {
		return "host " + p.Name
	}
	return "model provider " + p.Name
}

func (u *upstream) close() {
	u.client.CloseIdleConnections()
	u.web.CloseIdleConnections()
}

// knows notes a key, and gives what takes all real keys that were used out of
// what comes back: a provider may repeat what it was sent.
func (u *upstream) knows(key string) *redact.Redactor {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known = u.known.With(key)
	return u.known
}

// answer is what came of a call.
type answer struct {
	target  target
	status  int
	header  http.Header
	body    []byte
	first   time.Duration // until its first byte
	use     protocol.TokenUse
	retries []ledger.Retry
	// What ended it without an answer that counts; the provider's own words are
	// in status and body where it said any.
	class  research.Class
	why    string
	begun  bool // a part of a stream was delivered before it broke
	beside bool // it was sent twice, and this is the first that answered
	leaves bool // the client is gone, and nothing was under way
}

// How long it is waited before a call is made again: full jitter, as in
// "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
	mostWait     = 15 * time.Minute // that a call waits for
	mostHold     = 48 * time.Hour   // that a server may ask not to be asked for
)

// send carries a call out: it asks the targets in turn until one has answered
// for good. f is told of a stream as it comes.
func (u *upstream) send(ctx context.Context, r *request, targets []target, f *flight) (a answer) {
	began := time.Now()
	var retries []ledger.Retry
	for i, t := range targets {
		for try := 0; ; try++ {
			a = u.try(ctx, r, t, f, began)
			a.retries = retries
			again := a.class == research.Transient || a.class == research.RateLimited || a.class == research.Timeout
			if a.class == research.Succeeded || a.begun || a.leaves || ctx.Err() != nil || a.class == research.ProgramFault {
				return a
			}
			most := u.settings.Retries
			if a.class == research.RateLimited {
				most *= 3 // nothing is wrong but the moment
			}
			if r.endpoint == tool && r.method != http.MethodGet && r.method != http.MethodHead {
				most = 0 // its effect is unknown
			}
			if i+1 < len(targets) {
				most = min(most, 1) // the next may answer at once
			}
			tried := ledger.Retry{Provider: t.name(), Class: a.class, Why: a.why}
			if !again || try >= most {
				if i+1 < len(targets) {
					retries = append(retries, tried)
				}
				break
			}
			wait := a.wait(try)
			if wait > mostWait {
				break
			}
			tried.Wait = wait.Seconds()
			retries = append(retries, tried)
			if !f.patient(ctx, wait) {
				a.leaves = true
				return a
			}
		}
	}
	return a
}

// patient waits, as long as a client waits for the flight; false: none does.
func (f *flight) patient(ctx context.Context, wait time.Duration) bool {
	end := time.After(wait)
	for {
		f.mu.Lock()
		alone, changed := f.waiting == 0, f.changed
		f.mu.Unlock()
		if alone {
			return false
		}
		select {
		case <-end:
			return true
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// wait is how long to wait after this answer: what the server says, or ever
// longer.
func (a answer) wait(try int) time.Duration {
	if s := retryAfter(a.header); s > 0 {
		return s
	}
	if v := failure.Answer(a.status, 0, string(a.body)); v.Wait > 0 {
		return time.Duration(v.Wait * float64(time.Second))
	}
	return rand.N(min(backoffMost, backoffFirst<<min(try, 10)) + 1)
}

// try asks one target once.
func (u *upstream) try(ctx context.Context, r *request, t target, f *flight, began time.Time) (a answer) {
	a.target = t
	failed := func(class research.Class, why string) answer {
		a.class, a.why = class, why
		return a
	}
	err := u.shared.enter(ctx, t.provider, t.model, r.In/4) // four bytes are a token, about
	if held, ok := errors.AsType[*heldError](err); ok {
		a.status = http.StatusTooManyRequests
		a.header = http.Header{"Retry-After": {strconv.Itoa(int(held.wait.Seconds()) + 1)}, "Content-Type": {"application/json"}}
		_, a.body = protocol.Refusal(r.protocol, research.RateLimited, "ratchet: "+held.Error())
		return failed(research.RateLimited, held.Error())
	}
	if err != nil {
		return failed(research.Internal, err.Error())
	}
	slots := u.slotsOf(t.provider)
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return failed(research.Transient, "the gateway is closing")
	}
	err = u.deps.Of(dependencyOf(t.provider)).Do(ctx, 0, func(ctx context.Context) error {
		return u.ask(ctx, r, t, f, began, &a)
	})
	var open *breaker.OpenError
	var noKey *provider.NoKeyError
	switch {
	case errors.As(err, &open):
		a.header = http.Header{"Retry-After": {strconv.FormatFloat(open.For.Seconds()+0.001, 'f', 3, 64)}}
		return failed(research.Transient, err.Error())
	case errors.As(err, &noKey):
		return failed(research.Auth, err.Error())
	case err != nil && a.class == "":
		class := failure.ClassOf(err)
		if class != research.Timeout {
			class = research.Transient
		}
		return failed(class, err.Error())
	}
	return a
}

// ask makes one request and reads its answer. The error is what the provider's
// breaker is to know of: that it does not answer.
func (u *upstream) ask(ctx context.Context, r *request, t target, f *flight, began time.Time, a *answer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, convert, err := r.outgoing(ctx, t)
	if err != nil {
		a.class, a.why = research.ProgramFault, err.Error()
		var noKey *provider.NoKeyError
		if errors.As(err, &noKey) {
			a.class = research.Auth
		}
		return nil
	}
	watch := time.AfterFunc(u.settings.Timeout, func() {
		cancel(fmt.Errorf("nothing came for longer than models.timeout (%s, of the first byte) or models.stall (%s) allow", u.settings.Timeout, u.settings.Stall))
	})
	defer watch.Stop()
	fail := func(err error) error {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		a.class, a.why = research.Transient, err.Error()
		return err
	}
	client := u.client
	if r.protocol == web {
		client = u.web
	}
	key, _ := t.provider.Secret() // there is one, or outgoing had failed
	keys := u.knows(key)
	resp, err := client.Do(req)
	if errors.As(err, new(*closedError)) {
		a.class, a.why = research.ProgramFault, err.Error()
		return nil
	}
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	for _, values := range resp.Header {
		for i, v := range values {
			values[i] = string(keys.Known([]byte(v)))
		}
	}
	a.status, a.header = resp.StatusCode, resp.Header
	u.obey(t, resp.Header)
	streaming := r.Stream && resp.StatusCode == http.StatusOK && streams(resp.Header) && convert == nil
	if streaming {
		return u.stream(r, t, resp, f, began, watch, a, fail, keys)
	}
	body, err := u.readAll(resp, watch, began, a)
	if err != nil {
		return fail(err)
	}
	a.body = keys.Known(body)
	return u.judge(r, t, convert, a)
}

// streams reports whether an answer is a stream of events.
func streams(h http.Header) bool {
	kind := h.Get("Content-Type")
	return strings.HasPrefix(kind, "text/event-stream") || strings.HasPrefix(kind, "application/x-ndjson")
}

// chunkPool has room for parts of answers.
var chunkPool = sync.Pool{New: func() any {
	b := make([]byte, 32<<10)
	return &b
}}

// readAll reads an answer that is no stream, up to the largest that is allowed.
func (u *upstream) readAll(resp *http.Response, watch *time.Timer, began time.Time, a *answer) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= 32<<10 { // what says that it is larger may not be
		b.Grow(int(n))
	}
	room := chunkPool.Get().(*[]byte)
	defer chunkPool.Put(room)
	chunk := *room
	for {
		n, err := resp.Body.Read(chunk)
		if n > 0 {
			if b.Len() == 0 {
				a.first = time.Since(began)
			}
			watch.Reset(u.settings.Stall)
			b.Write(chunk[:n])
		}
		switch {
		case int64(b.Len()) > u.settings.MaxAnswer:
			return nil, fmt.Errorf("the answer is larger than models.max_answer, %d bytes", u.settings.MaxAnswer)
		case errors.Is(err, io.EOF):
			return b.Bytes(), nil
		case err != nil:
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
	}
}
