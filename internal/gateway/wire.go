package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"ratchet/internal/gateway/ledger"
	"ratchet/internal/gateway/protocol"
)

// request is what the gateway must know of a call; all else goes through
// untouched.
type request struct {
	method   string
	path     string // below the provider's URL, without a slash in front
	query    string
	provider string // that the path names; "": the protocol's own
	endpoint protocol.Endpoint
	protocol protocol.Name
	header   http.Header
	body     []byte

	protocol.Asked
	bound int64 // tokens of the answer, put into the request since it has no bound; 0: none is
}

// noEndpointError says that a path is none that the gateway carries.
type noEndpointError struct{ Method, Path string }

func (e *noEndpointError) Error() string {
	switch {
	case strings.Contains(e.Path, "/publishers/"):
		return "the gateway does not carry Vertex AI, whose keys it cannot hold; use Google's other API (set GEMINI_API_KEY, and GOOGLE_GENAI_USE_VERTEXAI=false) or Anthropic's own (ANTHROPIC_API_KEY, without CLAUDE_CODE_USE_VERTEX)"
	case strings.HasPrefix(e.Path, "/model/"):
		return "the gateway does not carry Bedrock, whose requests are signed; use Anthropic's own API (set ANTHROPIC_API_KEY, without CLAUDE_CODE_USE_BEDROCK)"
	case strings.HasSuffix(e.Path, "/batches"), strings.HasSuffix(e.Path, "/files"), strings.Contains(e.Path, "/files/"), strings.Contains(e.Path, "/batches/"):
		return fmt.Sprintf("the gateway does not carry %s %s: what batches and files cost is billed where nothing counts it; send each request by itself, with its files in it", e.Method, e.Path)
	}
	return fmt.Sprintf("the gateway does not carry %s %s; it carries chat/completions, completions, responses, embeddings, models, messages and messages/count_tokens, Gemini's generateContent and its kin, and Ollama's api/chat and its kin, since it can count what those cost", e.Method, e.Path)
}

// parseTarget reads method and path: /v1/… for the protocol's own provider, or
// /p/NAME/… for one by its name.
func parseTarget(method string, u *url.URL, names func(string) bool) (*request, error) {
	r := &request{method: method, query: u.RawQuery, Asked: protocol.Asked{N: 1}}
	path := strings.Trim(u.Path, "/")
	if rest, ok := strings.CutPrefix(path, "p/"); ok {
		name, below, _ := strings.Cut(rest, "/")
		if !names(name) {
			return nil, &noEndpointError{method, u.Path}
		}
		r.provider, path = name, below
	}
	path = strings.TrimPrefix(path, "v1/")
	if !fs.ValidPath(path) { // nothing leads out of the provider's own paths
		return nil, &noEndpointError{method, u.Path}
	}
	if r.protocol, r.endpoint, r.path = protocol.Route(method, path, r.provider != ""); r.endpoint == "" {
		return nil, &noEndpointError{method, u.Path}
	}
	return r, nil
}

// bodyError says that a request's body cannot be a call.
type bodyError struct{ Why string }

func (e *bodyError) Error() string { return e.Why }

// read reads what counts of a body, and gives it in canonical form.
func (r *request) read(body []byte, rules Rules, client []string) (canonical []byte, err error) {
	r.body = body
	if r.method == http.MethodGet {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, &bodyError{fmt.Sprintf("the body is not a JSON object: %v", err)}
	}
	if d.More() {
		return nil, &bodyError{"there is something behind the body's JSON object"}
	}
	// Which of two a provider would take is unknown.
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
		return nil, &bodyError{fmt.Sprintf("the body has the key %q twice", twice)}
	}
	r.Asked = protocol.ReadRequest(r.endpoint, v, len(body), client...)
	if r.Model == "" {
		r.Model = protocol.ModelIn(r.path)
	}
	rules.Apply(v)
	return ledger.CanonicalJSON(v)
}
