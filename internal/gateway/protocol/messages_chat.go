package protocol

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"ratchet/internal/gateway/ledger"
)

// messagesToChatRequest turns a request of Anthropic's protocol into one of
// OpenAI's.
func messagesToChatRequest(v object, t Target) (object, error) {
	if th, ok := v["thinking"].(object); ok && th["type"] == "disabled" {
		delete(v, "thinking")
	}
	if err := known(v, "messages", "max_tokens", "system", "temperature", "top_p", "stop_sequences", "tools", "tool_choice"); err != nil {
		return nil, err
	}
	out := object{"model": t.Model}
	copied(v, out, map[string]string{"temperature": "temperature", "top_p": "top_p", "stop_sequences": "stop", "max_tokens": OutputField(Chat, t.Rules)})
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
			input, err := ledger.CanonicalJSON(b["input"])
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

var stopReasons = map[string]string{"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter", "pause_turn": "stop"}

// messagesToChat turns an answer of Anthropic's protocol into one of OpenAI's.
func messagesToChat(body []byte, used ledger.Tokens, stream, withUsage bool) ([]byte, error) {
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
		return nil, err
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
	return written(object{
		"id": m.ID, "object": "chat.completion", "created": time.Now().Unix(), "model": m.Model,
		"choices": []any{object{"index": 0, "message": message, "logprobs": nil, "finish_reason": stopReasons[m.StopReason]}},
		"usage":   object{"prompt_tokens": used.In, "completion_tokens": used.Out, "total_tokens": used.In + used.Out, "prompt_tokens_details": object{"cached_tokens": used.CacheRead}},
	}, stream, func(whole object) []byte { return chatStream(whole, withUsage) })
}

// chatStream is an answer as OpenAI's stream of chunks.
func chatStream(whole object, withUsage bool) []byte {
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
		data, _ := ledger.CanonicalJSON(v) // of what was just read
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
	if withUsage {
		chunk(nil, nil, whole["usage"])
	}
	b.WriteString("data: [DONE]\n\n")
	return []byte(b.String())
}
