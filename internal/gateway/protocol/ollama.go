package protocol

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// The endpoints of Ollama's own protocol, by their paths. OllamaShow is about a model,
// OllamaList and those beside it about the server.
const (
	OllamaChat       Endpoint = "api/chat"
	OllamaGenerate   Endpoint = "api/generate"
	OllamaEmbed      Endpoint = "api/embed"
	OllamaEmbeddings Endpoint = "api/embeddings"
	OllamaShow       Endpoint = "api/show"
	OllamaList       Endpoint = "api/tags"
	OllamaVersion    Endpoint = "api/version"
	OllamaRunning    Endpoint = "api/ps"
)

// ollama is Ollama's own protocol: https://docs.ollama.com/api.
type ollama struct{}

func (ollama) Endpoints() []Endpoint {
	return []Endpoint{OllamaChat, OllamaGenerate, OllamaEmbed, OllamaEmbeddings, OllamaShow, OllamaList, OllamaVersion, OllamaRunning}
}

func (p ollama) Route(method, path string, _ bool) (Endpoint, string) {
	e := Endpoint(path)
	if want := map[bool]string{true: http.MethodGet, false: http.MethodPost}[Lists(e)]; method == want && slices.Contains(p.Endpoints(), e) {
		return e, path
	}
	return "", ""
}

func (ollama) Main() Endpoint { return OllamaChat }

func (ollama) Base(*url.URL) {}

func (ollama) Join(base, path string) string { return base + "/" + path }

// Native: OpenAI's protocol is spoken beside Ollama's own.
func (ollama) Native(base string) string { return strings.TrimSuffix(base, "/v1") }

func (ollama) KeyIn() string { return "" }

func (ollama) Rename(path string, body []byte, model string) (string, []byte, error) {
	return renamed(path, body, model)
}

func (ollama) ImageTokens() int64 { return 5_000 }

func (ollama) Ask(_ Endpoint, v map[string]any, r *Asked, _ *weight) {
	stream, said := v["stream"].(bool)
	r.Stream = stream || !said
	options, _ := v["options"].(object)
	r.Out = max(0, whole(options["num_predict"]))
	for _, images := range imagesOf(v) {
		for _, one := range images {
			if s, ok := one.(string); ok {
				r.In += ollama{}.ImageTokens() - int64(len(s))
			}
		}
	}
}

// imagesOf are the pictures of a request, and of its messages.
func imagesOf(v object) (out [][]any) {
	messages, _ := v["messages"].([]any)
	for _, m := range append([]any{v}, messages...) {
		of, _ := m.(object)
		if images, ok := of["images"].([]any); ok {
			out = append(out, images)
		}
	}
	return out
}

func (ollama) Read(e Endpoint, answer gjson.Result, u *TokenUse) bool {
	if Lists(e) || e == OllamaShow {
		return true
	}
	if !answer.Get("done").Bool() && !answer.Get("embeddings").Exists() && !answer.Get("embedding").Exists() {
		return false
	}
	set(answer, &u.Tokens.In, "prompt_eval_count")
	set(answer, &u.Tokens.Out, "eval_count")
	return true
}

func (ollama) Text(_ Endpoint, answer gjson.Result) int64 {
	return long(answer, "message.content") + long(answer, "message.thinking") + long(answer, "response")
}

func (ollama) Kind(_ Endpoint, data []byte) EventKind {
	v := gjson.ParseBytes(data)
	switch {
	case v.Get("error").Exists():
		return Wrong
	case v.Get("done").Bool():
		return Last
	}
	return Part
}

// Next: each line is an event.
func (ollama) Next(b []byte) (Event, bool) {
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return Event{}, false
	}
	return Event{Data: bytes.TrimSpace(b[:n]), End: n + 1}, true
}

func (ollama) Refusal(_, _, message string) map[string]any { return object{"error": message} }
