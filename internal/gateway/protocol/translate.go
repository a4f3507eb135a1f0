package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"ratchet/internal/gateway/ledger"
)

// Target is who gets a request that is translated.
type Target struct {
	Protocol  Name
	Provider  string // its name, for messages
	Rules     string // whose rules on fields count, as for prices
	Model     string
	MaxOutput int64 // tokens that an answer of the model has at most; 0: unknown
}

// Conversion is what a call that crosses from one protocol to the other needs. Such a
// call is not streamed by its provider; where the program asked for a stream, the
// whole answer becomes one.
type Conversion struct {
	Path    string            // of the provider
	Headers func(http.Header) // adapts them
	// Answer writes an answer in the words of the program's protocol, or with stream
	// as a stream of events.
	Answer func(body []byte, used ledger.Tokens, stream bool) ([]byte, error)
}

// NotCarriedError says that a request has something in it that the other protocol has
// no word for.
type NotCarriedError struct {
	What   string
	Target string
}

func (e *NotCarriedError) Error() string {
	return fmt.Sprintf("%s cannot be carried over to %s, which speaks another protocol; take it out, or name only models of the same protocol", e.What, e.Target)
}

// Translate writes the body of a request to an endpoint in a target's protocol. What
// the other has no word for is a NotCarriedError.
func Translate(e Endpoint, body []byte, t Target) (*Conversion, []byte, error) {
	var v object
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, nil, err
	}
	var c *Conversion
	var out object
	var err error
	switch {
	case e == Chat && t.Protocol == Anthropic:
		withUsage := usageAsked(v)
		out, err = chatToMessages(v, t)
		c = &Conversion{Path: "v1/messages", Answer: func(body []byte, used ledger.Tokens, stream bool) ([]byte, error) {
			return messagesToChat(body, used, stream, withUsage)
		}, Headers: func(h http.Header) {
			h.Set("Anthropic-Version", anthropicVersion)
		}}
	case e == Messages && t.Protocol == OpenAI:
		out, err = messagesToChatRequest(v, t)
		c = &Conversion{Path: "chat/completions", Answer: chatToMessage, Headers: func(h http.Header) {
			h.Del("Anthropic-Version")
			h.Del("Anthropic-Beta")
		}}
	default:
		err = &NotCarriedError{What: "a call of " + string(e)}
	}
	if not, ok := errors.AsType[*NotCarriedError](err); ok {
		not.Target = t.Provider + "/" + t.Model
	}
	if err != nil {
		return nil, nil, err
	}
	b, err := ledger.CanonicalJSON(out)
	return c, b, err
}

// written is an answer as JSON, or as a stream.
func written(whole object, stream bool, events func(object) []byte) ([]byte, error) {
	if stream {
		return events(whole), nil
	}
	return ledger.CanonicalJSON(whole)
}

func cannot(what string, args ...any) error {
	return &NotCarriedError{What: fmt.Sprintf(what, args...)}
}

// hints change nothing about what is asked for.
var hints = []string{"model", "stream", "stream_options", "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier"}

// known refuses fields that no translation knows; zero stands for not asked.
func known(v object, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		switch one := v[name].(type) {
		case nil:
			continue
		case float64:
			if one == 0 && !slices.Contains(names, name) {
				continue
			}
		case bool:
			if !one && !slices.Contains(names, name) {
				continue
			}
		}
		if !slices.Contains(names, name) && !slices.Contains(hints, name) {
			return cannot("the field %s", name)
		}
	}
	return nil
}

// copied are the fields that both protocols have, by name.
func copied(from, to object, names map[string]string) {
	for a, b := range names {
		if v, ok := from[a]; ok && v != nil {
			to[b] = v
		}
	}
}
