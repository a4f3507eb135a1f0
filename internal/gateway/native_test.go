package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"ratchet/internal/gateway/ledger"
)

const (
	candidate = `{"candidates":[{"content":{"parts":[{"text":"hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"thoughtsTokenCount":30,"cachedContentTokenCount":40}}`
	asked     = `{"contents":[{"parts":[{"text":"hello"}]}]}`
)

// TestGeminisOwnProtocol: the model is in the path, the key in a header or in the query,
// thoughts are paid for, and a stream is recorded before its end is delivered.
func TestGeminisOwnProtocol(t *testing.T) {
	b := newBench(t)
	t.Setenv("GEMINI_API_KEY", "the-real-key-of-gemini_api_key")
	b.settings.Providers["gemini"].URL = b.server.URL + "/v1beta/openai"
	b.settings.Aliases["small"] = []string{"gemini/gemini-2.5-flash"}
	b.settings.MaxOutput = 1000
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("X-Goog-Api-Key") != "the-real-key-of-gemini_api_key" || r.Header.Get("Authorization") != "" || r.URL.Query().Has("key"):
			http.Error(w, `{"error":{"code":401,"message":"wrong key"}}`, http.StatusUnauthorized)
		case !strings.Contains(string(body), `"maxOutputTokens":1000`):
			http.Error(w, `{"error":{"code":400,"message":"without a bound"}}`, http.StatusBadRequest)
		case r.URL.Path == "/v1beta/models/gemini-2.5-flash:generateContent":
			_, _ = io.WriteString(w, candidate)
		case r.URL.Path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent" && r.URL.RawQuery == "alt=sse":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hel\"}]}}]}\r\n\r\ndata: "+candidate+"\r\n\r\n")
		default:
			http.Error(w, `{"error":{"code":404,"message":"`+r.URL.String()+`"}}`, http.StatusNotFound)
		}
	}
	for _, path := range []string{
		"/v1beta/models/gemini-2.5-flash:generateContent", "/v1beta/models/small:generateContent", "/p/gemini/v1beta/models/gemini-2.5-flash:generateContent",
		"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
		"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key=" + Token(b.options.Key, "t1-a1"),
	} {
		resp, text := b.post("t1-a1", path, asked)
		if resp.StatusCode != http.StatusOK || !strings.Contains(text, `"STOP"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	calls := b.ledger.Calls()
	want := ledger.Tokens{In: 100, Out: 50, CacheRead: 40, Reasoning: 30}
	for _, c := range calls {
		if c.Answered == nil || c.Answered.Tokens != want || c.Answered.Model != "gemini-2.5-flash" || c.Answered.Spent.NanoUSD == 0 || c.Reserved.NanoUSD < c.Answered.Spent.NanoUSD {
			t.Errorf("on record is %+v of %+v", c.Answered, c.Sent)
		}
		if strings.Contains(c.Path, "key=") {
			t.Errorf("a token is on record: %s", c.Path)
		}
	}
	seen := b.seen.Load()
	if _, text := b.post("t1-a2", "/v1beta/models/gemini-2.5-flash:generateContent", asked); text != candidate || b.seen.Load() != seen {
		t.Errorf("a new attempt got %s, and the provider %d more calls", text, b.seen.Load()-seen)
	}
	for path, says := range map[string]string{
		"/v1beta/models/gemini-2.5-flash:streamGenerateContent":                      "alt=sse",
		"/v1/projects/p/locations/l/publishers/google/models/gemini:generateContent": "Vertex",
		"/model/anthropic.claude/invoke":                                             "Bedrock",
		"/v1beta/files":                                                              "batches and files",
		"/v1/batches":                                                                "batches and files",
		"/v1beta/models/gemini-2.5-flash:predictLongRunning":                         "does not carry",
	} {
		if resp, text := b.post("t1-a1", path, asked); resp.StatusCode < 400 || !strings.Contains(text, says) || b.seen.Load() != seen {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	b.options.Budgets.Run = ledger.Budget{Name: "limits.run", Tokens: 1 << 40}
	b.restart()
	search := strings.Replace(asked, "{", `{"tools":[{"functionDeclarations":[]},{"googleSearch":{}}],`, 1)
	if resp, text := b.post("t1-a1", "/v1beta/models/gemini-2.5-flash:generateContent", search); resp.StatusCode != 400 || !strings.Contains(text, "googleSearch") || !strings.Contains(text, `"INVALID_ARGUMENT"`) {
		t.Errorf("a tool of the provider's: %d %s", resp.StatusCode, text)
	}
}

// TestOllamasOwnProtocol: lines are a stream's events, a client without a key has its
// token in the path, and nothing costs money.
func TestOllamasOwnProtocol(t *testing.T) {
	b := newBench(t)
	b.settings.Providers["ollama"].URL = b.server.URL + "/v1"
	broken := false
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/version":
			_, _ = io.WriteString(w, `{"version":"0.20.0"}`)
		case "/api/chat":
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, `{"message":{"content":"hel"},"done":false}`+"\n"+`{"message":{"content":"lo"},"done":false}`+"\n")
			if !broken {
				_, _ = io.WriteString(w, `{"message":{"content":""},"done":true,"prompt_eval_count":7,"eval_count":2}`+"\n")
			}
		default:
			http.Error(w, "{}", http.StatusNotFound)
		}
	}
	ask := func(attempt, path, body string) (int, string) {
		t.Helper()
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		req, err := http.NewRequest(method, b.front.URL+"/t/"+Token(b.options.Key, attempt)+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	if status, text := ask("t1-a1", "/api/version", ""); status != 200 || !strings.Contains(text, "0.20.0") {
		t.Errorf("the version is %d %s", status, text)
	}
	body := `{"model":"llama3","messages":[{"role":"user","content":"hello"}]}`
	for _, attempt := range []string{"t1-a1", "t1-a2"} {
		if status, text := ask(attempt, "/api/chat", body); status != 200 || strings.Count(text, "\n") != 3 {
			t.Errorf("%s got %d %s", attempt, status, text)
		}
	}
	calls := b.ledger.Calls()
	if last := calls[len(calls)-1]; b.seen.Load() != 2 || last.Answered.Tokens != (ledger.Tokens{In: 7, Out: 2}) || last.Answered.Spent.NanoUSD != 0 {
		t.Errorf("on record is %+v, and the provider saw %d", last, b.seen.Load())
	}
	if status, text := ask("t1-a1", "/api/pull", `{"model":"llama3"}`); status != http.StatusNotFound {
		t.Errorf("pulling a model is %d %s", status, text)
	}
	broken = true
	b.settings.Retries = 0
	if _, text := ask("t1-a1", "/api/chat", strings.Replace(body, "hello", "again", 1)); strings.Contains(text, `"done":true`) {
		t.Errorf("a stream that broke ended as whole: %s", text)
	}
	calls = b.ledger.Calls()
	if last := calls[len(calls)-1]; last.Answered != nil {
		t.Errorf("a stream that broke is on record as %+v", last.Answered)
	}
}
