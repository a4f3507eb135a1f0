package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"ratchet/internal/gateway/ledger"
)

// usageAsked reports whether a request wants its tokens told at the end of a stream.
func usageAsked(v object) bool {
	options, _ := v["stream_options"].(object)
	asked, _ := options["include_usage"].(bool)
	return asked
}

// chatToMessages turns a request of OpenAI's protocol into one of Anthropic's.
func chatToMessages(v object, t Target) (object, error) {
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
	out := object{"model": t.Model}
	copied(v, out, map[string]string{"temperature": "temperature", "top_p": "top_p", "max_tokens": "max_tokens", "max_completion_tokens": "max_tokens"})
	if out["max_tokens"] == nil {
		most := t.MaxOutput
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

var finishReasons = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}

// chatToMessage turns an answer of OpenAI's protocol into one of Anthropic's.
func chatToMessage(body []byte, used ledger.Tokens, stream bool) ([]byte, error) {
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
		return nil, err
	}
	if len(m.Choices) == 0 {
		return nil, errors.New("it has no choices")
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
			return nil, errors.New("a tool's arguments are not JSON")
		}
		content = append(content, object{"type": "tool_use", "id": call.ID, "name": call.Function.Name, "input": input})
	}
	return written(object{
		"id": m.ID, "type": "message", "role": "assistant", "model": m.Model, "content": content,
		"stop_reason": finishReasons[c.FinishReason], "stop_sequence": nil,
		"usage": object{"input_tokens": used.In - used.CacheRead, "cache_read_input_tokens": used.CacheRead, "cache_creation_input_tokens": 0, "output_tokens": used.Out},
	}, stream, messageStream)
}

// messageStream is an answer as Anthropic's stream of events.
func messageStream(whole object) []byte {
	var b strings.Builder
	event := func(name string, v object) {
		v["type"] = name
		data, _ := ledger.CanonicalJSON(v) // of what was just read
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
			input, _ := ledger.CanonicalJSON(block["input"])
			event("content_block_delta", object{"index": i, "delta": object{"type": "input_json_delta", "partial_json": string(input)}})
		}
		event("content_block_stop", object{"index": i})
	}
	usage := whole["usage"].(object)
	event("message_delta", object{"delta": object{"stop_reason": whole["stop_reason"], "stop_sequence": nil}, "usage": object{"output_tokens": usage["output_tokens"]}})
	event("message_stop", object{})
	return []byte(b.String())
}
