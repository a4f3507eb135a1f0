package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ratchet/internal/gateway/protocol"

	"github.com/tidwall/sjson"
)

// sent reports whether a provider gets a header of its client: those that say
// what is asked, and by which program. Others could say who asks, for whom, or
// that something else is meant.
func sent(name string) bool {
	return strings.HasPrefix(name, "X-Stainless-") || slices.Contains([]string{
		"Accept", "Accept-Language", "Content-Type", "User-Agent", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta",
		"Idempotency-Key", "X-Client-Request-Id", "Http-Referer", "X-Title",
	}, name)
}

// outgoing is the request that a target gets: the program's own, byte for byte,
// but for the key, and for the model's name where the program named it
// otherwise. Where the target speaks the other protocol, it is translated, and
// so must its answer be.
func (r *request) outgoing(ctx context.Context, t target) (*http.Request, *protocol.Conversion, error) {
	body, path := r.body, r.path
	var convert *protocol.Conversion
	if r.protocol == web {
		return r.fetching(ctx, t)
	}
	if r.bound > 0 {
		most := r.bound
		if t.price.MaxOutput > 0 {
			most = min(most, t.price.MaxOutput)
		}
		b, err := sjson.SetBytes(body, protocol.OutputField(r.endpoint, t.provider.Prices), most)
		if err != nil {
			return nil, nil, fmt.Errorf("bounding the answer: %w", err)
		}
		bounded := *r
		bounded.body, body = b, b
		r = &bounded
	}
	speaks := t.provider.Protocol
	if t.provider.Speaks(r.protocol) {
		speaks = r.protocol
	}
	if speaks != r.protocol {
		var err error
		if convert, body, err = translate(r, t); err != nil {
			return nil, nil, err
		}
		path = convert.Path
	} else if t.model != r.Model && r.method == http.MethodPost {
		var err error
		if path, body, err = protocol.Of(speaks).Rename(path, body, t.model); err != nil {
			return nil, nil, fmt.Errorf("naming the model: %w", err)
		}
	}
	if r.addsUsage(t) {
		b, err := sjson.SetBytes(body, "stream_options.include_usage", true)
		if err != nil {
			return nil, nil, fmt.Errorf("asking for the usage: %w", err)
		}
		body = b
	}
	address := protocol.Of(speaks).Join(t.provider.Address(speaks), path)
	if r.query != "" && convert == nil {
		address += "?" + r.query
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header = http.Header{}
	for name, values := range r.header {
		if sent(name) {
			req.Header[name] = slices.Clone(values)
		}
	}
	if convert != nil {
		convert.Headers(req.Header)
	}
	if r.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept-Encoding", "identity") // the answer is read on the way
	return req, convert, t.provider.Authorize(req.Header, speaks)
}

// addsUsage reports whether a target is asked, without the program's knowing, to tell
// at a stream's end what it used: what a model thought is in no other place.
func (r *request) addsUsage(t target) bool {
	return r.endpoint == protocol.Chat && r.Stream && !r.UsageAsked && t.provider.Speaks(r.protocol) && !t.provider.NoStreamOptions
}

// fetching is a request of a program to a host, as it is, but for what belongs
// to the connection with the proxy.
func (r *request) fetching(ctx context.Context, t target) (*http.Request, *protocol.Conversion, error) {
	address := t.provider.URL + "/" + r.path
	if r.query != "" {
		address += "?" + r.query
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(r.body))
	if err != nil {
		return nil, nil, err
	}
	req.Header = r.header.Clone()
	for _, name := range slices.Concat(notPassed, []string{"Proxy-Connection", "Accept-Encoding"}) {
		req.Header.Del(name)
	}
	req.Header.Set("Accept-Encoding", "identity")
	return req, nil, nil
}

// endpointOf is the endpoint that a target is asked for.
func (t target) endpointOf(r *request) protocol.Endpoint {
	if t.provider.Speaks(r.protocol) || r.protocol == web {
		return r.endpoint
	}
	return protocol.Of(t.provider.Protocol).Main()
}
