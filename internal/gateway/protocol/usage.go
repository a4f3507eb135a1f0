package protocol

import (
	"github.com/tidwall/gjson"

	"ratchet/internal/gateway/ledger"
)

// TokenUse is what answers say of the tokens that they took. Of the events of a stream
// the later count more.
type TokenUse struct {
	Tokens ledger.Tokens
	Found  bool
	Cost   float64 // US dollars, where the provider says what it charges (OpenRouter's usage.cost); 0: it does not
	Tier   string  // of the service, as the answer names it; "": it does not
	Text   int64   // bytes of the answer's text, where the tokens must be estimated
}

// Read reads an answer to an endpoint, or an event of one.
func (u *TokenUse) Read(e Endpoint, data []byte) {
	answer := gjson.ParseBytes(data)
	p := of(e)
	if p.Read(e, answer, u) {
		u.Found = true
		return
	}
	u.Text += p.Text(e, answer)
}

// set reads the first number that there is at one of several paths.
func set(usage gjson.Result, to *int64, paths ...string) {
	for _, p := range paths {
		if n := usage.Get(p); n.Exists() && n.Type == gjson.Number {
			*to = max(0, n.Int())
			return
		}
	}
}

func long(v gjson.Result, path string) int64 { return int64(len(v.Get(path).String())) }
