package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"ratchet/internal/research"
)

// TestFallbackAcrossProtocols: OpenAI is down, Anthropic answers, and the
// program, which speaks OpenAI's protocol, gets an answer in it.
func TestFallbackAcrossProtocols(t *testing.T) {
	b := newBench(t)
	b.settings.Aliases["clever"] = []string{"openai/gpt-4o", "anthropic/claude-haiku-4-5"}
	var asked string
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/chat/completions" {
			http.Error(w, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`, 401)
			return
		}
		body, _ := io.ReadAll(r.Body)
		asked = string(body)
		if r.Header.Get("X-Api-Key") != "the-real-key-of-anthropic_api_key" || r.Header.Get("Anthropic-Version") == "" {
			t.Errorf("Anthropic got the headers %v", r.Header)
		}
		_, _ = io.WriteString(w, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"It is "},{"type":"text","text":"7."},{"type":"tool_use","id":"toolu_1","name":"add","input":{"a":3,"b":4}}],"stop_reason":"tool_use","usage":{"input_tokens":20,"output_tokens":9}}`)
	}
	request := `{"model":"clever","max_tokens":64,"temperature":0.5,"stop":"END","messages":[
		{"role":"system","content":"Be brief."},
		{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"x\":1}"}}]},
		{"role":"tool","tool_call_id":"call_1","content":"a seven"}],
		"tools":[{"type":"function","function":{"name":"add","description":"adds","parameters":{"type":"object","properties":{"a":{"type":"number"}}}}}],"tool_choice":"required"}`
	_, text := b.post("t1-a1", "/v1/chat/completions", request)
	want := `{"model":"claude-haiku-4-5","max_tokens":64,"temperature":0.5,"stop_sequences":["END"],"system":"Be brief.","messages":[
		{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"look","input":{"x":1}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"a seven"}]}],
		"tools":[{"name":"add","description":"adds","input_schema":{"type":"object","properties":{"a":{"type":"number"}}}}],"tool_choice":{"type":"any"}}`
	if diff := cmp.Diff(decoded(t, want), decoded(t, asked)); diff != "" {
		t.Errorf("Anthropic was asked otherwise (-want +got):\n%s", diff)
	}
	got := gjson.Parse(text)
	if got.Get("choices.0.message.content").String() != "It is 7." || got.Get("choices.0.finish_reason").String() != "tool_calls" ||
		got.Get("choices.0.message.tool_calls.0.function.arguments").String() != `{"a":3,"b":4}` || got.Get("usage.total_tokens").Int() != 29 {
		t.Errorf("the program got %s", text)
	}
	// The same as a stream.
	_, text = b.post("t1-a1", "/v1/chat/completions", strings.Replace(request, `{"model"`, `{"stream":true,"model"`, 1))
	if n := strings.Count(text, "data: "); n != 5 || !strings.HasSuffix(text, "data: [DONE]\n\n") || !strings.Contains(text, `"finish_reason":"tool_calls"`) {
		t.Errorf("as a stream the program got %d events: %s", n, text)
	}
	calls := b.ledger.Calls()
	if a := calls[0].Answered; a == nil || a.Provider != "anthropic" || len(a.Retries) != 1 || a.Retries[0].Class != research.Auth {
		t.Errorf("the ledger says %+v", calls[0].Answered)
	}
	// What the other protocol has no word for is said, and nothing is sent.
	before := b.seen.Load()
	resp, text := b.post("t1-a1", "/v1/chat/completions", `{"model":"clever","logprobs":true,"messages":[{"role":"user","content":"x"}]}`)
	if resp.StatusCode == 200 || !strings.Contains(text, "logprobs") || b.seen.Load() != before+1 {
		t.Errorf("with logprobs the program got %d %s", resp.StatusCode, text)
	}
}

// TestFallbackTheOtherWay: a program that speaks Anthropic's protocol is
// answered by a model that speaks OpenAI's.
func TestFallbackTheOtherWay(t *testing.T) {
	b := newBench(t)
	var asked string
	b.upstream = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = string(body)
		_, _ = io.WriteString(w, `{"id":"c1","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Yes.","tool_calls":[{"id":"call_9","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":11,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}`)
	}
	request := `{"model":"openai/gpt-4o","max_tokens":64,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[
		{"role":"user","content":"hi"},
		{"role":"assistant","content":[{"type":"text","text":"let me see"},{"type":"tool_use","id":"toolu_1","name":"add","input":{"a":1}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"2"}]},{"type":"text","text":"and?"}]}],
		"tools":[{"name":"add","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`
	_, text := b.post("t1-a1", "/v1/messages", request)
	want := `{"model":"gpt-4o","max_completion_tokens":64,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"},
		{"role":"assistant","content":"let me see","tool_calls":[{"id":"toolu_1","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},
		{"role":"tool","tool_call_id":"toolu_1","content":"2"},{"role":"user","content":[{"type":"text","text":"and?"}]}],
		"tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}],"parallel_tool_calls":false}`
	if diff := cmp.Diff(decoded(t, want), decoded(t, asked)); diff != "" {
		t.Errorf("OpenAI was asked otherwise (-want +got):\n%s", diff)
	}
	wantAnswer := `{"id":"c1","type":"message","role":"assistant","model":"gpt-4o","content":[{"type":"text","text":"Yes."},{"type":"tool_use","id":"call_9","name":"add","input":{"a":1}}],
		"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":2}}`
	if diff := cmp.Diff(decoded(t, wantAnswer), decoded(t, text)); diff != "" {
		t.Errorf("the program got another answer (-want +got):\n%s", diff)
	}
	_, text = b.post("t1-a1", "/v1/messages", strings.Replace(request, `{"model"`, `{"stream":true,"model"`, 1))
	for _, part := range []string{"event: message_start\n", `"text_delta"`, `"input_json_delta"`, `"stop_reason":"tool_use"`, "event: message_stop\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("the stream has no %s:\n%s", part, text)
		}
	}
}

func decoded(t *testing.T, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	return v
}
