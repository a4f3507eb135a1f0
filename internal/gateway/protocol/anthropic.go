package protocol

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"
)

// The endpoints of Anthropic's protocol, by the ends of their paths.
const (
	Messages    Endpoint = "messages"
	CountTokens Endpoint = "messages/count_tokens"
)

// anthropicVersion is the version of the protocol that translated requests are
// written in.
const anthropicVersion = "2023-06-01"

// anthropic is the protocol of Anthropic: https://docs.anthropic.com/en/api/messages.
type anthropic struct{}

func (anthropic) Endpoints() []Endpoint { return []Endpoint{Messages, CountTokens} }

func (anthropic) Route(method, path string, _ bool) (Endpoint, string) {
	if method == http.MethodPost && (path == string(Messages) || path == string(CountTokens)) {
		return Endpoint(path), "v1/" + path
	}
	return "", ""
}

func (anthropic) Main() Endpoint { return Messages }

func (anthropic) Base(u *url.URL) { u.Path = strings.TrimSuffix(u.Path, "/v1") }

func (anthropic) Join(base, path string) string { return base + "/" + path }

func (anthropic) Native(base string) string { return base }

func (anthropic) KeyIn() string { return "" }

func (anthropic) Rename(path string, body []byte, model string) (string, []byte, error) {
	return renamed(path, body, model)
}

func (anthropic) Ask(Endpoint, map[string]any, *Asked, *weight) {}

func (anthropic) Next(b []byte) (Event, bool) { return NextEvent(b) }

// ImageTokens is the largest that Anthropic's page on vision gives.
func (anthropic) ImageTokens() int64 { return 5_000 }

func (anthropic) Read(e Endpoint, answer gjson.Result, u *TokenUse) bool {
	if e == CountTokens {
		return true
	}
	usage := answer.Get("usage")
	if !usage.IsObject() {
		usage = answer.Get("message.usage")
	}
	if !usage.IsObject() {
		return false
	}
	if tier := usage.Get("service_tier"); tier.Type == gjson.String {
		u.Tier = tier.Str
	}
	t := &u.Tokens
	plain, all, hour := t.In-t.CacheRead-t.CacheWrite-t.CacheHour, t.CacheWrite+t.CacheHour, t.CacheHour
	set(usage, &plain, "input_tokens")
	set(usage, &t.CacheRead, "cache_read_input_tokens")
	set(usage, &all, "cache_creation_input_tokens")
	set(usage, &hour, "cache_creation.ephemeral_1h_input_tokens")
	t.CacheHour = min(hour, all)
	t.CacheWrite = all - t.CacheHour
	t.In = plain + t.CacheRead + all
	set(usage, &t.Out, "output_tokens")
	return true
}

func (anthropic) Text(_ Endpoint, answer gjson.Result) int64 {
	return long(answer, "delta.text") + long(answer, "delta.partial_json") + long(answer, "delta.thinking")
}

func (anthropic) Kind(_ Endpoint, data []byte) EventKind {
	switch gjson.GetBytes(data, "type").String() {
	case "message_stop":
		return Last
	case "error":
		return Wrong
	}
	return Part
}

func (anthropic) Refusal(kind, _, message string) map[string]any {
	if kind == "insufficient_quota" {
		kind = "rate_limit_error"
	}
	return object{"type": "error", "error": object{"type": kind, "message": message}}
}
