package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ratchet/internal/breaker"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/journal"
	"ratchet/internal/redact"
)

// TestKeysDoNotComeBack: a provider that repeats what it was sent gives a
// program no key, and the record none.
func TestKeysDoNotComeBack(t *testing.T) {
	const key = "a/key-that+nobody=knows-0123"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	echo := func(as func(string) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			sent := as(r.Header.Get("Authorization"))
			w.Header().Set("X-Echo", r.Header.Get("Authorization"))
			if strings.Contains(string(body), `"stream":true`) {
				w.Header().Set("Content-Type", "text/event-stream")
				flush := func(parts ...string) {
					for _, p := range parts {
						fmt.Fprint(w, p)
						w.(http.Flusher).Flush()
					}
				}
				half := len(sent) / 2
				flush(`data: {"choices":[{"delta":{"content":"you sent `, sent[:half], sent[half:], `"}}]}`, "\n\n",
					`data: {"choices":[{"delta":{},"finish_reason":"stop"}],"echo":"`, sent, `"}`, "\n\n", "data: [DONE]\n\n", ": ", sent, "\n\n")
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if strings.Contains(string(body), "refuse") {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"error":{"message":"bad request with %s"}}`, sent)
				return
			}
			fmt.Fprint(w, strings.Replace(chatAnswer(1), "answer 1", "you sent "+sent, 1))
		}
	}
	for name, as := range map[string]func(string) string{
		"plain": func(s string) string { return s },
		"JSON":  func(s string) string { return strings.ReplaceAll(s, "/", `\/`) },
		"URL":   strings.NewReplacer("/", "%2F", "+", "%2B", "=", "%3D").Replace,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.upstream = echo(as)
			b.settings.Providers["openai"].Key = provider.KeySource{File: file}
			b.options.Secrets = redact.New() // it does not know the key
			b.options.Deps = breaker.NewDependencies(breaker.DefaultPolicy)
			b.restart()
			clean := func(what, text string) {
				t.Helper()
				if strings.Contains(text, key) || strings.Contains(text, as(key)) || strings.Contains(text, "nobody") {
					t.Errorf("%s has the key: %s", what, text)
				}
			}
			for _, body := range []string{hello, strings.Replace(hello, "{", `{"stream":true,`, 1), strings.Replace(hello, "hello", "refuse", 1)} {
				for range 2 { // from the provider, and out of the record
					resp, text := b.post("t1-a1", "/v1/chat/completions", body)
					clean("the answer", text)
					clean("a header", fmt.Sprint(resp.Header))
					if !strings.Contains(text, "[redacted]") {
						t.Errorf("what came was %d %s", resp.StatusCode, text)
					}
				}
			}
			for rec := range b.log.Read(context.Background(), journal.CallsOf("r"), 1) {
				clean("record "+rec.Type, string(rec.Payload))
			}
			for d, err := range b.store.All() {
				if err != nil {
					t.Fatal(err)
				}
				content, err := b.store.Get(d)
				if err != nil {
					t.Fatal(err)
				}
				clean("an object", string(content))
			}
		})
	}
}

// TestSecretsInDisguise: a secret is found wherever in a request it is, as who
// reads it understands it.
func TestSecretsInDisguise(t *testing.T) {
	const key = "the-real-key-of-openai_api_key"
	b := newBench(t)
	b.upstream = b.chat(1)
	for name, c := range map[string]struct{ path, body, header string }{
		"an escape":             {"/v1/chat/completions", strings.Replace(hello, "hello", `the-real-k\u0065y-of-openai_api_key`, 1), ""},
		"many escapes":          {"/v1/chat/completions", strings.Replace(hello, "hello", `\u0073k-proj-abcd\u0065fghijklmnop1234567890`, 1), ""},
		"an escape in a name":   {"/v1/chat/completions", strings.Replace(hello, "{", `{"the-real-k\u0065y-of-openai_api_key":1,`, 1), ""},
		"an escaped slash":      {"/v1/chat/completions", strings.Replace(hello, "hello", `https:\/\/hooks.slack.com\/services\/T00000000\/B00000000\/abcdefghijklmnop`, 1), ""},
		"a header":              {"/v1/chat/completions", hello, key},
		"the query":             {"/v1/chat/completions?x=" + key, hello, ""},
		"the query, escaped":    {"/v1/chat/completions?x=the-real-k%65y-of-openai_api_key", hello, ""},
		"a deployment's path":   {"/p/openai/deployments/" + key + "/chat/completions", hello, ""},
		"a second content part": {"/v1/chat/completions", strings.Replace(hello, `"hello"`, `[{"type":"text","text":"a"},{"type":"text","text":"the-real-key-of-open\u0061i_api_key"}]`, 1), ""},
	} {
		req, err := http.NewRequest(http.MethodPost, b.front.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+Token([]byte("k"), "t1-a1"))
		if c.header != "" {
			req.Header.Set("X-Stainless-Lang", c.header)
		}
		resp, err := b.front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	if b.seen.Load() != 0 {
		t.Errorf("the provider saw %d calls", b.seen.Load())
	}
}

// TestHeadersOfAClient: a provider gets those that say what is asked.
func TestHeadersOfAClient(t *testing.T) {
	b := newBench(t)
	var got http.Header
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		b.chat(1)(w, r)
	}
	req, err := http.NewRequest(http.MethodPost, b.front.URL+"/v1/chat/completions", strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+Token([]byte("k"), "t1-a1"))
	passes := []string{"User-Agent", "X-Stainless-Lang", "Openai-Beta", "Idempotency-Key"}
	stays := []string{"X-Forwarded-Host", "X-Forwarded-For", "Openai-Organization", "Openai-Project", "X-Http-Method-Override", "Cookie", "X-Api-Key", "Api-Key", "X-Any", "X-Original-Url", "Forwarded", "Origin"}
	for _, name := range append(passes, stays...) {
		req.Header.Set(name, "said")
	}
	resp, err := b.front.Client().Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	for _, name := range passes {
		if got.Get(name) != "said" {
			t.Errorf("%s did not pass", name)
		}
	}
	for _, name := range stays {
		if got.Get(name) != "" {
			t.Errorf("%s passed: %q", name, got.Get(name))
		}
	}
}
