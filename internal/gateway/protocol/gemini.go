package protocol

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// The endpoints of Gemini's own protocol, by the methods at the ends of their paths.
const (
	GenerateContent       Endpoint = "generateContent"
	StreamGenerateContent Endpoint = "streamGenerateContent"
	CountContent          Endpoint = "countTokens"
	EmbedContent          Endpoint = "embedContent"
	BatchEmbedContents    Endpoint = "batchEmbedContents"
)

// gemini is Gemini's own protocol: https://ai.google.dev/api/generate-content.
type gemini struct{}

func (gemini) Endpoints() []Endpoint {
	return []Endpoint{GenerateContent, StreamGenerateContent, CountContent, EmbedContent, BatchEmbedContents}
}

// geminiPath has the version, the model and the method of a path.
var geminiPath = regexp.MustCompile(`^(?:(v1|v1beta|v1alpha)/)?models/([^/:]+):([A-Za-z]+)$`)

func (p gemini) Route(method, path string, _ bool) (Endpoint, string) {
	m := geminiPath.FindStringSubmatch(path)
	if m == nil || method != http.MethodPost || !slices.Contains(p.Endpoints(), Endpoint(m[3])) {
		return "", ""
	}
	version := m[1]
	if version == "" {
		version = "v1beta"
	}
	return Endpoint(m[3]), version + "/models/" + m[2] + ":" + m[3]
}

func (gemini) Main() Endpoint { return GenerateContent }

func (gemini) Base(*url.URL) {}

func (gemini) Join(base, path string) string { return base + "/" + path }

// Native: OpenAI's protocol is spoken below Gemini's own.
func (gemini) Native(base string) string {
	return strings.TrimSuffix(strings.TrimSuffix(base, "/openai"), "/v1beta")
}

func (gemini) KeyIn() string { return "X-Goog-Api-Key" }

func (gemini) Rename(path string, body []byte, model string) (string, []byte, error) {
	if m := geminiPath.FindStringSubmatch(path); m != nil {
		path = m[1] + "/models/" + model + ":" + m[3]
	}
	return path, body, nil
}

// ImageTokens is what a picture of sixteen tiles is, and more than what a resolution
// that is asked for gives.
func (gemini) ImageTokens() int64 { return 5_000 }

func (gemini) Ask(e Endpoint, v map[string]any, r *Asked, w *weight) {
	r.Stream = e == StreamGenerateContent
	config, _ := v["generationConfig"].(object)
	r.Out, r.N = whole(config["maxOutputTokens"]), max(1, whole(config["candidateCount"]))
	if v["cachedContent"] != nil {
		r.In += conversationTokens
	}
	if files := w.named; files > 0 { // uploaded before, of unknown size: films, say
		r.In += files * conversationTokens
	}
	tools, _ := v["tools"].([]any)
	for _, t := range tools {
		of, _ := t.(object)
		for _, name := range sortedKeys(of) {
			if name != "functionDeclarations" && name != "function_declarations" {
				r.Runs = name // google_search, url_context, code_execution …
			}
		}
	}
}

func (gemini) Read(e Endpoint, answer gjson.Result, u *TokenUse) bool {
	if e == CountContent {
		return true
	}
	usage := answer.Get("usageMetadata")
	if !usage.IsObject() {
		return false
	}
	t := &u.Tokens
	var prompt, found, answers, thoughts int64
	set(usage, &prompt, "promptTokenCount")
	set(usage, &found, "toolUsePromptTokenCount")
	set(usage, &answers, "candidatesTokenCount")
	set(usage, &thoughts, "thoughtsTokenCount")
	set(usage, &t.CacheRead, "cachedContentTokenCount")
	t.In, t.Out, t.Reasoning = prompt+found, answers+thoughts, thoughts
	t.CacheRead = min(t.CacheRead, t.In)
	return true
}

func (gemini) Text(_ Endpoint, answer gjson.Result) (n int64) {
	answer.Get("candidates.#.content.parts|@flatten").ForEach(func(_, part gjson.Result) bool {
		n += long(part, "text") + int64(len(part.Get("functionCall.args").Raw))
		return true
	})
	return n
}

// Kind: the last event has the reason why the model has finished, or why it was not
// asked.
func (gemini) Kind(_ Endpoint, data []byte) EventKind {
	v := gjson.ParseBytes(data)
	switch {
	case v.Get("error").IsObject():
		return Wrong
	case v.Get("candidates.0.finishReason").String() != "", v.Get("promptFeedback.blockReason").String() != "":
		return Last
	}
	return Part
}

func (gemini) Next(b []byte) (Event, bool) { return NextEvent(b) }

func (gemini) Refusal(kind, _, message string) map[string]any {
	code, status := http.StatusBadRequest, "INVALID_ARGUMENT"
	switch kind {
	case "insufficient_quota", "rate_limit_error":
		code, status = http.StatusTooManyRequests, "RESOURCE_EXHAUSTED"
	case "authentication_error":
		code, status = http.StatusUnauthorized, "UNAUTHENTICATED"
	case "permission_error":
		code, status = http.StatusForbidden, "PERMISSION_DENIED"
	case "api_error":
		code, status = http.StatusBadGateway, "UNAVAILABLE"
	}
	return object{"error": object{"code": code, "message": message, "status": status}}
}
