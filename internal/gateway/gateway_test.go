package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/breaker"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
	"ratchet/internal/research"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a gateway between a client and a scripted provider, with a journal
// that outlives it.
type bench struct {
	t        *testing.T
	log      journal.Journal
	store    *objects.Store
	settings *provider.Settings
	options  Options
	upstream http.HandlerFunc
	seen     atomic.Int64 // requests that reached the provider

	server   *httptest.Server // the provider
	gateway  *Gateway
	ledger   *ledger.Ledger
	front    *httptest.Server
	mu       sync.Mutex
	troubles []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	store, err := objects.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"} {
		t.Setenv(name, "the-real-key-of-"+strings.ToLower(name))
	}
	b := &bench{t: t, log: journal.NewMemory(), store: store}
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.seen.Add(1)
		b.upstream(w, r)
	}))
	t.Cleanup(b.server.Close)
	for _, name := range []string{"OPENAI", "ANTHROPIC", "DEEPSEEK"} {
		t.Setenv("RATCHET_"+name+"_UPSTREAM", b.server.URL)
	}
	if b.settings, err = provider.DefaultSettings(); err != nil {
		t.Fatal(err)
	}
	b.settings.Linger = time.Minute
	b.options = Options{Run: "r", Settings: b.settings, Deps: breaker.NewDependencies(breaker.DefaultPolicy), Secrets: redact.New("the-real-key-of-openai_api_key"),
		Key: []byte("k"), Mode: Resume, Scope: func(attempt string) string { return strings.Split(attempt, "-a")[0] }}
	b.options.Shared = NewShared(t.TempDir()+"/models.json", time.Now)
	b.start()
	t.Cleanup(b.stop)
	return b
}

// start opens the gateway, as an engine does that was started.
func (b *bench) start() {
	b.t.Helper()
	var err error
	if b.ledger, err = ledger.Open(context.Background(), "r", b.log, b.store, time.Now); err != nil {
		b.t.Fatal(err)
	}
	o := b.options
	o.Ledger, o.Store = b.ledger, b.store
	o.Trouble = func(class research.Class, why error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.troubles = append(b.troubles, fmt.Sprintf("%s: %s", class, why))
	}
	b.gateway = New(o)
	b.front = httptest.NewServer(b.gateway)
}

func (b *bench) stop() {
	if b.front == nil {
		return
	}
	b.front.CloseClientConnections()
	b.gateway.Close()
	b.front.Close()
	b.ledger.Close()
	b.front = nil
}

// restart is a crash and a new engine.
func (b *bench) restart() {
	b.stop()
	b.start()
}

func (b *bench) do(attempt, path, body string) (*http.Response, string, error) {
	b.t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequest(method, b.front.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+Token([]byte("k"), attempt))
	resp, err := b.front.Client().Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func (b *bench) post(attempt, path, body string) (*http.Response, string) {
	b.t.Helper()
	resp, text, err := b.do(attempt, path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, text
}

// chatAnswer is what OpenAI answers, with a number in it.
func chatAnswer(n int64) string {
	return fmt.Sprintf(`{"id":"chatcmpl-%d","object":"chat.completion","created":1,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"answer %d"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`, n, n)
}

func (b *bench) chat(n int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "req-1")
		fmt.Fprint(w, chatAnswer(n))
	}
}

const hello = `{"model": "gpt-4o-mini",  "messages":[{"role":"user","content":"hello"}], "max_tokens": 100}`

func TestACallPassesThroughAndIsRecorded(t *testing.T) {
	var got, key, path string
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, key, path = string(body), r.Header.Get("Authorization"), r.URL.Path
		b.chat(1)(w, r)
	}
	resp, text := b.post("t1-a1", "/v1/chat/completions", hello)
	if resp.StatusCode != 200 || text != chatAnswer(1) || resp.Header.Get("X-Request-Id") != "req-1" {
		t.Errorf("the client got %d %v %s", resp.StatusCode, resp.Header, text)
	}
	if got != hello || key != "Bearer the-real-key-of-openai_api_key" || path != "/v1/chat/completions" {
		t.Errorf("the provider got %s %s %s", path, key, got)
	}
	s := b.ledger.Summary()
	if s.Calls != 1 || s.Answered != 1 || s.Tokens.In != 10 || s.Tokens.Out != 5 || s.Spent.NanoUSD != 10*150+5*600 {
		t.Errorf("the ledger says %+v", s)
	}
	for rec := range b.log.Read(context.Background(), journal.CallsOf("r"), 1) {
		if strings.Contains(string(rec.Payload), "real-key") || strings.Contains(string(rec.Payload), Token([]byte("k"), "t1-a1")) {
			t.Errorf("record %d has a key in it: %s", rec.Seq, rec.Payload)
		}
	}
}

func TestARestartedProgramGetsWhatItPaidFor(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, r *http.Request) { b.chat(b.seen.Load())(w, r) }
	// The same request twice is two calls.
	_, one := b.post("t1-a1", "/v1/chat/completions", hello)
	_, two := b.post("t1-a1", "/v1/chat/completions", hello)
	if one == two {
		t.Fatalf("the second call of an attempt got the answer of the first: %s", two)
	}
	b.restart()
	for i, want := range []string{one, two} {
		resp, text := b.post("t1-a2", "/v1/chat/completions", strings.ReplaceAll(hello, "  ", " "))
		if text != want || resp.Header.Get("X-Ratchet-Replayed") != "true" || resp.Header.Get("X-Request-Id") != "req-1" {
			t.Errorf("call %d of the second attempt got %s %v", i+1, text, resp.Header)
		}
	}
	if b.seen.Load() != 2 {
		t.Errorf("the provider saw %d calls", b.seen.Load())
	}
	if _, three := b.post("t1-a2", "/v1/chat/completions", hello); three != chatAnswer(3) {
		t.Errorf("new ground gave %s", three)
	}
	// Another trial has a record of its own.
	if _, other := b.post("t2-a1", "/v1/chat/completions", hello); other != chatAnswer(4) {
		t.Errorf("another trial got %s", other)
	}
}

// TestDeliveriesShareRecords: answers that are delivered shortly after one
// another are noted together, and none is forgotten.
func TestDeliveriesShareRecords(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(1)
	ask := func(attempt string) {
		for i := range 40 {
			body := fmt.Sprintf(`{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":"%d"}]}`, i)
			if resp, text := b.post(attempt, "/v1/chat/completions", body); resp.StatusCode != http.StatusOK {
				t.Fatal(text)
			}
		}
	}
	ask("t1-a1")
	b.restart()
	sent := b.ledger.Head().Seq
	if again := b.ledger.SummaryOf("t1-a1"); again.Calls != 40 {
		t.Errorf("%+v", again)
	}
	ask("t1-a2")
	b.restart()
	if n := b.ledger.Head().Seq - sent; n < 1 || n > 20 {
		t.Errorf("40 deliveries took %d records", n)
	}
	for _, c := range b.ledger.Calls() {
		if len(c.Delivered) != 2 || c.Again != 1 {
			t.Errorf("call %s was delivered to %v, %d times out of the record", c.Call, c.Delivered, c.Again)
		}
	}
}
