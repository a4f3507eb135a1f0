// Package protocol is what the gateway knows of the words in which providers are asked
// and answer: which paths ask for what, what of a request bounds its cost, how much
// an answer used, and what an event of a stream means. A file for each protocol, and
// a row in a table.
package protocol

import (
	"net/http"
	"net/url"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/research"
)

// Name names a protocol, as settings do.
type Name string

// The protocols.
const (
	OpenAI    Name = "openai"
	Anthropic Name = "anthropic"
	Gemini    Name = "gemini"
	Ollama    Name = "ollama"
)

// Endpoint is what a call asks a provider for.
type Endpoint string

// Protocol is how providers of one kind are spoken to.
type Protocol interface {
	// Endpoints are what can be asked for, by the ends of their paths.
	Endpoints() []Endpoint
	// Route says what a path asks for, and which path of the provider does; "" for
	// none of this protocol's. The path has no slash in front and no version. below
	// says that more may stand in front of the endpoint, as a deployment does.
	Route(method, path string, below bool) (e Endpoint, upstream string)
	// Main is what a call is that was translated into this protocol.
	Main() Endpoint
	// Base completes the path of a provider's address, and Join adds a call's path to
	// that address.
	Base(u *url.URL)
	Join(base, path string) string
	// Native is the address at which a provider speaks this protocol whose settings
	// have that of OpenAI's, and KeyIn the header in which it finds its key then; "":
	// in the one that the settings say.
	Native(base string) string
	KeyIn() string
	// Rename has a request ask for another model.
	Rename(path string, body []byte, model string) (string, []byte, error)
	// Ask reads what of a request to an endpoint this protocol has a way of its own
	// for. w has weighed its content.
	Ask(e Endpoint, v map[string]any, r *Asked, w *weight)
	// ImageTokens is how many tokens an image is at most.
	ImageTokens() int64
	// Read reads the use out of an answer to an endpoint, or out of an event of one;
	// found is false where it says nothing of it.
	Read(e Endpoint, answer gjson.Result, u *TokenUse) (found bool)
	// Text is how much text is in an answer, or in an event of one, in bytes.
	Text(e Endpoint, answer gjson.Result) int64
	// Next reads the first whole event of a stream; ok false: there is none.
	Next(b []byte) (e Event, ok bool)
	// Kind says what an event of a stream is to who passes it on.
	Kind(e Endpoint, data []byte) EventKind
	// Refusal is the body of an error, in the kind and code of OpenAI's errors.
	Refusal(kind, code, message string) map[string]any
}

// protocols are all that are spoken.
var protocols = map[Name]Protocol{OpenAI: openAI{}, Anthropic: anthropic{}, Gemini: gemini{}, Ollama: ollama{}}

// names are the names of all protocols, in the order in which paths are looked at.
var names = []Name{Anthropic, OpenAI, Gemini, Ollama}

// Names are the names of all protocols.
func Names() (out []string) {
	for _, n := range names {
		out = append(out, string(n))
	}
	return out
}

// Of is the protocol of a name; nil: there is none.
func Of(n Name) Protocol { return protocols[n] }

// byEndpoint are the protocols by their endpoints. No two have the same.
var byEndpoint = func() map[Endpoint]Protocol {
	out := map[Endpoint]Protocol{}
	for _, p := range protocols {
		for _, e := range p.Endpoints() {
			out[e] = p
		}
	}
	return out
}()

// of is the protocol that an endpoint belongs to.
func of(e Endpoint) Protocol {
	if p := byEndpoint[e]; p != nil {
		return p
	}
	return openAI{}
}

// Route says what a path asks for, in which protocol, and which path of the provider
// does. See Protocol.Route.
func Route(method, path string, below bool) (n Name, e Endpoint, upstream string) {
	for _, name := range names {
		if e, upstream := protocols[name].Route(method, path, below); e != "" {
			return name, e, upstream
		}
	}
	return OpenAI, "", ""
}

// Lists reports whether an endpoint is about the provider, and names no model.
func Lists(e Endpoint) bool {
	return e == Models || e == OllamaList || e == OllamaVersion || e == OllamaRunning
}

// Free reports whether a call of an endpoint costs nothing.
func Free(e Endpoint) bool {
	return Lists(e) || e == CountTokens || e == CountContent || e == OllamaShow
}

// Embeds reports whether an endpoint answers with vectors, and no text.
func Embeds(e Endpoint) bool {
	return e == Embeddings || e == EmbedContent || e == BatchEmbedContents || e == OllamaEmbed || e == OllamaEmbeddings
}

// renamed is a request with another model in its body.
func renamed(path string, body []byte, model string) (string, []byte, error) {
	b, err := sjson.SetBytes(body, "model", model)
	return path, b, err
}

// OutputField is the field of a request by which its answer is bounded; "": none, it
// has no text. rules is whose rules on fields count.
func OutputField(e Endpoint, rules string) string {
	switch e {
	case Chat:
		if rules == "openai" || rules == "azure" {
			return "max_completion_tokens" // the other one is refused by models that reason
		}
		return "max_tokens"
	case Completions, Messages:
		return "max_tokens"
	case Responses:
		return "max_output_tokens"
	case GenerateContent, StreamGenerateContent:
		return "generationConfig.maxOutputTokens"
	}
	return ""
}

// Refusal is an answer of the gateway's own, in a protocol's form of an error.
func Refusal(n Name, class research.Class, message string) (status int, body []byte) {
	status, kind, code := http.StatusBadGateway, "api_error", string(class)
	switch class {
	case research.Quota:
		// As OpenAI answers when a budget is spent. Clients would try again
		// for the status; the header beside it tells them not to.
		status, kind, code = http.StatusTooManyRequests, "insufficient_quota", "insufficient_quota"
	case research.RateLimited:
		status, kind, code = http.StatusTooManyRequests, "rate_limit_error", "rate_limit_exceeded"
	case research.Auth:
		status, kind, code = http.StatusUnauthorized, "authentication_error", "invalid_api_key"
	case research.Security:
		status, kind, code = http.StatusForbidden, "permission_error", "refused"
	case research.InvalidStudy, research.ProgramFault:
		status, kind, code = http.StatusBadRequest, "invalid_request_error", "refused"
	case research.Transient, research.Timeout:
		status = http.StatusServiceUnavailable
	}
	p := protocols[n]
	if p == nil {
		p = openAI{}
	}
	body, _ = ledger.CanonicalJSON(p.Refusal(kind, code, message)) // of texts
	return status, body
}
