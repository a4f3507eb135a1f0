package protocol

import (
	"encoding/json"
	"slices"
	"strings"
)

type object = map[string]any

// Asked is what of a request bounds its cost, and how it is answered.
type Asked struct {
	Model  string // as the program names it
	Stream bool
	Out    int64 // tokens that the answer may have, as the program says; 0: it does not
	N      int64 // answers asked for
	In     int64 // tokens that the request has at most
	// UsageAsked: the program wants a stream's tokens told at its end.
	UsageAsked bool
	// Background: the answer is to be fetched later, from where it is not counted.
	Background bool
	Runs       string // a tool that the provider is to run, whose use cannot be bounded; "": none
}

// What tokens a request has at most. A token is one byte or more of text; an image
// counts by its size on the canvas, whatever its bytes. The prompt of tools that
// Anthropic adds is below the overhead.
const (
	overheadTokens     = 2_000
	conversationTokens = 1_000_000 // what the provider itself keeps of a conversation
)

// ReadRequest reads a request to an endpoint, with numbers as json.Number. size is
// that of its body, in bytes.
func ReadRequest(e Endpoint, v map[string]any, size int) Asked {
	r := Asked{N: 1}
	r.Model, _ = v["model"].(string)
	r.Stream, _ = v["stream"].(bool)
	for _, name := range []string{"max_completion_tokens", "max_tokens", "max_output_tokens"} {
		if n := whole(v[name]); n > 0 {
			r.Out = n
			break
		}
	}
	for _, name := range []string{"n", "best_of"} {
		r.N = max(r.N, whole(v[name]))
	}
	w := weight{image: of(e).ImageTokens()}
	w.add(v)
	r.In = overheadTokens + int64(size) - w.notText + w.images*w.image
	for _, name := range []string{"previous_response_id", "conversation", "prompt", "container"} {
		if v[name] != nil && e == Responses {
			r.In += conversationTokens
		}
	}
	r.UsageAsked = usageAsked(v)
	r.Background, _ = v["background"].(bool)
	r.Runs = providerTool(v)
	return r
}

// whole is a whole number of a request; 0: it is none.
func whole(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

// clientTools are the types of tools that the program runs itself, or begin
// them: what they cost is in the tokens. tool_search looks among the tools of the
// request.
var clientTools = []string{"function", "custom", "computer", "bash_", "text_editor_", "memory_", "local_shell", "shell", "apply_patch", "tool_search"}

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
		switch {
		case kind == "namespace": // groups others
			if runs := providerTool(object{"tools": of["tools"]}); runs != "" {
				return runs
			}
		case kind == "shell" && hosted(of):
			return "shell in a container of the provider"
		case kind != "" && !slices.ContainsFunc(clientTools, func(c string) bool { return strings.HasPrefix(kind, c) }):
			return kind
		}
	}
	return ""
}

// hosted reports whether a shell tool runs at the provider.
func hosted(tool object) bool {
	environment, _ := tool["environment"].(object)
	kind, _ := environment["type"].(string)
	return strings.HasPrefix(kind, "container")
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
