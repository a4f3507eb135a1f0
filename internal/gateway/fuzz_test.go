package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequests: whatever a client sends, it is read or refused; what is read
// has one canonical form; and what is translated is JSON.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{hello, streamed, `{"model":"m","n":3,"max_tokens":1e3,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}]}]}`, `{"model":"a/b","tools":[{"type":"function"}],"messages":[{"role":"tool"}]}`, `{"system":[{}],"messages":[{"content":[{"type":"tool_result"}]}]}`, `[]`, `{"a":1}{}`} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, openai bool) {
		path := "/v1/messages"
		if openai {
			path = "/v1/chat/completions"
		}
		u, _ := url.Parse(path)
		r, err := parseTarget(http.MethodPost, u, func(string) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		r.header = http.Header{}
		canonical, err := r.read(body, Rules{Fields: []string{"/messages/*/id"}})
		if err != nil {
			return
		}
		if r.in < 0 || r.out < 0 || r.n < 1 {
			t.Errorf("bounds of %d, %d, %d", r.in, r.out, r.n)
		}
		again := *r
		twice, err := again.read(canonical, Rules{})
		if err != nil || !bytes.Equal(twice, canonical) {
			t.Errorf("%s read again is %s, %v", canonical, twice, err)
		}
		for _, p := range []Protocol{OpenAI, Anthropic} {
			if p == r.protocol {
				continue
			}
			if _, made, err := translate(r, target{provider: &Provider{Name: "p", Protocol: p}, model: "m"}); err == nil && !json.Valid(made) {
				t.Errorf("it was translated into %s", made)
			}
		}
	})
}

// FuzzAnswers: whatever a provider answers, its use is not below zero, its
// events are within it, and what is translated is JSON or an error.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{chatAnswer(1), strings.Join(chunks("a", "b"), ""), "event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n", "data: a\ndata: b\n\n", `{"usage":{"input_tokens":-1,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":99}}}`, `{"content":[{"type":"tool_use","input":null}]}`, `{"choices":[{"message":{"tool_calls":[{}]}}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, e := range []endpoint{chat, messages, responses, embeddings} {
			var use tokenReader
			use.read(e, body)
			u := use.tokens
			if u.In < 0 || u.Out < 0 || u.CacheRead < 0 || u.CacheWrite < 0 || u.CacheHour < 0 {
				t.Errorf("%s: it used %+v", e, u)
			}
			at := 0
			for {
				ev, ok := nextEvent(body[at:])
				if !ok {
					break
				}
				if ev.end <= 0 || at+ev.end > len(body) {
					t.Fatalf("an event ends at %d of %d", at+ev.end, len(body))
				}
				ev.is(e)
				at += ev.end
			}
		}
		for _, convert := range []func(*request, *answer, []byte) error{messagesToChat, chatToMessage} {
			for _, stream := range []bool{false, true} {
				a := &answer{header: http.Header{}}
				if err := convert(&request{body: []byte("{}"), stream: stream}, a, body); err == nil && !stream && !json.Valid(a.body) {
					t.Errorf("it was translated into %s", a.body)
				}
			}
		}
	})
}
