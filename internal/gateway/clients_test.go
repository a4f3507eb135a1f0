package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// What the clients and servers of the field do.

// TestWebSocketsAreDeclined: a client that tries a WebSocket first is told at once
// to use HTTP.
func TestWebSocketsAreDeclined(t *testing.T) {
	b := newBench(t)
	req, err := http.NewRequest(http.MethodGet, b.front.URL+"/v1/responses", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+Token([]byte("k"), "t1-a1"))
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := b.front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired || b.seen.Load() != 0 {
		t.Errorf("status %d, %d requests reached the provider", resp.StatusCode, b.seen.Load())
	}
}

// TestBackgroundResponsesAreRefused before they cost anything.
func TestBackgroundResponsesAreRefused(t *testing.T) {
	b := newBench(t)
	resp, text := b.post("t1-a1", "/v1/responses", `{"model":"gpt-4o-mini","background":true,"input":"hello"}`)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, "background") || b.seen.Load() != 0 {
		t.Errorf("%d %s, %d requests reached the provider", resp.StatusCode, text, b.seen.Load())
	}
}

// reasoned is a stream of a model that thinks: its usage is told only if it is asked
// for.
func reasoned(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	say := sse(w)
	say(`data: {"id":"c","choices":[{"index":0,"delta":{"content":"7"},"finish_reason":null}]}` + "\n\n")
	say(`data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n")
	if gjson.GetBytes(body, "stream_options.include_usage").Bool() {
		say(`data: {"id":"c","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":500,"completion_tokens_details":{"reasoning_tokens":498}}}` + "\n\n")
	}
	say("data: [DONE]\n\n")
}

// TestTheUsageOfStreamsIsAskedFor: whatever the program asks for, what it cost is
// known; the program sees what it asked for, also out of the record.
func TestTheUsageOfStreamsIsAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		b := newBench(t)
		b.upstream = reasoned
		request := streamed
		if asked {
			request = strings.Replace(request, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
		}
		for _, attempt := range []string{"t1-a1", "t1-a2"} {
			resp, text := b.post(attempt, "/v1/chat/completions", request)
			if resp.StatusCode != http.StatusOK || strings.Contains(text, "usage") != asked || !strings.HasSuffix(text, "data: [DONE]\n\n") || !strings.Contains(text, `"finish_reason":"stop"`) {
				t.Errorf("asked %v, %s: %s", asked, attempt, text)
			}
		}
		a := b.ledger.Calls()[0].Answered
		if a == nil || a.Tokens.In != 1000 || a.Tokens.Out != 500 || a.Estimated || b.seen.Load() != 1 {
			t.Errorf("asked %v: on record is %+v after %d requests", asked, a, b.seen.Load())
		}
	}
}

// TestPackedStreams: a server that packs its stream unasked is understood.
func TestPackedStreams(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = io.WriteString(z, strings.Join(chunks("one", "two"), ""))
		_ = z.Close()
		_, _ = w.Write(packed.Bytes())
	}
	resp, text := b.post("t1-a1", "/v1/chat/completions", streamed)
	if want := strings.Join(chunks("one", "two"), ""); text != want || resp.Header.Get("Content-Encoding") != "" || b.seen.Load() != 1 {
		t.Errorf("%d requests, %q", b.seen.Load(), text)
	}
}

// TestToolsOfClients: what a program runs itself is no tool of the provider, also
// where it stands in a group.
func TestToolsOfClients(t *testing.T) {
	b := newBench(t)
	b.upstream = b.chat(1)
	b.options.Budgets.Run.Tokens = 1_000_000
	b.restart()
	for tools, status := range map[string]int{
		`{"type":"namespace","name":"m","tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"}]}`: 200,
		`{"type":"namespace","name":"m","tools":[{"type":"web_search"}]}`:                                       400,
		`{"type":"shell"}`: 200, `{"type":"shell","environment":{"type":"container_auto"}}`: 400,
		`{"type":"tool_search"}`: 200, `{"type":"tool_search_tool_regex_20251119","name":"s"}`: 200, `{"type":"image_generation"}`: 400,
	} {
		resp, text := b.post("t1-a1", "/v1/responses", `{"model":"gpt-4o-mini","max_output_tokens":9,"input":"x","tools":[`+tools+`]}`)
		if resp.StatusCode != status {
			t.Errorf("%s: %d %s", tools, resp.StatusCode, text)
		}
	}
}

// TestALongRetryAfterIsObeyed by all calls, which are told how long it takes.
func TestALongRetryAfterIsObeyed(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, `{"error":{"message":"daily limit","type":"requests"}}`, http.StatusTooManyRequests)
	}
	for i := range 4 {
		resp, text := b.post("t1-a1", "/v1/chat/completions", strings.Replace(hello, "hello", fmt.Sprint("hello ", i), 1))
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Errorf("call %d: %d %s, Retry-After %q", i, resp.StatusCode, text, resp.Header.Get("Retry-After"))
		}
	}
	if n := b.seen.Load(); n != 1 {
		t.Errorf("%d calls reached the provider", n)
	}
}

// TestCodexReplays: what Codex draws anew in each process makes no other request.
func TestCodexReplays(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"resp_1","object":"response","output":[],"usage":{"input_tokens":3,"output_tokens":1}}`)
	}
	for i, attempt := range []string{"t1-a1", "t1-a2"} {
		b.post(attempt, "/v1/responses", fmt.Sprintf(`{"model":"gpt-4o-mini","prompt_cache_key":"k%d","client_metadata":{"session":"s%d"},"input":[{"id":"msg_%d","role":"user","content":"hi","internal_chat_message_metadata_passthrough":{"create_time":%d}}]}`, i, i, i, i))
	}
	if n := b.seen.Load(); n != 1 {
		t.Errorf("%d calls reached the provider", n)
	}
}

// TestDiffsPairEachOnce: each new call is shown beside the record that it is most
// like, and no record twice.
func TestDiffsPairEachOnce(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, r *http.Request) { b.chat(b.seen.Load())(w, r) }
	ask := func(attempt, text string) {
		body, err := json.Marshal(map[string]any{"model": "gpt-4o-mini", "max_tokens": 9, "messages": []any{map[string]any{"role": "user", "content": text}}})
		if err != nil {
			t.Fatal(err)
		}
		b.post(attempt, "/v1/chat/completions", string(body))
	}
	ask("t1-a1", "the time is 10:00")
	ask("t1-a1", "the folder is /tmp/abc")
	ask("t1-a2", "the folder is /tmp/xyz")
	ask("t1-a2", "the time is 10:05")
	diffs, err := b.ledger.Diffs(context.Background(), nil)
	if err != nil || len(diffs) != 2 || diffs[0].Call != "c000003" || diffs[0].Nearest != "c000002" || diffs[1].Call != "c000004" || diffs[1].Nearest != "c000001" {
		t.Errorf("%+v, %v", diffs, err)
	}
}

// TestAnswersWithoutABoundGetOne: a request that does not bound its answer is reserved
// for, and bounded, as the settings say; what makes it the same request does not change.
func TestAnswersWithoutABoundGetOne(t *testing.T) {
	b := newBench(t)
	b.settings.MaxOutput = 500
	b.options.Budgets.Run.Cost = 1_000 // a thousandth of a dollar
	b.restart()
	var sent []string
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = append(sent, string(body))
		b.chat(1)(w, r)
	}
	for _, attempt := range []string{"t1-a1", "t1-a2"} {
		if resp, text := b.post(attempt, "/v1/chat/completions", `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}`); resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	if len(sent) != 1 || gjson.Get(sent[0], "max_completion_tokens").Int() != 500 {
		t.Errorf("sent %q", sent)
	}
	if c := b.ledger.Calls()[0]; c.Reserved.NanoUSD > 1_000_000 {
		t.Errorf("%d are reserved", c.Reserved.NanoUSD)
	}
	b.post("t1-a1", "/v1/chat/completions", `{"model":"gpt-4o-mini","max_tokens":7,"messages":[{"role":"user","content":"hi"}]}`)
	if len(sent) != 2 || gjson.Get(sent[1], "max_completion_tokens").Exists() || gjson.Get(sent[1], "max_tokens").Int() != 7 {
		t.Errorf("sent %q", sent)
	}
}

// TestAProvidersOwnCost counts where a provider says what it charges, and of no other.
func TestAProvidersOwnCost(t *testing.T) {
	b := newBench(t)
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Replace(chatAnswer(1), `"usage":{`, `"usage":{"cost":0.0123,`, 1))
	}
	for tells, want := range map[bool]bool{true: true, false: false} {
		b.settings.Providers["openai"].TellsCost = tells
		b.post(fmt.Sprintf("t%v-a1", tells), "/v1/chat/completions", hello)
		calls := b.ledger.Calls()
		if own := calls[len(calls)-1].Answered.Spent.NanoUSD == 12_300_000; own != want {
			t.Errorf("tells %v: %+v", tells, calls[len(calls)-1].Answered)
		}
	}
}

// TestServiceTiers: a call costs what the tier costs that its answer names, and may cost
// what the one costs that it asks for.
func TestServiceTiers(t *testing.T) {
	b := newBench(t)
	tier := ""
	b.upstream = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Replace(chatAnswer(1), "{", `{"service_tier":"`+tier+`",`, 1))
	}
	costs := map[string][2]int64{}
	for i, c := range [][2]string{{"default", "default"}, {"priority", "priority"}, {"priority", "default"}, {"flex", "flex"}} {
		tier = c[1]
		b.post(fmt.Sprintf("t%d-a1", i), "/v1/chat/completions", strings.Replace(hello, "{", `{"service_tier":"`+c[0]+`",`, 1))
		calls := b.ledger.Calls()
		last := calls[len(calls)-1]
		costs[c[0]+"/"+c[1]] = [2]int64{last.Reserved.NanoUSD, last.Answered.Spent.NanoUSD}
	}
	plain := costs["default/default"]
	if p := costs["priority/priority"]; p[0] < 2*plain[0] || p[1] != 2*plain[1] {
		t.Errorf("priority reserved and cost %v, the default %v", p, plain)
	}
	if p := costs["priority/default"]; p[1] != plain[1] {
		t.Errorf("priority that was not to be had cost %v, the default %v", p, plain)
	}
	if p := costs["flex/flex"]; p[0] < plain[0]*99/100 || 2*p[1] != plain[1] {
		t.Errorf("flex reserved and cost %v, the default %v", p, plain)
	}
}

// TestAzuresDeployments are models by their names, which only the path may have.
func TestAzuresDeployments(t *testing.T) {
	b := newBench(t)
	b.settings.Providers["azure"].URL = b.server.URL
	t.Setenv("AZURE_OPENAI_API_KEY", "the-real-key-of-azure_openai_api_key")
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/openai/deployments/") || r.Header.Get("Api-Key") != "the-real-key-of-azure_openai_api_key" {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, chatAnswer(1))
	}
	resp, text := b.post("t1-a1", "/p/azure/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", `{"messages":[],"max_tokens":10}`)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("it got %d %s", resp.StatusCode, text)
	}
	if calls := b.ledger.Calls(); calls[0].Targets[0] != "azure/gpt-4o" || calls[0].Answered.Spent.NanoUSD == 0 {
		t.Errorf("on record is %+v", calls[0])
	}
	resp, text = b.post("t1-a1", "/p/azure/openai/deployments/ours/chat/completions", `{"messages":[],"max_tokens":10}`)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, "--price 'azure/ours=IN,OUT'") {
		t.Errorf("without a price it got %d %s", resp.StatusCode, text)
	}
}
