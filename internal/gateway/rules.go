package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rules say what of a request does not make it another one.
type Rules struct {
	Fields []string         // JSON pointers (RFC 6901); * stands for any element of a list
	Text   []*regexp.Regexp // parts of texts
}

// alwaysIgnored are fields that name who asks and change no answer.
var alwaysIgnored = []string{"/metadata", "/user", "/safety_identifier", "/prompt_cache_key", "/client_metadata", "/input/*/id", "/input/*/internal_chat_message_metadata_passthrough"}

// Apply takes out of a request what does not count.
func (r Rules) Apply(v map[string]any) {
	for _, pointer := range slices.Concat(alwaysIgnored, r.Fields) {
		remove(v, strings.Split(strings.TrimPrefix(pointer, "/"), "/"))
	}
	if len(r.Text) > 0 {
		for name, one := range v {
			v[name] = r.blank(one)
		}
	}
}

func (r Rules) blank(v any) any {
	switch v := v.(type) {
	case string:
		for _, re := range r.Text {
			v = re.ReplaceAllString(v, "*")
		}
		return v
	case []any:
		for i := range v {
			v[i] = r.blank(v[i])
		}
	case map[string]any:
		for name, one := range v {
			v[name] = r.blank(one)
		}
	}
	return v
}

// unescape reads a part of a JSON pointer.
var unescape = strings.NewReplacer("~1", "/", "~0", "~")

func remove(v any, path []string) {
	name := unescape.Replace(path[0])
	switch v := v.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(v, name)
			return
		}
		remove(v[name], path[1:])
	case []any:
		for i := range v {
			if len(path) > 1 && (name == "*" || name == strconv.Itoa(i)) {
				remove(v[i], path[1:])
			}
		}
	}
}

// countingHeaders are those that are part of a request: they change what is
// answered.
var countingHeaders = []string{"Anthropic-Version", "Anthropic-Beta", "Openai-Beta", "Openai-Organization", "Openai-Project"}

// headers are those of a request's headers that count, NAME: value.
func headers(h http.Header) []string {
	var out []string
	for _, name := range countingHeaders {
		if v := h.Values(name); len(v) > 0 {
			out = append(out, name+": "+strings.Join(v, ", "))
		}
	}
	return out
}

// digest names a request: what counts of it, in canonical form.
func (r *request) digest(canonical []byte) string {
	h := sha256.New()
	for _, s := range []string{r.method, r.provider, r.path, r.query, strings.Join(headers(r.header), "\n")} {
		_, _ = io.WriteString(h, strconv.Itoa(len(s))+":"+s) // a hash takes everything
	}
	h.Write(canonical)
	return hex.EncodeToString(h.Sum(nil))
}
