package protocol

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

// The endpoints of OpenAI's protocol, by the ends of their paths.
const (
	Chat        Endpoint = "chat/completions"
	Completions Endpoint = "completions"
	Responses   Endpoint = "responses"
	Embeddings  Endpoint = "embeddings"
	Models      Endpoint = "models"
)

// openAI is the protocol of OpenAI, and of most servers: https://platform.openai.com/docs/api-reference.
type openAI struct{}

func (openAI) Endpoints() []Endpoint {
	return []Endpoint{Chat, Completions, Responses, Embeddings, Models}
}

func (p openAI) Route(method, path string, below bool) (Endpoint, string) {
	if method == http.MethodGet && (path == string(Models) || strings.HasPrefix(path, "models/")) {
		return Models, path
	}
	if method != http.MethodPost {
		return "", ""
	}
	below = below || strings.HasPrefix(path, "openai/") // a deployment, as Azure has it
	for _, e := range []Endpoint{Chat, Completions, Responses, Embeddings} {
		if path == string(e) || below && strings.HasSuffix(path, "/"+string(e)) {
			return e, path
		}
	}
	return "", ""
}

// deployment is the name of a deployment in a path, as Azure has it.
var deployment = regexp.MustCompile(`^openai/deployments/([^/]+)/`)

// ModelIn is the model that a path names; "": it names none.
func ModelIn(path string) string {
	if m := deployment.FindStringSubmatch(path); m != nil {
		return m[1]
	}
	if m := geminiPath.FindStringSubmatch(path); m != nil {
		return m[2]
	}
	return ""
}

func (openAI) Main() Endpoint { return Chat }

func (openAI) Base(u *url.URL) {
	if u.Path == "" {
		u.Path = "/v1"
	}
}

func (openAI) Join(base, path string) string {
	if strings.HasPrefix(path, "openai/") { // Azure's paths with a deployment
		base = strings.TrimSuffix(base, "/v1")
	}
	return base + "/" + path
}

func (openAI) Native(base string) string { return base }

func (openAI) KeyIn() string { return "" }

func (openAI) Rename(path string, body []byte, model string) (string, []byte, error) {
	return renamed(path, body, model)
}

func (openAI) Ask(Endpoint, map[string]any, *Asked, *weight) {}

func (openAI) Next(b []byte) (Event, bool) { return NextEvent(b) }

// ImageTokens is the largest that OpenAI's page on vision gives.
func (openAI) ImageTokens() int64 { return 50_000 }

func (openAI) Read(e Endpoint, answer gjson.Result, u *TokenUse) bool {
	if e == Models {
		return true
	}
	for _, path := range []string{"service_tier", "response.service_tier"} {
		if tier := answer.Get(path); tier.Type == gjson.String {
			u.Tier = tier.Str
		}
	}
	usage := answer.Get("usage")
	if !usage.IsObject() && e == Responses {
		usage = answer.Get("response.usage")
	}
	if !usage.IsObject() {
		return false
	}
	t := &u.Tokens
	set(usage, &t.In, "prompt_tokens", "input_tokens")
	set(usage, &t.Out, "completion_tokens", "output_tokens")
	set(usage, &t.CacheRead, "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "prompt_cache_hit_tokens")
	set(usage, &t.CacheWrite, "prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens")
	set(usage, &t.Reasoning, "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens")
	if cost := usage.Get("cost"); cost.Type == gjson.Number && cost.Num > 0 && cost.Num < 1e6 {
		u.Cost = cost.Num
	}
	t.CacheRead = min(t.CacheRead, t.In)
	t.CacheWrite = min(t.CacheWrite, t.In-t.CacheRead)
	return true
}

func (openAI) Text(e Endpoint, answer gjson.Result) (n int64) {
	if e == Responses {
		return long(answer, "delta")
	}
	answer.Get("choices").ForEach(func(_, c gjson.Result) bool {
		n += long(c, "delta.content") + long(c, "delta.reasoning_content") + long(c, "message.content") + long(c, "text")
		c.Get("delta.tool_calls.#.function.arguments").ForEach(func(_, a gjson.Result) bool {
			n += int64(len(a.String()))
			return true
		})
		return true
	})
	return n
}

func (openAI) Kind(e Endpoint, data []byte) EventKind {
	if e == Responses {
		switch gjson.GetBytes(data, "type").String() {
		case "response.completed", "response.incomplete":
			return Last
		case "error", "response.failed":
			return Wrong
		}
		return Part
	}
	switch {
	case string(data) == "[DONE]":
		return Last
	case gjson.GetBytes(data, "error").IsObject():
		return Wrong
	case bytes.Contains(data, []byte(`"finish_reason":"`)), bytes.Contains(data, []byte(`"finish_reason": "`)):
		return Finish
	}
	return Part
}

// OnlyUsage reports whether an event of a stream of chat completions tells the usage
// and nothing else.
func OnlyUsage(data []byte) bool {
	choices := gjson.GetBytes(data, "choices")
	return gjson.GetBytes(data, "usage").IsObject() && choices.IsArray() && len(choices.Array()) == 0
}

func (openAI) Refusal(kind, code, message string) map[string]any {
	return object{"error": object{"message": message, "type": kind, "param": nil, "code": code}}
}
