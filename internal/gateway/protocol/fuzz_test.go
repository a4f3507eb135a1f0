package protocol

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"ratchet/internal/gateway/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// FuzzAnswers: whatever a provider answers, its use is not below zero, its
// events are within it, and what is translated is JSON or an error.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`,
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n",
		"event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n", "data: a\ndata: b\n\n",
		`{"usage":{"input_tokens":-1,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":99}}}`,
		`{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":-1,"cachedContentTokenCount":9}}`,
		"{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":1}\n",
		`{"content":[{"type":"tool_use","input":null}]}`, `{"choices":[{"message":{"tool_calls":[{}]}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, p := range protocols {
			for _, e := range p.Endpoints() {
				var use TokenUse
				use.Read(e, body)
				u := use.Tokens
				if u.In < 0 || u.Out < 0 || u.CacheRead < 0 || u.CacheWrite < 0 || u.CacheHour < 0 || use.Text < 0 {
					t.Errorf("%s: it used %+v", e, use)
				}
				for at := 0; ; {
					ev, ok := Next(e, body[at:])
					if !ok {
						break
					}
					if ev.End <= 0 || at+ev.End > len(body) {
						t.Fatalf("an event ends at %d of %d", at+ev.End, len(body))
					}
					_ = ev.Kind(e)
					at += ev.End
				}
				if n := WholeEvents(e, body); n < 0 || n > len(body) {
					t.Errorf("%d bytes of %d are whole events", n, len(body))
				}
			}
		}
		for _, answer := range []func(stream bool) ([]byte, error){
			func(stream bool) ([]byte, error) { return messagesToChat(body, ledger.Tokens{}, stream, true) },
			func(stream bool) ([]byte, error) { return chatToMessage(body, ledger.Tokens{}, stream) },
		} {
			if b, err := answer(false); err == nil && !json.Valid(b) {
				t.Errorf("it was translated into %s", b)
			}
			if b, err := answer(true); err == nil && WholeEvents(Chat, b) != len(b) {
				t.Errorf("as a stream it is %s", b)
			}
		}
	})
}

// TestEndpoints: no two protocols have an endpoint of the same name, and each is
// found by its path.
func TestEndpoints(t *testing.T) {
	seen := map[Endpoint]Name{}
	for name, p := range protocols {
		for _, e := range p.Endpoints() {
			if other, there := seen[e]; there {
				t.Errorf("%s is of %s and of %s", e, name, other)
			}
			seen[e] = name
			method, path := "POST", string(e)
			if Lists(e) {
				method = "GET"
			}
			if name == Gemini {
				path = "v1beta/models/gemini-2.5-flash:" + path
			}
			if n, found, _ := Route(method, path, false); n != name || found != e {
				t.Errorf("%s %s is %s of %s", method, e, found, n)
			}
		}
	}
	for _, one := range [][2]string{{"GET", "chat/completions"}, {"POST", "models"}, {"POST", "x/messages"}, {"POST", "deployments/d/chat/completions"}, {"DELETE", "responses"}, {"POST", ""}, {"POST", "api/pull"}, {"GET", "api/chat"}, {"POST", "models/x:predict"}, {"POST", "models/x/y:generateContent"}} {
		if _, e, _ := Route(one[0], one[1], false); e != "" {
			t.Errorf("%s %s is %s", one[0], one[1], e)
		}
	}
	if _, e, path := Route("POST", "openai/deployments/d/chat/completions", false); e != Chat || path != "openai/deployments/d/chat/completions" {
		t.Errorf("Azure's path is %s, %s", e, path)
	}
}
