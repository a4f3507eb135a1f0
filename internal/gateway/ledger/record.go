package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// Event is one thing that happened to a call. As with a run's events, a form
// is never changed, only superseded by a new version.
type Event interface {
	kind() string
}

// Sent is journaled before a call leaves for its provider.
type Sent struct {
	Call     string   `json:"call"`
	Scope    string   `json:"scope"`   // the trial; of its attempts each gets the same answers
	Attempt  string   `json:"attempt"` // that made it
	Stage    string   `json:"stage,omitempty"`
	Digest   string   `json:"digest"` // of the canonical request
	Nth      int      `json:"nth"`    // occurrence of this request in its scope, from 1
	Method   string   `json:"method"`
	Path     string   `json:"path"`              // with its query
	Headers  []string `json:"headers,omitempty"` // those that are part of the request, NAME: value
	Model    string   `json:"model,omitempty"`   // as the program named it
	Targets  []string `json:"targets,omitempty"` // provider/model, in the order in which they are asked
	Stream   bool     `json:"stream,omitempty"`
	Request  Content  `json:"request"`
	Reserved Spending `json:"reserved"`
}

// Answered is journaled before the answer is delivered, or, where it is a
// stream, before its last event is.
type Answered struct {
	Call      string            `json:"call"`
	Provider  string            `json:"provider"`
	Model     string            `json:"model,omitempty"` // of the provider
	Status    int               `json:"status"`
	Header    map[string]string `json:"header,omitempty"`
	Answer    Content           `json:"answer"`
	Tokens    Tokens            `json:"tokens,omitzero"`
	Spent     Spending          `json:"spent"`
	Tier      string            `json:"tier,omitempty"`   // of the provider's service, as it names it
	Prices    string            `json:"prices,omitempty"` // where the price is from: the date of the table, or the settings
	Unpriced  bool              `json:"unpriced,omitempty"`
	Estimated bool              `json:"estimated,omitempty"` // the provider said nothing of its use
	First     float64           `json:"first_s"`             // until the first byte, seconds
	Took      float64           `json:"took_s"`              // until the last, with all retries and waits
	Retries   []Retry           `json:"retries,omitempty"`
}

// Retry is a try that failed.
type Retry struct {
	Provider string         `json:"provider"`
	Class    research.Class `json:"class"`
	Why      string         `json:"why"`
	Wait     float64        `json:"wait_s,omitempty"` // before the next
}

// Failed says that a call came to nothing: it can be made again, as the same.
type Failed struct {
	Call    string         `json:"call"`
	Class   research.Class `json:"class"`
	Why     string         `json:"why"`
	Status  int            `json:"status,omitempty"`
	Spent   Spending       `json:"spent,omitzero"` // of an answer that was broken off
	Took    float64        `json:"took_s"`
	Retries []Retry        `json:"retries,omitempty"`
}

// Delivered says that an attempt has the whole answer. It is journaled without
// waiting: where it is lost with the engine, the attempt, asking the same once
// more, gets this answer once more.
type Delivered struct {
	Call    string   `json:"call"`
	Attempt string   `json:"attempt"`
	Again   bool     `json:"again,omitempty"` // out of the record
	More    []string `json:"more,omitempty"`  // calls that were delivered just after it, in the same way
}

// Began says that an attempt's process starts: one that starts again under the
// same name, after the run was stopped, has none of the answers yet.
type Began struct {
	Attempt string `json:"attempt"`
}

// Refused says that a call was not let through.
type Refused struct {
	Attempt string         `json:"attempt"`
	Model   string         `json:"model,omitempty"`
	Path    string         `json:"path"`
	Class   research.Class `json:"class"`
	Why     string         `json:"why"`
}

func (Sent) kind() string      { return "call.sent" }
func (Answered) kind() string  { return "call.answered" }
func (Failed) kind() string    { return "call.failed" }
func (Delivered) kind() string { return "call.delivered" }
func (Refused) kind() string   { return "call.refused" }
func (Began) kind() string     { return "call.attempt" }

// recordVersion is the version of all forms.
const recordVersion = 1

func encodeRecord(r Event) (json.RawMessage, error) {
	b, err := CanonicalJSON(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s record: %w", r.kind(), err)
	}
	return b, nil
}

func decodeRecord(kind string, version int, payload json.RawMessage) (Event, error) {
	if version != recordVersion {
		return nil, &research.UnknownEventError{Type: kind, Version: version}
	}
	switch kind {
	case "call.sent":
		return decodeAs[Sent](payload)
	case "call.answered":
		return decodeAs[Answered](payload)
	case "call.failed":
		return decodeAs[Failed](payload)
	case "call.delivered":
		return decodeAs[Delivered](payload)
	case "call.refused":
		return decodeAs[Refused](payload)
	case "call.attempt":
		return decodeAs[Began](payload)
	}
	return nil, &research.UnknownEventError{Type: kind, Version: version}
}

// cutBody cuts a request's or an answer's body out of a record as encodeRecord
// writes it, and gives it as it stands there, in its quotes; nil: it has none.
// What is folded has no use for it, and it is most of the record.
func cutBody(payload json.RawMessage) (rest, body json.RawMessage) {
	for _, before := range []string{`"answer":{"text":`, `"request":{"text":`, `"answer":{"bytes":`, `"request":{"bytes":`} {
		// Within a string its quotes would be escaped.
		at := bytes.Index(payload, []byte(before+`"`))
		if at < 0 {
			continue
		}
		at += len(before)
		for end := at + 1; ; end++ {
			quote := bytes.IndexByte(payload[end:], '"')
			if quote < 0 {
				return payload, nil
			}
			end += quote
			if escapes := end - at - len(bytes.TrimRight(payload[at:end], `\`)); escapes%2 == 0 {
				return slices.Concat(payload[:at], []byte(`""`), payload[end+1:]), payload[at : end+1]
			}
		}
	}
	return payload, nil
}

func decodeAs[R Event](b json.RawMessage) (Event, error) {
	var r R
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("decoding a %s record: %w", r.kind(), err)
	}
	return r, nil
}

// Content is a body: in the record where it is small, else an object.
type Content struct {
	Text   string         `json:"text,omitempty"`
	Bytes  []byte         `json:"bytes,omitempty"` // what is not UTF-8
	Object objects.Digest `json:"object,omitempty"`
	Size   int64          `json:"size"`
}

// mostInline is the largest body that stands in a record itself, in bytes, and
// mostEscaped what it may become there: a payload has 64 KiB in all.
const (
	mostInline  = 32 << 10
	mostEscaped = 48 << 10
)

// Store keeps bodies that are too large for a record. *objects.Store is one.
type Store interface {
	PutBytes(content []byte) (objects.Digest, error)
	Get(d objects.Digest) ([]byte, error)
}

// Keep gives a body as a Content: one that is too large for a record, or would be once
// it is escaped, is an object of the store, durable on return.
func Keep(s Store, body []byte) (Content, error) {
	c := Content{Size: int64(len(body))}
	switch {
	case len(body) == 0:
		return c, nil
	case len(body) <= mostInline && utf8.Valid(body) && escaped(body) <= mostEscaped:
		c.Text = string(body)
		return c, nil
	case len(body) <= mostInline && !utf8.Valid(body):
		c.Bytes = body
		return c, nil
	}
	d, err := s.PutBytes(body)
	if err != nil {
		return c, fmt.Errorf("keeping a body: %w", err)
	}
	c.Object = d
	return c, nil
}

// escaped is the length of a text in JSON, at most.
func escaped(body []byte) int {
	n := len(body)
	if n*len(`\u0000`) <= mostEscaped {
		return n * len(`\u0000`) // near enough
	}
	for _, b := range body {
		switch {
		case b == '"' || b == '\\' || b == '\n' || b == '\r' || b == '\t':
			n++
		case b < 0x20 || b == 0xe2: // a line separator of Unicode, perhaps
			n += 5
		}
	}
	return n
}

// Load gives the body.
func (c Content) Load(s Store) ([]byte, error) {
	switch {
	case c.Object != "":
		return s.Get(c.Object)
	case c.Bytes != nil:
		return c.Bytes, nil
	}
	return []byte(c.Text), nil
}

// Call is what is known of a call.
type Call struct {
	Sent
	Time     time.Time `json:"time"`           // when it left first
	Open     bool      `json:"open,omitempty"` // it left, and nothing is known of it since
	Lost     int       `json:"lost,omitempty"` // how often it left, and the engine crashed
	Answered *Answered `json:"answered,omitempty"`
	Failed   *Failed   `json:"failed,omitempty"` // the last time
	Failures Spending  `json:"failures,omitzero"`
	// Delivered to these attempts; Again, of them, out of the record.
	Delivered []string `json:"delivered,omitempty"`
	Again     int      `json:"again,omitempty"`

	sent, answered int64 // sequence numbers of the records, the first and the last
	cut            bool  // open since before the ledger was opened: its engine died over it
}

// Spent is what a call cost, or may have: what was lost in a crash may have
// been paid for, as much as when it was made once more.
func (c *Call) Spent() Spending {
	each, n := c.Reserved, c.Lost
	switch {
	case c.Answered != nil:
		each = c.Answered.Spent
		n++
	case c.Open:
		n++
	}
	return each.Times(n).Plus(c.Failures)
}

// Operation is what a call asks for, in OpenTelemetry's words.
func (c *Call) Operation() string {
	switch {
	case strings.Contains(c.Path, "embeddings"):
		return "embeddings"
	case strings.HasSuffix(c.Path, "/completions") && !strings.HasSuffix(c.Path, "chat/completions"):
		return "text_completion"
	}
	return "chat"
}
