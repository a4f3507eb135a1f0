package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/tidwall/gjson"

	"ratchet/internal/failure"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/research"
)

// judge says what an answer that is no stream comes to. A success must be what
// the protocol says it is, so that garbage is neither recorded nor passed on.
func (u *upstream) judge(r *request, t target, convert *protocol.Conversion, a *answer) error {
	if r.endpoint == tool && a.status < 500 && a.status != http.StatusRequestTimeout && a.status != http.StatusTooManyRequests {
		a.class, a.use.Found = research.Succeeded, true
		return nil
	}
	body, err := plain(a.header, a.body)
	switch {
	case err != nil:
		a.class, a.why = research.Transient, "the answer cannot be unpacked: "+err.Error()
		return errors.New(a.why)
	case a.status >= 200 && a.status < 300 && !looksWhole(body):
		a.class, a.why = research.Transient, "the answer is not a JSON object"
		return errors.New(a.why)
	case a.status >= 200 && a.status < 300:
		a.use.Read(t.endpointOf(r), body)
		a.class = research.Succeeded
		if convert != nil {
			return a.answerIn(r, convert, body)
		}
		return nil
	case a.status < 400:
		a.class, a.why = research.ProgramFault, fmt.Sprintf("status %d", a.status)
		return nil
	}
	v := failure.Answer(a.status, retryAfter(a.header).Seconds(), string(body))
	a.class, a.why = v.Class, v.Message
	if a.class == research.RateLimited {
		u.leaveAlone(t, a)
	}
	if convert != nil {
		a.faultIn(r, body)
	}
	if a.class == research.Transient {
		return errors.New(a.why)
	}
	return nil
}

// looksWhole reports whether a body is a JSON object.
func looksWhole(body []byte) bool {
	b := bytes.TrimSpace(body)
	return len(b) > 1 && b[0] == '{' && gjson.ValidBytes(b)
}

// plain is an answer's body as text, whatever its encoding.
func plain(h http.Header, body []byte) ([]byte, error) {
	switch h.Get("Content-Encoding") {
	case "", "identity":
		return body, nil
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		const most = 256 << 20
		out, err := io.ReadAll(io.LimitReader(z, most+1))
		if err == nil && len(out) > most {
			err = errors.New("it unpacks to more than 256 MiB")
		}
		return out, err
	}
	return nil, fmt.Errorf("its encoding is %q", h.Get("Content-Encoding"))
}

// leaveAlone keeps others from a provider that is asked too much.
func (u *upstream) leaveAlone(t target, a *answer) {
	wait := retryAfter(a.header)
	if wait <= 0 || wait > mostHold {
		return
	}
	_ = u.shared.blockUntil(t.name(), u.shared.now().Add(wait)) // they find out themselves, too
}

// obey reads the headers in which providers say how much is left. Where nothing
// is, no call is sent before there is more.
func (u *upstream) obey(t target, h http.Header) {
	for _, names := range [][2]string{
		{"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
		{"X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
		{"Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"},
		{"Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"},
	} {
		if h.Get(names[0]) != "0" {
			continue
		}
		now := u.shared.now()
		until := now
		if d, err := time.ParseDuration(h.Get(names[1])); err == nil {
			until = now.Add(d)
		} else if t, err := time.Parse(time.RFC3339, h.Get(names[1])); err == nil {
			until = t
		}
		if until.After(now) && until.Before(now.Add(mostWait)) {
			_ = u.shared.blockUntil(t.name(), until) // a 429 would say it once more
		}
	}
}

// retryAfter reads how long a server wants not to be asked. RFC 9110, 10.2.3;
// retry-after-ms is OpenAI's and Azure's.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// notPassed are headers that belong to a connection, or to the proxy alone.
var notPassed = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Set-Cookie", "Alt-Svc"}

// passed are the headers of an answer that its client gets.
func passed(h http.Header) http.Header {
	out := h.Clone()
	for _, name := range notPassed {
		out.Del(name)
	}
	return out
}
