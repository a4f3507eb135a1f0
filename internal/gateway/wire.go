package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/research"
)

// endpoint is what a call asks a provider for.
type endpoint string

// The endpoints, by the end of their paths.
const (
	chat        endpoint = "chat/completions"
	completions endpoint = "completions"
	responses   endpoint = "responses"
	embeddings  endpoint = "embeddings"
	models      endpoint = "models"
	messages    endpoint = "messages"
	countTokens endpoint = "messages/count_tokens"
)

// request is what the gateway must know of a call; all else goes through
// untouched.
type request struct {
	method   string
	path     string // below the provider's URL, without a slash in front
	query    string
	provider string // that the path names; "": the protocol's own
	endpoint endpoint
	protocol Protocol
	header   http.Header
	body     []byte

	model  string // as the program names it
	stream bool
	out    int64  // tokens that the answer may have, as the program says; 0: it does not
	n      int64  // answers asked for
	in     int64  // tokens that the request has at most
	runs   string // a tool that the provider is to run, whose use nobody can bound; "": none
}

// NoEndpointError says that a path is none that the gateway carries.
type NoEndpointError struct{ Method, Path string }

func (e *NoEndpointError) Error() string {
	return fmt.Sprintf("the gateway does not carry %s %s; it carries chat/completions, completions, responses, embeddings, models, messages and messages/count_tokens, since it can count what those cost", e.Method, e.Path)
}

// parseTarget reads method and path: /v1/… for the protocol's own provider, or
// /p/NAME/… for one by its name.
func parseTarget(method string, u *url.URL, names func(string) bool) (*request, error) {
	r := &request{method: method, query: u.RawQuery, protocol: OpenAI, n: 1}
	path := strings.Trim(u.Path, "/")
	if rest, ok := strings.CutPrefix(path, "p/"); ok {
		name, below, _ := strings.Cut(rest, "/")
		if !names(name) {
			return nil, &NoEndpointError{method, u.Path}
		}
		r.provider, path = name, below
	}
	path = strings.TrimPrefix(path, "v1/")
	if !fs.ValidPath(path) { // nothing leads out of the provider's own paths
		return nil, &NoEndpointError{method, u.Path}
	}
	below := r.provider != "" || strings.HasPrefix(path, "openai/") // a deployment, as Azure has it
	for _, e := range []endpoint{countTokens, messages, chat, completions, responses, embeddings, models} {
		switch {
		case path == string(e), below && strings.HasSuffix(path, "/"+string(e)) && e != messages && e != models && e != countTokens:
		case e == models && strings.HasPrefix(path, "models/") && method == http.MethodGet:
		default:
			continue
		}
		get := e == models
		if get != (method == http.MethodGet) || !get && method != http.MethodPost {
			return nil, &NoEndpointError{method, u.Path}
		}
		r.endpoint, r.path = e, path
		if e == messages || e == countTokens {
			r.protocol, r.path = Anthropic, "v1/"+path
		}
		return r, nil
	}
	return nil, &NoEndpointError{method, u.Path}
}

// BodyError says that a request's body cannot be a call.
type BodyError struct{ Why string }

func (e *BodyError) Error() string { return e.Why }

// What tokens a request has at most. A token is one byte or more of text; an
// image counts by its size on the canvas, whatever its bytes. The bounds are
// the largest that the providers' pages on vision give, and the prompt of
// tools that Anthropic adds is below the overhead.
const (
	overheadTokens       = 2_000
	imageTokensOpenAI    = 50_000
	imageTokensAnthropic = 5_000
	conversationTokens   = 1_000_000 // what the provider itself keeps of a conversation
)

// read reads what counts of a body, and gives it in canonical form.
func (r *request) read(body []byte, rules Rules) (canonical []byte, err error) {
	r.body = body
	if r.method == http.MethodGet {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, &BodyError{fmt.Sprintf("the body is not a JSON object: %v", err)}
	}
	if d.More() {
		return nil, &BodyError{"there is something behind the body's JSON object"}
	}
	// Which of two a provider would take, nobody knows.
	seen := map[string]bool{}
	twice := ""
	gjson.ParseBytes(body).ForEach(func(k, _ gjson.Result) bool {
		if seen[k.String()] {
			twice = k.String()
		}
		seen[k.String()] = true
		return true
	})
	if twice != "" {
		return nil, &BodyError{fmt.Sprintf("the body has the key %q twice", twice)}
	}
	r.model, _ = v["model"].(string)
	r.stream, _ = v["stream"].(bool)
	for _, name := range []string{"max_completion_tokens", "max_tokens", "max_output_tokens"} {
		if n, ok := v[name].(json.Number); ok {
			if i, err := n.Int64(); err == nil && i > 0 {
				r.out = i
				break
			}
		}
	}
	for _, name := range []string{"n", "best_of"} {
		if n, ok := v[name].(json.Number); ok {
			if i, err := n.Int64(); err == nil && i > 1 {
				r.n = max(r.n, i)
			}
		}
	}
	w := weight{image: imageTokensOpenAI}
	if r.protocol == Anthropic {
		w.image = imageTokensAnthropic
	}
	w.add(v)
	r.in = overheadTokens + int64(len(body)) - w.notText + w.images*w.image
	for _, name := range []string{"previous_response_id", "conversation", "prompt", "container"} {
		if s, ok := v[name]; ok && s != nil && r.endpoint == responses {
			r.in += conversationTokens
		}
	}
	r.runs = providerTool(v)
	rules.apply(v)
	return ledger.CanonicalJSON(v)
}

// clientTools are the types of tools that the program runs itself, or begin
// them: what they cost is in the tokens.
var clientTools = []string{"function", "custom", "computer", "bash_", "text_editor_", "memory_", "local_shell", "apply_patch"}

// providerTool is the tool that a request has its provider run, if any: a
// search in the web, say. What it finds counts as input, and it costs by itself.
func providerTool(v object) string {
	for _, name := range []string{"web_search_options", "mcp_servers"} {
		if s, ok := v[name]; ok && s != nil {
			return name
		}
	}
	tools, _ := v["tools"].([]any)
	for _, t := range tools {
		of, _ := t.(object)
		kind, _ := of["type"].(string)
		if kind != "" && !slices.ContainsFunc(clientTools, func(c string) bool { return strings.HasPrefix(kind, c) }) {
			return kind
		}
	}
	return ""
}

// weight is what of a body is not text.
type weight struct {
	images, image int64
	notText       int64 // bytes
}

func (w *weight) add(v any) {
	switch v := v.(type) {
	case map[string]any:
		if u, ok := v["url"].(string); ok && strings.HasPrefix(u, "http") && v["detail"] != nil {
			w.images++
		}
		switch v["type"] {
		case "image", "input_image", "image_url":
			w.images++
		}
		for name, one := range v {
			s, text := one.(string)
			base64 := v["type"] == "base64" && name == "data"
			if media, _ := v["media_type"].(string); text && (base64 && strings.HasPrefix(media, "image/") || strings.HasPrefix(s, "data:image/")) {
				w.notText += int64(len(s))
				continue
			}
			w.add(one)
		}
	case []any:
		for _, one := range v {
			w.add(one)
		}
	}
}

// tokenReader reads the use out of answers, or out of the events of a stream,
// the later of which count more.
type tokenReader struct {
	tokens ledger.Tokens
	found  bool
	text   int64 // bytes of the answer's text, where the use must be estimated
}

func (u *tokenReader) read(e endpoint, data []byte) {
	if e == countTokens || e == models {
		u.found = true
		return
	}
	usage := gjson.GetBytes(data, "usage")
	switch {
	case usage.IsObject():
	case e == responses:
		usage = gjson.GetBytes(data, "response.usage")
	case e == messages:
		usage = gjson.GetBytes(data, "message.usage")
	}
	if !usage.IsObject() {
		u.text += textOf(e, gjson.ParseBytes(data))
		return
	}
	u.found = true
	set := func(to *int64, paths ...string) {
		for _, p := range paths {
			if n := usage.Get(p); n.Exists() && n.Type == gjson.Number {
				*to = max(0, n.Int())
				return
			}
		}
	}
	t := &u.tokens
	if e == messages {
		plain, all, hour := t.In-t.CacheRead-t.CacheWrite-t.CacheHour, t.CacheWrite+t.CacheHour, t.CacheHour
		set(&plain, "input_tokens")
		set(&t.CacheRead, "cache_read_input_tokens")
		set(&all, "cache_creation_input_tokens")
		set(&hour, "cache_creation.ephemeral_1h_input_tokens")
		t.CacheHour = min(hour, all)
		t.CacheWrite = all - t.CacheHour
		t.In = plain + t.CacheRead + all
		set(&t.Out, "output_tokens")
		return
	}
	set(&t.In, "prompt_tokens", "input_tokens")
	set(&t.Out, "completion_tokens", "output_tokens")
	set(&t.CacheRead, "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "prompt_cache_hit_tokens")
	set(&t.CacheWrite, "prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens")
	set(&t.Reasoning, "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens")
	t.CacheRead = min(t.CacheRead, t.In)
	t.CacheWrite = min(t.CacheWrite, t.In-t.CacheRead)
}

// textOf is how much text is in an answer, or in an event of one, in bytes.
func textOf(e endpoint, v gjson.Result) (n int64) {
	long := func(v gjson.Result, path string) int64 { return int64(len(v.Get(path).String())) }
	switch e {
	case responses:
		return long(v, "delta")
	case messages:
		return long(v, "delta.text") + long(v, "delta.partial_json") + long(v, "delta.thinking")
	}
	v.Get("choices").ForEach(func(_, c gjson.Result) bool {
		n += long(c, "delta.content") + long(c, "delta.reasoning_content") + long(c, "message.content") + long(c, "text")
		c.Get("delta.tool_calls.#.function.arguments").ForEach(func(_, a gjson.Result) bool {
			n += int64(len(a.String()))
			return true
		})
		return true
	})
	return n
}

// refusal is an answer of the gateway's own, in a protocol's form of an error.
func refusal(p Protocol, class research.Class, message string) (status int, body []byte) {
	status, kind, code := http.StatusBadGateway, "api_error", string(class)
	switch class {
	case research.Quota:
		// As OpenAI answers when a budget is spent. Clients would try again
		// for the status; the header beside it tells them not to.
		status, kind, code = http.StatusTooManyRequests, "insufficient_quota", "insufficient_quota"
		if p == Anthropic {
			kind = "rate_limit_error"
		}
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
	if p == Anthropic {
		body, _ = ledger.CanonicalJSON(map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message}})
		return status, body
	}
	body, _ = ledger.CanonicalJSON(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}})
	return status, body
}
