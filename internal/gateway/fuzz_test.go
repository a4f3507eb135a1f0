package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"ratchet/internal/gateway/protocol"
	"ratchet/internal/gateway/provider"
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
		canonical, err := r.read(body, Rules{Fields: []string{"/messages/*/id"}}, nil)
		if err != nil {
			return
		}
		if r.In < 0 || r.Out < 0 || r.N < 1 {
			t.Errorf("bounds of %d, %d, %d", r.In, r.Out, r.N)
		}
		again := *r
		twice, err := again.read(canonical, Rules{}, nil)
		if err != nil || !bytes.Equal(twice, canonical) {
			t.Errorf("%s read again is %s, %v", canonical, twice, err)
		}
		for _, p := range []protocol.Name{protocol.OpenAI, protocol.Anthropic} {
			if p == r.protocol {
				continue
			}
			if _, made, err := translate(r, target{provider: &provider.Provider{Name: "p", Protocol: p}, model: "m"}); err == nil && !json.Valid(made) {
				t.Errorf("it was translated into %s", made)
			}
		}
	})
}
