package protocol

import (
	"encoding/json"
	"maps"
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
	Tier       string // of the service, as the program asks for it; "": it does not
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
// that of its body, in bytes; client are types of tools that programs run themselves,
// besides those that are known.
func ReadRequest(e Endpoint, v map[string]any, size int, client ...string) Asked {
	r := Asked{N: 1}
	r.Model, _ = v["model"].(string)
	r.Stream, _ = v["stream"].(bool)
	r.Tier, _ = v["service_tier"].(string)
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
	r.In = overheadTokens + int64(size) - w.notText + w.images*w.image + w.other
	for _, name := range []string{"previous_response_id", "conversation", "prompt", "container"} {
		if v[name] != nil && e == Responses {
			r.In += conversationTokens
		}
	}
	r.UsageAsked = usageAsked(v)
	r.Background, _ = v["background"].(bool)
	if p := of(e); p == protocols[OpenAI] || p == protocols[Anthropic] {
		r.Runs = providerTool(v, client)
	}
	of(e).Ask(e, v, &r, &w)
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

// hostedTools begin the types of tools of which it is known that providers run them.
var hostedTools = []string{"web_", "file_search", "code_", "image_generation", "mcp", "google", "url_context"}

// Hosted reports whether providers are known to run tools of a type.
func Hosted(kind string) bool {
	return slices.ContainsFunc(hostedTools, func(h string) bool { return strings.HasPrefix(kind, h) })
}

// providerTool is the tool that a request has its provider run, if any: a
// search in the web, say. What it finds counts as input, and it costs by itself.
func providerTool(v object, client []string) string {
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
			if runs := providerTool(object{"tools": of["tools"]}, client); runs != "" {
				return runs
			}
		case kind == "shell" && hosted(of):
			return "shell in a container of the provider"
		case kind != "" && !slices.Contains(client, kind) && !slices.ContainsFunc(clientTools, func(c string) bool { return strings.HasPrefix(kind, c) }):
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
	other         int64 // tokens of documents and sounds, at most
	notText       int64 // bytes
	named         int64 // files of unknown size that Gemini was given before
}

func (w *weight) add(v any) {
	switch v := v.(type) {
	case map[string]any:
		if u, ok := v["url"].(string); ok && strings.HasPrefix(u, "http") && v["detail"] != nil {
			w.images++
		}
		if v["fileData"] != nil || v["file_data"] != nil && v["type"] == nil && v["filename"] == nil {
			w.named++
		}
		switch v["type"] {
		case "image", "input_image", "image_url":
			w.images++
		case "document", "file", "input_file":
			if elsewhere(v) {
				w.other += mostPages * w.page()
			}
		case "tool_use":
			return
		}
		for name, one := range v {
			if slices.Contains(anyJSON, name) {
				continue
			}
			s, text := one.(string)
			if kind, data := media(v, name, s); text && kind != "" {
				w.file(kind, data, v["mimeType"] == nil && v["mime_type"] == nil)
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

// media is the type of a file that a field has in it, and the file in base64; "": it has
// none. A field counts by what stands beside it, as each protocol has it, or as a data URL.
func media(of object, name, value string) (kind, data string) {
	if rest, ok := strings.CutPrefix(value, "data:"); ok {
		if kind, data, ok := strings.Cut(rest, ";base64,"); ok {
			return kind, data
		}
	}
	if name != "data" {
		return "", ""
	}
	for _, field := range []string{"media_type", "mimeType", "mime_type"} {
		if kind, _ := of[field].(string); kind != "" {
			return kind, value
		}
	}
	if format, _ := of["format"].(string); format != "" { // of input_audio
		return "audio/" + format, value
	}
	return "", ""
}

// anyJSON are fields in which anything may stand, as text.
var anyJSON = []string{"tools", "functions", "input_schema", "parameters", "args", "response", "response_format"}

// elsewhere reports whether a document is named, by an id or an address.
func elsewhere(of object) bool {
	for _, in := range []any{of, of["file"], of["source"]} {
		o, _ := in.(object)
		for _, name := range []string{"file_id", "file_url", "url"} {
			if o[name] != nil {
				return true
			}
		}
	}
	return false
}

// page is what a page of a document is at most, in tokens.
func (w *weight) page() int64 { return pageTokens + min(w.image, pageImage) }

// file counts what a file is at most; what is neither an image, a document nor a sound
// stays text. typed says that what it is in has a type, as OpenAI and Anthropic have it.
func (w *weight) file(kind, data string, typed bool) {
	switch {
	case strings.HasPrefix(kind, "image/"):
		if !typed { // else it was counted where it says that it is one
			w.images++
		}
	case kind == "application/pdf":
		w.other += pages(data) * w.page()
	case strings.HasPrefix(kind, "audio/"):
		w.other += soundTokens(kind, data)
	default:
		return
	}
	w.notText += int64(len(data))
}

func sortedKeys(v object) []string { return slices.Sorted(maps.Keys(v)) }
