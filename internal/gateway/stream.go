package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"ratchet/internal/failure"
	"ratchet/internal/redact"
	"ratchet/internal/research"
)

// stream reads a stream of events and passes on what may be: all but the event
// that makes the answer whole, which waits for the journal.
func (u *upstream) stream(r *request, resp *http.Response, f *flight, began time.Time, watch *time.Timer, a *answer, fail func(error) error, keys *redact.Redactor) error {
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fail(fmt.Errorf("the stream is encoded as %s, and none was asked for", e))
	}
	header := passed(resp.Header)
	room := chunkPool.Get().(*[]byte)
	defer chunkPool.Put(room)
	chunk := *room
	var body []byte
	at := 0 // up to which the events were read
	ended, finished := false, false
	for {
		n, err := resp.Body.Read(chunk)
		if n > 0 {
			if len(body) == 0 {
				a.first = time.Since(began)
			}
			watch.Reset(u.settings.Stall)
			body = append(body, chunk[:n]...)
			for !ended {
				e, ok := nextEvent(body[at:])
				if !ok {
					break
				}
				if event := keys.Known(body[at : at+e.end]); !bytes.Equal(event, body[at:at+e.end]) {
					body = slices.Concat(body[:at], event, body[at+e.end:])
					e, _ = nextEvent(body[at:])
				}
				switch e.is(r.endpoint) {
				case last:
					ended = true // it and what follows waits
					a.use.read(r.endpoint, e.data)
					continue
				case wrong:
					v := failure.Answer(http.StatusServiceUnavailable, 0, string(e.data))
					a.class, a.why, a.body = v.Class, "the stream broke with an error: "+research.Printable(string(e.data), 300), body
					if a.begun {
						f.change(func() { f.body, f.visible = body, at+e.end }) // it says so itself
					}
					return errors.New(a.why)
				}
				if bytes.Contains(e.data, []byte(`"finish_reason":"`)) || bytes.Contains(e.data, []byte(`"finish_reason": "`)) {
					finished = true
				}
				a.use.read(r.endpoint, e.data)
				at += e.end
			}
			if at > 0 {
				a.begun = true
				f.change(func() { f.status, f.header, f.body, f.visible = resp.StatusCode, header, body, at })
			}
		}
		switch {
		case int64(len(body)) > u.settings.MaxAnswer:
			return fail(fmt.Errorf("the answer is larger than models.max_answer, %d bytes", u.settings.MaxAnswer))
		case errors.Is(err, io.EOF) && (ended || finished && r.endpoint != messages && r.endpoint != responses):
			// Some servers leave the last line of chat completions out.
			a.body, a.class, a.begun = slices.Concat(body[:at], keys.Known(body[at:])), research.Succeeded, false
			return nil
		case errors.Is(err, io.EOF):
			return fail(errors.New("the stream ended before the answer was whole"))
		case err != nil && ended:
			body = slices.Concat(body[:at], keys.Known(body[at:]))
			a.body, a.class, a.begun = body[:wholeEvents(body)], research.Succeeded, false // all that counts is there
			return nil
		case err != nil:
			return fail(fmt.Errorf("reading the stream: %w", err))
		}
	}
}

// wholeEvents is the length of the whole events of a stream.
func wholeEvents(b []byte) (n int) {
	for {
		e, ok := nextEvent(b[n:])
		if !ok {
			return n
		}
		n += e.end
	}
}

// event is one of a stream of server-sent events, with where it ends.
type event struct {
	name string
	data []byte
	end  int // of it and the blank line behind it
}

// nextEvent reads the first whole event of a buffer; ok false: there is none.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func nextEvent(b []byte) (e event, ok bool) {
	at := 0
	for {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return event{}, false
		}
		line := bytes.TrimSuffix(b[at:at+n], []byte("\r"))
		at += n + 1
		if len(line) == 0 {
			e.end = at
			return e, true
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			e.name = string(value)
		case "data":
			if e.data != nil {
				e.data = append(append(e.data[:len(e.data):len(e.data)], '\n'), value...)
			} else {
				e.data = value
			}
		}
	}
}

// What an event of a stream is to who passes it on.
const (
	part  = iota
	last  // the answer is whole
	wrong // the provider says that it broke
)

func (e event) is(of endpoint) int {
	kind := gjson.GetBytes(e.data, "type").String()
	switch of {
	case messages:
		switch kind {
		case "message_stop":
			return last
		case "error":
			return wrong
		}
	case responses:
		switch kind {
		case "response.completed", "response.incomplete":
			return last
		case "error", "response.failed":
			return wrong
		}
	default:
		if string(e.data) == "[DONE]" {
			return last
		}
		if v := gjson.GetBytes(e.data, "error"); v.IsObject() {
			return wrong
		}
	}
	return part
}
