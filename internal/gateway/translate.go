package gateway

import (
	"encoding/json"
	"errors"

	"ratchet/internal/gateway/protocol"
	"ratchet/internal/research"
)

// translate writes a request in a target's protocol.
func translate(r *request, t target) (*protocol.Conversion, []byte, error) {
	return protocol.Translate(r.endpoint, r.body, protocol.Target{Protocol: t.provider.Protocol, Provider: t.provider.Name, Rules: t.provider.Prices, Model: t.model, MaxOutput: t.price.MaxOutput})
}

// answerIn puts an answer in the words of the program's protocol in the place of the
// provider's own.
func (a *answer) answerIn(r *request, c *protocol.Conversion, body []byte) error {
	b, err := c.Answer(body, a.use.Tokens, r.Stream)
	if err != nil {
		a.class, a.why = research.Transient, "the answer cannot be translated: "+err.Error()
		return errors.New(a.why)
	}
	kind := "application/json"
	if r.Stream {
		kind = "text/event-stream; charset=utf-8"
	}
	a.replace(b, kind)
	return nil
}

// faultIn writes a provider's error in the form of the program's protocol.
func (a *answer) faultIn(r *request, body []byte) {
	var v struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	message := research.Printable(string(body), 500)
	if json.Unmarshal(body, &v) == nil && v.Error.Message != "" {
		message = v.Error.Message
	}
	_, fault := protocol.Refusal(r.protocol, a.class, message)
	a.replace(fault, "application/json")
}

// replace puts a body of the gateway's own in the place of the provider's.
func (a *answer) replace(body []byte, kind string) {
	a.header = a.header.Clone()
	a.header.Del("Content-Encoding")
	a.header.Set("Content-Type", kind)
	a.body = body
}
