package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"ratchet/internal/research"
)

// conversion is what a call that crosses from one protocol to the other needs.
// Such a call is not streamed by its provider; where the program asked for a
// stream, the whole answer becomes one.
type conversion struct {
	path    string
	headers func(http.Header)
	answer  func(r *request, a *answer, body []byte) error
	fault   func(r *request, a *answer, body []byte)
}

// NotCarriedError says that a request has something in it that the other
// protocol has no word for.
type NotCarriedError struct {
	What   string
	Target string
}

func (e *NotCarriedError) Error() string {
	return fmt.Sprintf("%s cannot be carried over to %s, which speaks another protocol; take it out, or name only models of the same protocol", e.What, e.Target)
}

type object = map[string]any

// anthropicVersion is the version of the protocol that translated requests are
// written in.
const anthropicVersion = "2023-06-01"

// translate writes a request in a target's protocol.
func translate(r *request, t target) (*conversion, []byte, error) {
	var v object
	if err := json.Unmarshal(r.body, &v); err != nil {
		return nil, nil, &BodyError{err.Error()}
	}
	var c *conversion
	var out object
	var err error
	switch {
	case r.endpoint == chat && t.provider.Protocol == Anthropic:
		out, err = chatToMessages(v, t)
		c = &conversion{path: "v1/messages", answer: messagesToChat, fault: toFault, headers: func(h http.Header) {
			h.Set("Anthropic-Version", anthropicVersion)
		}}
	case r.endpoint == messages && t.provider.Protocol == OpenAI:
		out, err = messagesToChatRequest(v, t)
		c = &conversion{path: "chat/completions", answer: chatToMessage, fault: toFault, headers: func(h http.Header) {
			h.Del("Anthropic-Version")
			h.Del("Anthropic-Beta")
		}}
	default:
		err = &NotCarriedError{"a call of " + string(r.endpoint), t.name()}
	}
	var not *NotCarriedError
	if errors.As(err, &not) {
		not.Target = t.name()
	}
	if err != nil {
		return nil, nil, err
	}
	b, err := canonicalJSON(out)
	return c, b, err
}

func cannot(what string, args ...any) error {
	return &NotCarriedError{What: fmt.Sprintf(what, args...)}
}

// hints change nothing about what is asked for.
var hints = []string{"model", "stream", "stream_options", "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier"}

// known refuses fields that no translation knows; zero stands for not asked.
func known(v object, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		switch one := v[name].(type) {
		case nil:
			continue
		case float64:
			if one == 0 && !slices.Contains(names, name) {
				continue
			}
		case bool:
			if !one && !slices.Contains(names, name) {
				continue
			}
		}
		if !slices.Contains(names, name) && !slices.Contains(hints, name) {
			return cannot("the field %s", name)
		}
	}
	return nil
}

// copied are the fields that both protocols have, by name.
func copied(from, to object, names map[string]string) {
	for a, b := range names {
		if v, ok := from[a]; ok && v != nil {
			to[b] = v
		}
	}
}

func chatToMessages(v object, t target) (object, error) {
	if n, _ := v["n"].(float64); n > 1 {
		return nil, cannot("n: %v, several answers at once,", n)
	}
	if f, ok := v["response_format"].(object); ok && f["type"] == "text" {
		delete(v, "response_format")
	}
	if x, _ := v["temperature"].(float64); x > 1 {
		return nil, cannot("a temperature above 1")
	}
	delete(v, "n")
	err := known(v, "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls")
	if err != nil {
		return nil, err
	}
	out := object{"model": t.model}
	copied(v, out, map[string]string{"temperature": "temperature", "top_p": "top_p", "max_tokens": "max_tokens", "max_completion_tokens": "max_tokens"})
	if out["max_tokens"] == nil {
		most := t.price.MaxOutput
		if most <= 0 || most > 8192 {
			most = 8192 // the protocol has no way to leave it open
		}
		out["max_tokens"] = most
	}
	switch stop := v["stop"].(type) {
	case string:
		out["stop_sequences"] = []any{stop}
	case []any:
		out["stop_sequences"] = stop
	}
	var system []string
	var turns []any
	list, _ := v["messages"].([]any)
	for _, one := range list {
		m, _ := one.(object)
		switch role, _ := m["role"].(string); role {
		case "system", "developer":
			text, err := onlyText(m["content"], "a system message")
			if err != nil {
				return nil, err
			}
			system = append(system, text)
		case "user":
			blocks, err := partsToBlocks(m["content"])
			if err != nil {
				return nil, err
			}
			turns = append(turns, object{"role": "user", "content": blocks})
		case "assistant":
			blocks, err := assistantBlocks(m)
			if err != nil {
				return nil, err
			}
			turns = append(turns, object{"role": "assistant", "content": blocks})
		case "tool":
			text, err := onlyText(m["content"], "the result of a tool")
			if err != nil {
				return nil, err
			}
			block := object{"type": "tool_result", "tool_use_id": m["tool_call_id"], "content": text}
			// The results of one turn's tools come together.
			if n := len(turns); n > 0 {
				before, _ := turns[n-1].(object)
				blocks, _ := before["content"].([]any)
				if before["role"] == "user" && len(blocks) > 0 && blocks[0].(object)["type"] == "tool_result" {
					before["content"] = append(blocks, block)
					continue
				}
			}
			turns = append(turns, object{"role": "user", "content": []any{block}})
		default:
			return nil, cannot("a message of the role %q", role)
		}
	}
	out["messages"] = turns
	if len(system) > 0 {
		out["system"] = strings.Join(system, "\n\n")
	}
	return out, toolsToAnthropic(v, out)
}

func toolsToAnthropic(v, out object) error {
	var tools []any
	list, _ := v["tools"].([]any)
	for _, one := range list {
		tool, _ := one.(object)
		f, ok := tool["function"].(object)
		if tool["type"] != "function" || !ok {
			return cannot("a tool of the type %v", tool["type"])
		}
		schema := f["parameters"]
		if schema == nil {
			schema = object{"type": "object", "properties": object{}}
		}
		made := object{"name": f["name"], "input_schema": schema}
		copied(f, made, map[string]string{"description": "description"})
		tools = append(tools, made)
	}
	if len(tools) == 0 {
		return nil
	}
	out["tools"] = tools
	choice := object{"type": "auto"}
	switch c := v["tool_choice"].(type) {
	case string:
		choice["type"] = map[string]string{"auto": "auto", "none": "none", "required": "any"}[c]
	case object:
		f, _ := c["function"].(object)
		choice = object{"type": "tool", "name": f["name"]}
	}
	if choice["type"] == "" {
		return cannot("the tool_choice %v", v["tool_choice"])
	}
	if p, ok := v["parallel_tool_calls"].(bool); ok && !p && choice["type"] != "none" {
		choice["disable_parallel_tool_use"] = true
	}
	if len(choice) > 1 || choice["type"] != "auto" {
		out["tool_choice"] = choice
	}
	return nil
}

// onlyText is a content that has nothing but text in it.
func onlyText(content any, what string) (string, error) {
	switch c := content.(type) {
	case nil:
		return "", nil
	case string:
		return c, nil
	case []any:
		var texts []string
		for _, one := range c {
			p, _ := one.(object)
			s, ok := p["text"].(string)
			if p["type"] != "text" || !ok {
				return "", cannot("%s with a part of the type %v", what, p["type"])
			}
			texts = append(texts, s)
		}
		return strings.Join(texts, "\n"), nil
	}
	return "", cannot("%s of this form", what)
}

// partsToBlocks turns OpenAI's parts of a message into Anthropic's blocks.
func partsToBlocks(content any) ([]any, error) {
	if s, ok := content.(string); ok {
		return []any{object{"type": "text", "text": s}}, nil
	}
	list, ok := content.([]any)
	if !ok {
		return nil, cannot("a message of this form")
	}
	var out []any
	for _, one := range list {
		p, _ := one.(object)
		switch p["type"] {
		case "text":
			out = append(out, object{"type": "text", "text": p["text"]})
		case "image_url":
			u, _ := p["image_url"].(object)
			address, _ := u["url"].(string)
			media, data, inline := strings.Cut(strings.TrimPrefix(address, "data:"), ";base64,")
			switch {
			case strings.HasPrefix(address, "data:") && inline:
				out = append(out, object{"type": "image", "source": object{"type": "base64", "media_type": media, "data": data}})
			case strings.HasPrefix(address, "https://"):
				out = append(out, object{"type": "image", "source": object{"type": "url", "url": address}})
			default:
				return nil, cannot("an image of this form")
			}
		default:
			return nil, cannot("a message's part of the type %v", p["type"])
		}
	}
	return out, nil
}

func assistantBlocks(m object) ([]any, error) {
	text, err := onlyText(m["content"], "an answer of the model")
	if err != nil {
		return nil, err
	}
	out := []any{}
	if text != "" {
		out = append(out, object{"type": "text", "text": text})
	}
	list, _ := m["tool_calls"].([]any)
	for _, one := range list {
		c, _ := one.(object)
		f, _ := c["function"].(object)
		arguments, _ := f["arguments"].(string)
		input := object{}
		if strings.TrimSpace(arguments) != "" {
			if err := json.Unmarshal([]byte(arguments), &input); err != nil {
				return nil, cannot("a tool's arguments that are not JSON (%v)", f["name"])
			}
		}
		out = append(out, object{"type": "tool_use", "id": c["id"], "name": f["name"], "input": input})
	}
	return out, nil
}

// messagesToChatRequest turns a request of Anthropic's protocol into one of
// OpenAI's.
func messagesToChatRequest(v object, t target) (object, error) {
	if th, ok := v["thinking"].(object); ok && th["type"] == "disabled" {
		delete(v, "thinking")
	}
	if err := known(v, "messages", "max_tokens", "system", "temperature", "top_p", "stop_sequences", "tools", "tool_choice"); err != nil {
		return nil, err
	}
	out := object{"model": t.model}
	most := "max_tokens"
	if t.provider.Prices == "openai" || t.provider.Prices == "azure" {
		most = "max_completion_tokens" // the other one is refused by models that reason
	}
	copied(v, out, map[string]string{"temperature": "temperature", "top_p": "top_p", "stop_sequences": "stop", "max_tokens": most})
	var turns []any
	if v["system"] != nil {
		text, err := onlyText(v["system"], "a system prompt")
		if err != nil {
			return nil, err
		}
		turns = append(turns, object{"role": "system", "content": text})
	}
	list, _ := v["messages"].([]any)
	for _, one := range list {
		m, _ := one.(object)
		made, err := turnToChat(m)
		if err != nil {
			return nil, err
		}
		turns = append(turns, made...)
	}
	out["messages"] = turns
	return out, toolsToOpenAI(v, out)
}

func turnToChat(m object) ([]any, error) {
	role, _ := m["role"].(string)
	if role != "user" && role != "assistant" {
		return nil, cannot("a message of the role %q", role)
	}
	if s, ok := m["content"].(string); ok {
		return []any{object{"role": role, "content": s}}, nil
	}
	blocks, _ := m["content"].([]any)
	var results, parts, calls []any
	for _, one := range blocks {
		b, _ := one.(object)
		switch b["type"] {
		case "text":
			parts = append(parts, object{"type": "text", "text": b["text"]})
		case "image":
			s, _ := b["source"].(object)
			address := ""
			switch s["type"] {
			case "base64":
				address = fmt.Sprintf("data:%v;base64,%v", s["media_type"], s["data"])
			case "url":
				address, _ = s["url"].(string)
			}
			if address == "" {
				return nil, cannot("an image of this form")
			}
			parts = append(parts, object{"type": "image_url", "image_url": object{"url": address}})
		case "tool_use":
			input, err := canonicalJSON(b["input"])
			if err != nil {
				return nil, err
			}
			calls = append(calls, object{"id": b["id"], "type": "function", "function": object{"name": b["name"], "arguments": string(input)}})
		case "tool_result":
			text, err := onlyText(b["content"], "the result of a tool")
			if err != nil {
				return nil, err
			}
			if failed, _ := b["is_error"].(bool); failed {
				text = "The tool failed: " + text
			}
			results = append(results, object{"role": "tool", "tool_call_id": b["tool_use_id"], "content": text})
		default:
			return nil, cannot("a message's block of the type %v", b["type"])
		}
	}
	out := results
	if role == "assistant" {
		text, err := onlyText(parts, "an answer of the model")
		if err != nil {
			return nil, err
		}
		turn := object{"role": role, "content": text}
		if len(calls) > 0 {
			turn["tool_calls"] = calls
		}
		return append(out, turn), nil
	}
	if len(parts) > 0 {
		out = append(out, object{"role": role, "content": parts})
	}
	return out, nil
}

func toolsToOpenAI(v, out object) error {
	var tools []any
	list, _ := v["tools"].([]any)
	for _, one := range list {
		tool, _ := one.(object)
		if kind := tool["type"]; kind != nil && kind != "custom" {
			return cannot("a tool of the type %v", kind)
		}
		f := object{"name": tool["name"], "parameters": tool["input_schema"]}
		copied(tool, f, map[string]string{"description": "description"})
		tools = append(tools, object{"type": "function", "function": f})
	}
	if len(tools) == 0 {
		return nil
	}
	out["tools"] = tools
	c, _ := v["tool_choice"].(object)
	switch c["type"] {
	case nil, "auto":
	case "any":
		out["tool_choice"] = "required"
	case "none":
		out["tool_choice"] = "none"
	case "tool":
		out["tool_choice"] = object{"type": "function", "function": object{"name": c["name"]}}
	default:
		return cannot("the tool_choice %v", c["type"])
	}
	if off, _ := c["disable_parallel_tool_use"].(bool); off {
		out["parallel_tool_calls"] = false
	}
	return nil
}

// toFault writes a provider's error in the form of the program's protocol.
func toFault(r *request, a *answer, body []byte) {
	var v struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	message := research.Printable(string(body), 500)
	if json.Unmarshal(body, &v) == nil && v.Error.Message != "" {
		message = v.Error.Message
	}
	_, a.body = refusal(r.protocol, a.class, message)
	a.header = a.header.Clone()
	a.header.Del("Content-Encoding")
	a.header.Set("Content-Type", "application/json")
}

// finish puts a translated answer in the place of the provider's own.
func (a *answer) finish(r *request, whole object, stream func(object) []byte) error {
	a.header = a.header.Clone()
	a.header.Del("Content-Encoding")
	a.header.Set("Content-Type", "application/json")
	b, err := canonicalJSON(whole)
	if err == nil && r.stream {
		a.header.Set("Content-Type", "text/event-stream; charset=utf-8")
		b = stream(whole)
	}
	a.body = b
	return err
}

// garbled says that an answer is not what its protocol says.
func (a *answer) garbled(err error) error {
	a.class, a.why = research.Transient, "the answer cannot be translated: "+err.Error()
	return errors.New(a.why)
}

var stopReasons = map[string]string{"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter", "pause_turn": "stop"}

var finishReasons = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}

// messagesToChat turns an answer of Anthropic's protocol into one of OpenAI's.
func messagesToChat(r *request, a *answer, body []byte) error {
	var m struct {
		ID      string `json:"id"`
		Model   string `json:"model"`
		Content []struct {
			Type, Text, ID, Name string
			Input                json.RawMessage
		} `json:"content"`
		StopReason string `json:"stop_reason"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return a.garbled(err)
	}
	var text strings.Builder
	var calls []any
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			text.WriteString(b.Text)
		case "tool_use":
			calls = append(calls, object{"id": b.ID, "type": "function", "function": object{"name": b.Name, "arguments": string(b.Input)}})
		}
	}
	message := object{"role": "assistant", "content": text.String(), "refusal": nil}
	if len(calls) > 0 {
		message["tool_calls"] = calls
		if text.Len() == 0 {
			message["content"] = nil
		}
	}
	u := a.use.tokens
	return a.finish(r, object{
		"id": m.ID, "object": "chat.completion", "created": time.Now().Unix(), "model": m.Model,
		"choices": []any{object{"index": 0, "message": message, "logprobs": nil, "finish_reason": stopReasons[m.StopReason]}},
		"usage":   object{"prompt_tokens": u.In, "completion_tokens": u.Out, "total_tokens": u.In + u.Out, "prompt_tokens_details": object{"cached_tokens": u.CacheRead}},
	}, func(whole object) []byte { return chatStream(r, whole) })
}

// chatToMessage turns an answer of OpenAI's protocol into one of Anthropic's.
func chatToMessage(r *request, a *answer, body []byte) error {
	var m struct {
		ID      string `json:"id"`
		Model   string `json:"model"`
		Choices []struct {
			Message struct {
				Content   string `json:"content"`
				ToolCalls []struct {
					ID       string `json:"id"`
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			} `json:"message"`
			FinishReason string `json:"finish_reason"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return a.garbled(err)
	}
	if len(m.Choices) == 0 {
		return a.garbled(errors.New("it has no choices"))
	}
	c := m.Choices[0]
	content := []any{}
	if c.Message.Content != "" {
		content = append(content, object{"type": "text", "text": c.Message.Content})
	}
	for _, call := range c.Message.ToolCalls {
		input := json.RawMessage(call.Function.Arguments)
		if len(strings.TrimSpace(call.Function.Arguments)) == 0 {
			input = json.RawMessage("{}")
		}
		if !json.Valid(input) {
			return a.garbled(errors.New("a tool's arguments are not JSON"))
		}
		content = append(content, object{"type": "tool_use", "id": call.ID, "name": call.Function.Name, "input": input})
	}
	u := a.use.tokens
	return a.finish(r, object{
		"id": m.ID, "type": "message", "role": "assistant", "model": m.Model, "content": content,
		"stop_reason": finishReasons[c.FinishReason], "stop_sequence": nil,
		"usage": object{"input_tokens": u.In - u.CacheRead, "cache_read_input_tokens": u.CacheRead, "cache_creation_input_tokens": 0, "output_tokens": u.Out},
	}, messageStream)
}

// chatStream is an answer as OpenAI's stream of chunks.
func chatStream(r *request, whole object) []byte {
	choice := whole["choices"].([]any)[0].(object)
	message := choice["message"].(object)
	var b strings.Builder
	chunk := func(delta object, finish any, usage any) {
		v := object{"id": whole["id"], "object": "chat.completion.chunk", "created": whole["created"], "model": whole["model"], "choices": []any{}}
		if delta != nil {
			v["choices"] = []any{object{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}
		}
		if usage != nil {
			v["usage"] = usage
		}
		data, _ := canonicalJSON(v) // of what was just read
		fmt.Fprintf(&b, "data: %s\n\n", data)
	}
	chunk(object{"role": "assistant", "content": ""}, nil, nil)
	if text, _ := message["content"].(string); text != "" {
		chunk(object{"content": text}, nil, nil)
	}
	calls, _ := message["tool_calls"].([]any)
	for i, one := range calls {
		call := maps.Clone(one.(object))
		call["index"] = i
		chunk(object{"tool_calls": []any{call}}, nil, nil)
	}
	chunk(object{}, choice["finish_reason"], nil)
	var asked struct {
		Options struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if json.Unmarshal(r.body, &asked) == nil && asked.Options.Usage {
		chunk(nil, nil, whole["usage"])
	}
	b.WriteString("data: [DONE]\n\n")
	return []byte(b.String())
}

// messageStream is an answer as Anthropic's stream of events.
func messageStream(whole object) []byte {
	var b strings.Builder
	event := func(name string, v object) {
		v["type"] = name
		data, _ := canonicalJSON(v) // of what was just read
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, data)
	}
	begin := maps.Clone(whole)
	begin["content"], begin["stop_reason"] = []any{}, nil
	event("message_start", object{"message": begin})
	for i, one := range whole["content"].([]any) {
		block := one.(object)
		switch block["type"] {
		case "text":
			event("content_block_start", object{"index": i, "content_block": object{"type": "text", "text": ""}})
			event("content_block_delta", object{"index": i, "delta": object{"type": "text_delta", "text": block["text"]}})
		default:
			event("content_block_start", object{"index": i, "content_block": object{"type": "tool_use", "id": block["id"], "name": block["name"], "input": object{}}})
			input, _ := canonicalJSON(block["input"])
			event("content_block_delta", object{"index": i, "delta": object{"type": "input_json_delta", "partial_json": string(input)}})
		}
		event("content_block_stop", object{"index": i})
	}
	usage := whole["usage"].(object)
	event("message_delta", object{"delta": object{"stop_reason": whole["stop_reason"], "stop_sequence": nil}, "usage": object{"output_tokens": usage["output_tokens"]}})
	event("message_stop", object{})
	return []byte(b.String())
}
