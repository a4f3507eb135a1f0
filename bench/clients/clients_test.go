package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"ratchet/internal/breaker"
	"ratchet/internal/gateway"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/provider"
	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/redact"
)

// script is a provider that answers as the real ones do, by what it is asked.
func script(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	asked := string(body)
	stream := strings.Contains(asked, `"stream":true`)
	w.Header().Set("Content-Type", "application/json")
	if stream {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	say := func(parts ...string) {
		for _, p := range parts {
			if _, err := io.WriteString(w, p); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
	chunk := func(delta, finish string) string {
		return `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}` + "\n\n"
	}
	event := func(kind, rest string) string {
		return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\"" + rest + "}\n\n"
	}
	done := `{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-4o-mini","output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hello there","annotations":[]}]}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}`
	candidate := func(text, finish string) string {
		return `{"candidates":[{"content":{"parts":[{"text":"` + text + `"}],"role":"model"}` + finish + `,"index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5},"modelVersion":"gemini-2.5-flash"}`
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(asked, `"fail"`):
		w.WriteHeader(http.StatusBadRequest)
		say(`{"error":"no"}`)
	case strings.Contains(r.URL.Path, ":") && strings.Contains(asked, `"fail"`):
		w.WriteHeader(http.StatusBadRequest)
		say(`{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}`)
	case strings.HasSuffix(r.URL.Path, ":generateContent"):
		say(candidate("hello there", `,"finishReason":"STOP"`))
	case strings.HasSuffix(r.URL.Path, ":streamGenerateContent"):
		w.Header().Set("Content-Type", "text/event-stream")
		say("data: "+candidate("hello ", "")+"\r\n\r\n", "data: "+candidate("there", `,"finishReason":"STOP"`)+"\r\n\r\n")
	case strings.HasSuffix(r.URL.Path, ":countTokens"):
		say(`{"totalTokens":8}`)
	case r.URL.Path == "/api/tags":
		say(`{"models":[{"name":"llama3:latest","model":"llama3:latest"}]}`)
	case strings.HasPrefix(r.URL.Path, "/api/"):
		line := func(text, rest string) string {
			return `{"model":"llama3","created_at":"2026-01-02T03:04:05Z","message":{"role":"assistant","content":"` + text + `"},"response":"` + text + `","done":` + rest + "}\n"
		}
		end := `true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2`
		if strings.Contains(asked, `"stream":false`) {
			say(line("hello there", end))
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		say(line("hello ", "false"), line("there", "false"), line("", end))
	case strings.Contains(asked, `"fail"`):
		w.WriteHeader(http.StatusBadRequest)
		if strings.HasSuffix(r.URL.Path, "/messages") {
			say(`{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`)
			return
		}
		say(`{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"bad_thing"}}`)
	case strings.HasSuffix(r.URL.Path, "/models"):
		say(`{"object":"list","data":[{"id":"gpt-4o-mini","object":"model","created":1,"owned_by":"o"}]}`)
	case strings.HasSuffix(r.URL.Path, "/embeddings"):
		say(`{"object":"list","model":"text-embedding-3-small","data":[{"object":"embedding","index":0,"embedding":[0.5,0.25]}],"usage":{"prompt_tokens":1,"total_tokens":1}}`)
	case strings.HasSuffix(r.URL.Path, "/count_tokens"):
		say(`{"input_tokens":8}`)
	case strings.HasSuffix(r.URL.Path, "/responses") && stream:
		const item = `{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hello there","annotations":[]}]}`
		say(event("response.created", `,"response":`+strings.Replace(done, "completed", "in_progress", 1)+`,"sequence_number":0`),
			event("response.output_item.added", `,"output_index":0,"item":{"type":"message","id":"m","role":"assistant","status":"in_progress","content":[]},"sequence_number":1`),
			event("response.output_text.delta", `,"delta":"hello ","item_id":"m","output_index":0,"content_index":0,"sequence_number":2`),
			event("response.output_text.delta", `,"delta":"there","item_id":"m","output_index":0,"content_index":0,"sequence_number":3`),
			event("response.output_item.done", `,"output_index":0,"item":`+item+`,"sequence_number":4`),
			event("response.completed", `,"response":`+done+`,"sequence_number":5`))
	case strings.HasSuffix(r.URL.Path, "/responses"):
		say(done)
	case strings.HasSuffix(r.URL.Path, "/messages") && stream:
		say(event("message_start", `,"message":{"id":"msg","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":8,"output_tokens":1}}`),
			event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`),
			event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"hello "}`),
			event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"there"}`),
			event("content_block_stop", `,"index":0`),
			event("message_delta", `,"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}`),
			event("message_stop", ""))
	case strings.HasSuffix(r.URL.Path, "/messages") && strings.Contains(asked, `"tools"`):
		say(`{"id":"msg","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"tool_use","id":"t","name":"add","input":{"a":1}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":8,"output_tokens":4}}`)
	case strings.HasSuffix(r.URL.Path, "/messages"):
		say(`{"id":"msg","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"hello there"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":8,"output_tokens":4}}`)
	case stream:
		say(chunk(`{"role":"assistant","content":"hello "}`, "null"), chunk(`{"content":"there"}`, "null"))
		if strings.Contains(asked, "slowly") {
			for range 20 {
				select {
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
					say(chunk(`{"content":"."}`, "null"))
				}
			}
		}
		say(chunk(`{}`, `"stop"`), "data: [DONE]\n\n")
	case strings.Contains(asked, `"tools"`):
		say(`{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`)
	default:
		say(`{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`)
	}
}

// open opens a gateway before the script; calls counts what reached that.
func open(t *testing.T) (address string, token func(attempt string) string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		script(w, r)
	}))
	t.Cleanup(upstream.Close)
	for _, name := range []string{"OPENAI", "ANTHROPIC", "GEMINI", "OLLAMA"} {
		t.Setenv(name+"_API_KEY", "a-key-of-the-test-0123456789")
		t.Setenv("RATCHET_"+name+"_UPSTREAM", upstream.URL)
	}
	store, err := objects.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := provider.DefaultSettings()
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := ledger.Open(context.Background(), "r", journal.NewMemory(), store, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(gateway.Options{
		Run: "r", Ledger: ledger, Store: store, Settings: settings, Deps: breaker.NewDependencies(breaker.DefaultPolicy), Secrets: redact.New(), Mode: gateway.Resume,
		Shared: gateway.NewShared(filepath.Join(t.TempDir(), "models.json"), time.Now), Key: []byte("k"), Scope: func(string) string { return "t" },
	})
	front := httptest.NewServer(g)
	t.Cleanup(func() {
		front.CloseClientConnections()
		g.Close()
		front.Close()
		ledger.Close()
	})
	return front.URL, func(attempt string) string { return gateway.Token([]byte("k"), attempt) }, calls
}

// TestJavaScript: the npm packages openai, @anthropic-ai/sdk, @google/genai and ollama.
func TestJavaScript(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("npm is missing (Debian: npm)")
		}
		t.Skip("npm is missing (Debian: npm)")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "clients.mjs"} {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	address, token, calls := open(t)
	want := []string{
		`"openai plain","got":["hello there",5]`, `"openai stream","got":"hello there"`, `"openai tools","got":{"name":"add","arguments":"{\"a\":1}"}`,
		`"openai responses","got":"hello there"`, `"openai responses stream","got":"hello there"`, `"openai embeddings","got":[0.5,0.25]`, `"openai models","got":["gpt-4o-mini"]`,
		`"openai error","got":["BadRequestError",400,"bad_thing"]`, `"openai abort","got":true`, `"openai without a token","got":["AuthenticationError",401]`,
		`"anthropic plain","got":["hello there",4]`, `"anthropic stream","got":["hello there",4]`, `"anthropic tools","got":{"a":1}`, `"anthropic count","got":8`,
		`"anthropic error","got":["BadRequestError",400,"invalid_request_error"]`,
		`"gemini plain","got":["hello there",5]`, `"gemini stream","got":"hello there"`, `"gemini count","got":8`, `"gemini error","got":["ApiError",400]`,
		`"ollama plain","got":["hello there",2]`, `"ollama stream","got":"hello there"`, `"ollama generate","got":"hello there"`, `"ollama list","got":["llama3:latest"]`, `"ollama error","got":"no"`,
	}
	var once int64
	for _, attempt := range []string{"t-a1", "t-a2"} { // the second out of the record
		c := exec.Command("node", "clients.mjs")
		c.Dir = dir
		c.Env = append(os.Environ(), "OPENAI_BASE_URL="+address+"/v1", "OPENAI_API_KEY="+token(attempt), "ANTHROPIC_BASE_URL="+address, "ANTHROPIC_API_KEY="+token(attempt),
			"GOOGLE_GEMINI_BASE_URL="+address, "GEMINI_API_KEY="+token(attempt), "OLLAMA_HOST="+address+"/t/"+token(attempt))
		var errs bytes.Buffer
		c.Stderr = &errs
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, &errs)
		}
		var got []string
		for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(s.Text(), `{"name":`), "}"))
		}
		for i, w := range want {
			if i >= len(got) || got[i] != w {
				t.Errorf("%s, line %d: want %s of\n%s", attempt, i+1, w, strings.Join(got, "\n"))
				break
			}
		}
		if attempt == "t-a1" {
			once = calls.Load()
		}
	}
	if calls.Load() != once {
		t.Errorf("the provider saw %d calls the first time, and %d more the second", once, calls.Load()-once)
	}
}

// TestGo: the official Go clients.
func TestGo(t *testing.T) {
	address, token, calls := open(t)
	ctx := context.Background()
	var once int64
	for _, attempt := range []string{"t-a1", "t-a2"} {
		o := openai.NewClient(openaioption.WithBaseURL(address+"/v1/"), openaioption.WithAPIKey(token(attempt)))
		a := anthropic.NewClient(anthropicoption.WithBaseURL(address), anthropicoption.WithAPIKey(token(attempt)))
		ask := func(text string) openai.ChatCompletionNewParams {
			return openai.ChatCompletionNewParams{Model: "gpt-4o-mini", MaxTokens: openai.Int(50), Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
		}
		plain, err := o.Chat.Completions.New(ctx, ask("hello"))
		if err != nil || plain.Choices[0].Message.Content != "hello there" {
			t.Fatalf("openai plain: %+v, %v", plain, err)
		}
		stream, text := o.Chat.Completions.NewStreaming(ctx, ask("hello")), ""
		for stream.Next() {
			if c := stream.Current().Choices; len(c) > 0 {
				text += c[0].Delta.Content
			}
		}
		if stream.Err() != nil || text != "hello there" {
			t.Errorf("openai stream: %q, %v", text, stream.Err())
		}
		var failure *openai.Error
		if _, err := o.Chat.Completions.New(ctx, ask("fail")); !errors.As(err, &failure) || failure.StatusCode != 400 || failure.Code != "bad_thing" {
			t.Errorf("openai error: %v", err)
		}
		say := func(text string) anthropic.MessageNewParams {
			return anthropic.MessageNewParams{Model: "claude-haiku-4-5", MaxTokens: 50, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))}}
		}
		m, err := a.Messages.New(ctx, say("hello"))
		if err != nil || m.Content[0].Text != "hello there" {
			t.Fatalf("anthropic plain: %+v, %v", m, err)
		}
		events, whole := a.Messages.NewStreaming(ctx, say("hello")), anthropic.Message{}
		for events.Next() {
			if err := whole.Accumulate(events.Current()); err != nil {
				t.Fatal(err)
			}
		}
		if events.Err() != nil || len(whole.Content) != 1 || whole.Content[0].Text != "hello there" {
			t.Errorf("anthropic stream: %+v, %v", whole, events.Err())
		}
		var fault *anthropic.Error
		if _, err := a.Messages.New(ctx, say("fail")); !errors.As(err, &fault) || fault.StatusCode != 400 {
			t.Errorf("anthropic error: %v", err)
		}
		if attempt == "t-a1" {
			once = calls.Load()
		}
	}
	if calls.Load() != once || once != 6 {
		t.Errorf("the provider saw %d calls the first time, and %d more the second", once, calls.Load()-once)
	}
}
