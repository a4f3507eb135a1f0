package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/research"
)

// conversion is what a call that crosses from one protocol to the other needs.
// Such a call is not streamed by its provider; where the program asked for a
// stream, the whole answer becomes one.
type conversion struct {
	path    string
	headers func(http.Header)
	answer  func(r *request, a *answer, body []byte) error
	fault   func(r *request, a *answer, body []byte)
}

// NotCarriedError says that a request has something in it that the other
// protocol has no word for.
type NotCarriedError struct {
	What   string
	Target string
}

func (e *NotCarriedError) Error() string {
	return fmt.Sprintf("%s cannot be carried over to %s, which speaks another protocol; take it out, or name only models of the same protocol", e.What, e.Target)
}

type object = map[string]any

// anthropicVersion is the version of the protocol that translated requests are
// written in.
const anthropicVersion = "2023-06-01"

// translate writes a request in a target's protocol.
func translate(r *request, t target) (*conversion, []byte, error) {
	var v object
	if err := json.Unmarshal(r.body, &v); err != nil {
		return nil, nil, &BodyError{err.Error()}
	}
	var c *conversion
	var out object
	var err error
	switch {
	case r.endpoint == chat && t.provider.Protocol == Anthropic:
		out, err = chatToMessages(v, t)
		c = &conversion{path: "v1/messages", answer: messagesToChat, fault: toFault, headers: func(h http.Header) {
			h.Set("Anthropic-Version", anthropicVersion)
		}}
	case r.endpoint == messages && t.provider.Protocol == OpenAI:
		out, err = messagesToChatRequest(v, t)
		c = &conversion{path: "chat/completions", answer: chatToMessage, fault: toFault, headers: func(h http.Header) {
			h.Del("Anthropic-Version")
			h.Del("Anthropic-Beta")
		}}
	default:
		err = &NotCarriedError{"a call of " + string(r.endpoint), t.name()}
	}
	var not *NotCarriedError
	if errors.As(err, &not) {
		not.Target = t.name()
	}
	if err != nil {
		return nil, nil, err
	}
	b, err := ledger.CanonicalJSON(out)
	return c, b, err
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

// toFault writes a provider's error in the form of the program's protocol.
func toFault(r *request, a *answer, body []byte) {
	var v struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	message := research.Printable(string(body), 500)
	if json.Unmarshal(body, &v) == nil && v.Error.Message != "" {
		message = v.Error.Message
	}
	_, a.body = refusal(r.protocol, a.class, message)
	a.header = a.header.Clone()
	a.header.Del("Content-Encoding")
	a.header.Set("Content-Type", "application/json")
}

// finish puts a translated answer in the place of the provider's own.
func (a *answer) finish(r *request, whole object, stream func(object) []byte) error {
	a.header = a.header.Clone()
	a.header.Del("Content-Encoding")
	a.header.Set("Content-Type", "application/json")
	b, err := ledger.CanonicalJSON(whole)
	if err == nil && r.stream {
		a.header.Set("Content-Type", "text/event-stream; charset=utf-8")
		b = stream(whole)
	}
	a.body = b
	return err
}

// garbled says that an answer is not what its protocol says.
func (a *answer) garbled(err error) error {
	a.class, a.why = research.Transient, "the answer cannot be translated: "+err.Error()
	return errors.New(a.why)
}
