package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ratchet/internal/journal"
)

// TestWhatIsNotLetThrough: without a token, with another's, to another place, to
// a model that the study does not allow, or with a secret in it.
func TestWhatIsNotLetThrough(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(1)
	b.options.Allow = []string{"openai/gpt-4o*", "anthropic/*"}
	b.settings.Secrets = []*regexp.Regexp{regexp.MustCompile(`PROJECT-\d+`)}
	b.restart()
	for _, c := range []struct {
		name, path, body, token string
		status                  int
		says                    string
	}{
		{"no token", "/v1/chat/completions", hello, "", 401, "not a token"},
		{"a made-up token", "/v1/chat/completions", hello, "ratchet-t1-a1.00000000000000000000000000000000", 401, "not a token"},
		{"a token of another run", "/v1/chat/completions", hello, Token([]byte("another"), "t1-a1"), 401, "not a token"},
		{"a token for another attempt", "/v1/chat/completions", hello, strings.Replace(Token([]byte("k"), "t1-a1"), "t1-a1", "t2-a1", 1), 401, "not a token"},
		{"the real key", "/v1/chat/completions", hello, "the-real-key-of-openai_api_key", 401, "not a token"},
		{"an endpoint that cannot be counted", "/v1/files", hello, "ok", 404, "does not carry"},
		{"a way out of the paths", "/v1/../../admin/chat/completions", hello, "ok", 404, ""},
		{"another model", "/v1/chat/completions", strings.ReplaceAll(hello, "gpt-4o-mini", "o3"), "ok", 400, "does not allow openai/o3"},
		{"another provider", "/v1/chat/completions", strings.ReplaceAll(hello, "gpt-4o-mini", "deepseek/deepseek-chat"), "ok", 400, "does not allow deepseek"},
		{"a key in the prompt", "/v1/chat/completions", strings.ReplaceAll(hello, "hello", "my key is sk-proj-abcdefghijklmnop1234567890"), "ok", 403, "API key"},
		{"this machine's own key in the prompt", "/v1/chat/completions", strings.ReplaceAll(hello, "hello", "the-real-key-of-openai_api_key"), "ok", 403, "must not leave"},
		{"what the settings forbid", "/v1/chat/completions", strings.ReplaceAll(hello, "hello", "about PROJECT-77"), "ok", 403, "must not leave"},
		{"no JSON", "/v1/chat/completions", "hello", "ok", 400, "not a JSON object"},
		{"two models", "/v1/chat/completions", `{"model":"gpt-4o","model":"o3","messages":[]}`, "ok", 400, "twice"},
		{"no model", "/v1/chat/completions", `{"messages":[]}`, "ok", 400, "names no model"},
	} {
		req, err := http.NewRequest(http.MethodPost, b.front.URL, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path = c.path
		if c.token == "ok" {
			c.token = Token([]byte("k"), "t1-a1")
		}
		req.Header.Set("Authorization", "Bearer "+c.token)
		resp, err := b.front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %d %s", c.name, resp.StatusCode, text)
		}
	}
	if b.seen.Load() != 0 {
		t.Errorf("the provider saw %d calls", b.seen.Load())
	}
	b.restart()
	if n := len(b.ledger.Refused()); n < 6 {
		t.Errorf("%d refusals are on record", n)
	}
	for rec := range b.log.Read(context.Background(), journal.CallsOf("r"), 1) {
		if strings.Contains(string(rec.Payload), "sk-proj") || strings.Contains(string(rec.Payload), "real-key") {
			t.Errorf("a secret is on record: %s", rec.Payload)
		}
	}
}

// TestNobodyIsSentElsewhere: an answer that names another place is passed on, and
// that place sees neither the question nor the key.
func TestNobodyIsSentElsewhere(t *testing.T) {
	b := newBench(t)
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		b.upstream = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/v1/chat/completions", status)
		}
		req, err := http.NewRequest(http.MethodPost, b.front.URL+"/v1/chat/completions", strings.NewReader(strings.ReplaceAll(hello, "hello", fmt.Sprint(status))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+Token([]byte("k"), "t1-a1"))
		resp, err := b.front.Client().Transport.RoundTrip(req) // a client that does not follow
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%d becomes %d", status, resp.StatusCode)
		}
	}
	if b.seen.Load() == 0 || elsewhere.Load() != 0 {
		t.Errorf("the provider was asked %d times, the other place %d times", b.seen.Load(), elsewhere.Load())
	}
}

// TestNoRequestHidesInAnother: where two readings of a request's length are
// possible, there is no second request in it that went unseen: each that reaches
// the provider was checked and is on record.
func TestNoRequestHidesInAnother(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer the-real-key-of-openai_api_key" {
			t.Errorf("it got %s %s with %v", r.Method, r.URL, r.Header)
		}
		b.chat(1)(w, r)
	}
	hidden := "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer stolen\r\nContent-Length: 0\r\n\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hello), hello)
	for _, c := range []struct{ headers, body string }{
		{fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(chunked)), chunked + hidden},
		{"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", chunked + hidden},
		{"Transfer-Encoding: xchunked\r\nContent-Length: " + fmt.Sprint(len(hello)) + "\r\n", hello + hidden},
		{"Transfer-Encoding : chunked\r\n", chunked + hidden},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", chunked + hidden},
		{fmt.Sprintf("Content-Length: %d\r\nContent-Length: %d\r\n", len(hello), len(hello)+len(hidden)), hello + hidden},
		{fmt.Sprintf("Content-Length: +%d\r\n", len(hello)), hello + hidden},
		{fmt.Sprintf("Content-Length: %d\r\nX-A: b\r\n Content-Length: 0\r\n", len(hello)), hello + hidden},
		{fmt.Sprintf("Content-Length: %d\r\n", len(hello)+len(hidden)), hello + hidden},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.front.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n%s", Token([]byte("k"), "t1-a1"), c.headers, c.body)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answers, _ := io.ReadAll(conn)
		conn.Close()
		if strings.Count(string(answers), "HTTP/1.1 200") > 1 {
			t.Errorf("%q: %s", c.headers, answers)
		}
	}
	if n := len(b.ledger.Calls()); n != int(b.seen.Load()) || n == 0 {
		t.Errorf("%d calls reached the provider, %d are on record", b.seen.Load(), n)
	}
}

// TestWhatMakesARequestAnother: the order of keys, spaces and names of users do
// not; a word, a header or a model does; and rules can say more.
func TestWhatMakesARequestAnother(t *testing.T) {
	digest := func(body string, rules Rules, header ...string) string {
		u, _ := url.Parse("/v1/chat/completions")
		r, err := parseTarget(http.MethodPost, u, func(string) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		r.header = http.Header{}
		for i := 0; i < len(header); i += 2 {
			r.header.Set(header[i], header[i+1])
		}
		canonical, err := r.read([]byte(body), rules, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.digest(canonical)
	}
	base := digest(`{"model":"m","messages":[{"role":"user","content":"at 12:00 in /tmp/x1"}],"temperature":1.0}`, Rules{})
	same := []string{
		digest(`{"temperature":1.0,  "messages":[{"content":"at 12:00 in /tmp/x1","role":"user"}],"model":"m"}`, Rules{}, "X-Stainless-Retry-Count", "1"),
		digest(`{"user":"me","metadata":{"user_id":"u"},"model":"m","messages":[{"role":"user","content":"at 12:00 in \u002ftmp/x1"}],"temperature":1.0}`, Rules{}),
	}
	other := []string{
		digest(`{"model":"m","messages":[{"role":"user","content":"at 12:01 in /tmp/x1"}],"temperature":1.0}`, Rules{}),
		digest(`{"model":"n","messages":[{"role":"user","content":"at 12:00 in /tmp/x1"}],"temperature":1.0}`, Rules{}),
		digest(`{"model":"m","messages":[{"role":"user","content":"at 12:00 in /tmp/x1"}],"temperature":1.0}`, Rules{}, "Anthropic-Beta", "x"),
		digest(`{"model":"m","messages":[{"role":"user","content":"at 12:00 in /tmp/x1"}],"temperature":1}`, Rules{}),
	}
	for i, s := range same {
		if s != base {
			t.Errorf("request %d of the same is another", i)
		}
	}
	for i, s := range other {
		if s == base {
			t.Errorf("request %d of the others is the same", i)
		}
	}
	rules := Rules{Fields: []string{"/messages/*/id"}, Text: []*regexp.Regexp{regexp.MustCompile(`/tmp/\w+`)}}
	form := `{"model":"m","messages":[{"role":"user","content":"in %s","id":%d}]}`
	if digest(fmt.Sprintf(form, "/tmp/a", 1), rules) != digest(fmt.Sprintf(form, "/tmp/b", 2), rules) {
		t.Error("rules say that these are the same")
	}
	if digest(fmt.Sprintf(form, "/tmp/a", 1), rules) == digest(fmt.Sprintf(form, "/var/b", 1), rules) {
		t.Error("rules say too much")
	}
}

func TestDiffsSayWhatIsNew(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, r *http.Request) { b.chat(b.seen.Load())(w, r) }
	ask := func(attempt, text string) {
		b.post(attempt, "/v1/chat/completions", fmt.Sprintf(`{"model":"gpt-4o-mini","max_tokens":9,"messages":[{"role":"user","content":%q}]}`, text))
	}
	ask("t1-a1", "same")
	ask("t1-a1", "the file is /tmp/abc.txt")
	ask("t1-a2", "same")
	ask("t1-a2", "the file is /tmp/xyz.txt")
	diffs, err := b.ledger.Diffs(context.Background(), nil)
	if err != nil || len(diffs) != 1 {
		t.Fatalf("%+v, %v", diffs, err)
	}
	d := diffs[0]
	if d.Call != "c000003" || d.Nearest != "c000002" || len(d.Changes) != 1 || d.Changes[0].At != "/messages/0/content" || !strings.Contains(d.Changes[0].Is, "xyz") {
		t.Errorf("%+v", d)
	}
}

func TestStrictReplaySendsNothing(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(1)
	b.post("t1-a1", "/v1/chat/completions", hello)
	b.options.Mode = Strict
	b.restart()
	if _, text := b.post("t1-a2", "/v1/chat/completions", hello); text != chatAnswer(1) {
		t.Errorf("on record: %s", text)
	}
	if resp, text := b.post("t1-a2", "/v1/chat/completions", hello); resp.StatusCode != 400 || !strings.Contains(text, "not on record") || b.seen.Load() != 1 {
		t.Errorf("new ground: %d %s", resp.StatusCode, text)
	}
	b.options.Mode = Off
	b.restart()
	if _, text := b.post("t1-a3", "/v1/chat/completions", hello); text != chatAnswer(1) || b.seen.Load() != 2 {
		t.Errorf("without replay: %s, %d calls", text, b.seen.Load())
	}
}

// TestRequestsOfUnknownLengthAreMany: what does not say how long it is takes the
// room of the longest only until it was read.
func TestRequestsOfUnknownLengthAreMany(t *testing.T) {
	b := newBench(t)
	const many = 3 * mostBodies / (64 << 20)
	var arrived sync.WaitGroup
	arrived.Add(many)
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		arrived.Done()
		arrived.Wait() // until all are there
		b.chat(1)(w, r)
	}
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			body := strings.Replace(hello, "hello", fmt.Sprint(i), 1)
			req, err := http.NewRequest(http.MethodPost, b.front.URL+"/v1/chat/completions", io.MultiReader(strings.NewReader(body)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("X-Api-Key", Token([]byte("k"), "t1-a1"))
			resp, err := b.front.Client().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != chatAnswer(1) {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
	all.Wait()
}
