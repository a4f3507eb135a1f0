package gateway

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ratchet/internal/proof"
)

// chunks are a stream of OpenAI's chat completions.
func chunks(words ...string) []string {
	out := []string{`data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"}
	for _, w := range words {
		out = append(out, fmt.Sprintf(`data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`+"\n\n", w))
	}
	return append(out, `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}`+"\n\n", "data: [DONE]\n\n")
}

const streamed = `{"model":"gpt-4o-mini","stream":true,"max_tokens":50,"messages":[{"role":"user","content":"hello"}]}`

func sse(w http.ResponseWriter) func(string) {
	w.Header().Set("Content-Type", "text/event-stream")
	return func(s string) {
		_, _ = io.WriteString(w, s)
		w.(http.Flusher).Flush()
	}
}

// stream begins a streamed call.
func (b *bench) stream(attempt string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, b.front.URL+"/v1/chat/completions", strings.NewReader(streamed))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", Token([]byte("k"), attempt))
	resp, err := b.front.Client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

func TestAStreamIsPassedOnAsItComesAndPlayedBackWhole(t *testing.T) {
	b := newBench(t)
	next := make(chan struct{})
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		say := sse(w)
		for i, c := range chunks("one", "two") {
			if i == 2 {
				<-next // until the client has seen what came before
			}
			say(c)
		}
	}
	want := strings.Join(chunks("one", "two"), "")
	resp := b.stream("t1-a1")
	defer resp.Body.Close()
	first := make([]byte, len(chunks()[0]))
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != chunks()[0] {
		t.Fatalf("the first event was %q, %v", first, err)
	}
	close(next)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(first)+string(rest) != want {
		t.Fatalf("the client got %q, %v", rest, err)
	}
	b.restart()
	again, text := b.post("t1-a2", "/v1/chat/completions", streamed)
	if text != want || again.Header.Get("Content-Type") != "text/event-stream" || b.seen.Load() != 1 {
		t.Errorf("played back: %q, %v, %d calls", text, again.Header, b.seen.Load())
	}
	if s := b.ledger.Summary(); s.Tokens.In != 10 || s.Tokens.Out != 3 {
		t.Errorf("the ledger says %+v", s)
	}
}

// TestAClientThatLeavesComesBackToItsCall: the call goes on without it, and is
// not made twice.
func TestAClientThatLeavesComesBackToItsCall(t *testing.T) {
	b := newBench(t)
	arrived, next := make(chan struct{}), make(chan struct{})
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-next
		b.chat(1)(w, r)
	}
	ctx, leave := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.front.URL+"/v1/chat/completions", strings.NewReader(hello))
	req.Header.Set("X-Api-Key", Token([]byte("k"), "t1-a1"))
	gone := make(chan error, 1)
	go func() {
		resp, err := b.front.Client().Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	<-arrived
	leave()
	if err := <-gone; err == nil {
		t.Fatal("the client was answered")
	}
	eventually(t, "the gateway has noticed", func() bool {
		b.gateway.mu.Lock()
		defer b.gateway.mu.Unlock()
		for _, f := range b.gateway.flights {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.waiting == 0
		}
		return false
	})
	go close(next)
	if _, text := b.post("t1-a1", "/v1/chat/completions", hello); text != chatAnswer(1) || b.seen.Load() != 1 {
		t.Errorf("it got %s, and the provider saw %d calls", text, b.seen.Load())
	}
}

// TestAnEngineThatDiesOverAStreamIsRemembered: until the attempt has asked
// again and got its answer.
func TestAnEngineThatDiesOverAStreamIsRemembered(t *testing.T) {
	b := newBench(t)
	halfway := make(chan struct{})
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		say := sse(w)
		for i, c := range chunks("one", "two") {
			if i == 2 && b.seen.Load() == 1 {
				close(halfway)
				<-r.Context().Done()
				return
			}
			say(c)
		}
	}
	resp := b.stream("t1-a1")
	defer resp.Body.Close()
	<-halfway
	if b.ledger.CutOff("t1-a1") {
		t.Error("a call under way counts as cut off")
	}
	b.restart()
	if !b.ledger.CutOff("t1-a1") || b.ledger.CutOff("t1-a2") {
		t.Error("what was cut off is not remembered, or of another attempt")
	}
	if _, text := b.post("t1-a1", "/v1/chat/completions", streamed); text != strings.Join(chunks("one", "two"), "") {
		t.Errorf("asked again, it got %q", text)
	}
	if b.ledger.CutOff("t1-a1") {
		t.Error("what was answered since counts as cut off")
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !holds(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// TestToxicProviders: what a provider can do wrong. A call that comes right in
// the end is answered once and whole; one that does not is an error that its
// client can tell from an answer.
func TestToxicProviders(t *testing.T) {
	right := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, chatAnswer(7))
	}
	hijack := func(w http.ResponseWriter, text string) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, text)
		if tcp, ok := c.(*net.TCPConn); ok && text == "" {
			_ = tcp.SetLinger(0) // a reset, not an end
		}
		_ = c.Close()
	}
	for _, c := range []struct {
		name  string
		wrong http.HandlerFunc // the first time
		body  string
	}{
		{"a reset", func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") }, hello},
		{"garbage instead of HTTP", func(w http.ResponseWriter, _ *http.Request) { hijack(w, "\x00\xff\xfegarbage\r\n\r\n") }, hello},
		{"garbage instead of JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hi") }, hello},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, chatAnswer(1)[:40]) }, hello},
		{"a wrong length", func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"+chatAnswer(1))
		}, hello},
		{"status 500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"error":{"message":"oops"}}`, 500) }, hello},
		{"status 529", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, 529)
		}, hello},
		{"status 429 with a time", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After-Ms", "20")
			http.Error(w, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`, 429)
		}, hello},
		{"an empty body", func(http.ResponseWriter, *http.Request) {}, hello},
		{"a body that says it is gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, chatAnswer(1))
		}, hello},
		{"a stream that ends before its first event", func(w http.ResponseWriter, _ *http.Request) { sse(w)("data: {\"x") }, streamed},
		{"a stream that begins with an error", func(w http.ResponseWriter, _ *http.Request) {
			sse(w)(`data: {"error":{"message":"The server had an error","type":"server_error"}}` + "\n\n")
		}, streamed},
		{"an answer larger than is allowed", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("x", 100<<10)+`"}`)
		}, hello},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.settings.MaxAnswer = 64 << 10
			b.upstream = func(w http.ResponseWriter, r *http.Request) {
				if b.seen.Load() == 1 {
					c.wrong(w, r)
					return
				}
				if c.body == streamed {
					say := sse(w)
					for _, c := range chunks("x") {
						say(c)
					}
					return
				}
				right(w)
			}
			want := chatAnswer(7)
			if c.body == streamed {
				want = strings.Join(chunks("x"), "")
			}
			resp, text := b.post("t1-a1", "/v1/chat/completions", c.body)
			if resp.StatusCode != 200 || text != want {
				t.Errorf("the client got %d %s", resp.StatusCode, text)
			}
			s := b.ledger.Summary()
			if s.Calls != 1 || s.Answered != 1 || s.Retries != 1 || b.seen.Load() != 2 {
				t.Errorf("the ledger says %+v, the provider saw %d", s, b.seen.Load())
			}
		})
	}
}

// TestAStreamThatBreaksInTheMiddle is seen to be broken: it is not made whole
// out of two answers, nor recorded as one.
func TestAStreamThatBreaksInTheMiddle(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		say := sse(w)
		all := chunks("one", "two")
		if b.seen.Load() == 1 {
			all = all[:2]
		}
		for _, c := range all {
			say(c)
		}
	}
	_, text, err := b.do("t1-a1", "/v1/chat/completions", streamed)
	if err == nil {
		t.Errorf("the client took a part for the whole: %q", text)
	}
	if s := b.ledger.Summary(); s.Answered != 0 || s.Failed != 1 || s.Spent.NanoUSD == 0 {
		t.Errorf("the ledger says %+v", s)
	}
	// Asked again it is the same call, made anew.
	if _, text := b.post("t1-a1", "/v1/chat/completions", streamed); text != strings.Join(chunks("one", "two"), "") {
		t.Errorf("the second time the client got %q", text)
	}
	if calls := b.ledger.Calls(); len(calls) != 1 {
		t.Errorf("there are %d calls", len(calls))
	}
}

func TestGzipIsReadAndPassedOn(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, chatAnswer(3))
		_ = z.Close()
	}
	for _, attempt := range []string{"t1-a1", "t1-a2"} { // the second out of the record
		if _, text := b.post(attempt, "/v1/chat/completions", hello); text != chatAnswer(3) {
			t.Errorf("%s got %q", attempt, text)
		}
	}
	if s := b.ledger.Summary(); s.Tokens.Out != 5 || b.seen.Load() != 1 {
		t.Errorf("the ledger says %+v", s)
	}
}

// TestLargeBodies: bodies of 8 MiB, and in the proof of 100 MiB, go through whole,
// both ways, and lie beside the journal.
func TestLargeBodies(t *testing.T) {
	b := newBench(t)
	b.settings.MaxRequest, b.settings.MaxAnswer = 128<<20, 128<<20
	large := strings.Repeat("0123456789abcdef", proof.Of(8, 100)<<20/16)
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, `{"n":%d,"usage":{"prompt_tokens":1,"completion_tokens":1},"x":"%s"}`, n, large)
	}
	body := `{"model":"ollama/x","messages":[{"role":"user","content":"` + large + `"}]}`
	b.settings.Providers["ollama"].URL = b.server.URL
	want := fmt.Sprintf(`{"n":%d,`, len(body)-len("ollama/"))
	for _, attempt := range []string{"t1-a1", "t1-a2"} {
		if _, text := b.post(attempt, "/v1/chat/completions", body); len(text) < len(large) || text[:len(want)] != want {
			t.Errorf("%s got %d bytes, %.60s", attempt, len(text), text)
		}
	}
	b.settings.MaxRequest = 1 << 20
	if resp, text := b.post("t1-a1", "/v1/chat/completions", body); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large a request got %d %s", resp.StatusCode, text)
	}
}

// TestASlowDripIsBrokenOff when nothing comes for models.stall.
func TestASlowDripIsBrokenOff(t *testing.T) {
	b := newBench(t)
	b.settings.Stall, b.settings.Retries = 50*time.Millisecond, 0
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		sse(w)(chunks()[0])
		<-r.Context().Done()
	}
	if resp, text, err := b.do("t1-a1", "/v1/chat/completions", streamed); err == nil && resp.StatusCode == http.StatusOK {
		t.Errorf("the client got %q as if it were whole", text)
	}
	calls := b.ledger.Calls()
	if len(calls) != 1 || calls[0].Failed == nil || !strings.Contains(calls[0].Failed.Why, "models.stall") {
		t.Errorf("the ledger says %+v", calls)
	}
}

// TestHedging: a call that is slow is made once more beside; the first that
// answers counts, and both are counted.
func TestHedging(t *testing.T) {
	b := newBench(t)
	b.settings.Hedge = 20 * time.Millisecond
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that its client leaves
		if b.seen.Load() == 1 {
			<-r.Context().Done()
			return
		}
		b.chat(2)(w, r)
	}
	b.restart()
	if _, text := b.post("t1-a1", "/v1/chat/completions", hello); text != chatAnswer(2) {
		t.Errorf("it got %s", text)
	}
	if s := b.ledger.Summary(); b.seen.Load() != 2 || s.Answered != 1 || s.Spent.Tokens != 2*15 || s.Spent.Calls != 2 {
		t.Errorf("the provider saw %d, the ledger says %+v", b.seen.Load(), s)
	}
}
