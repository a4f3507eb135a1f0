package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"ratchet/internal/failure"
	"ratchet/internal/gateway/protocol"
	"ratchet/internal/redact"
	"ratchet/internal/research"
)

// stream reads a stream of events and passes on what may be: all but the event
// that makes the answer whole, which waits for the journal.
func (u *upstream) stream(r *request, t target, resp *http.Response, f *flight, began time.Time, watch *time.Timer, a *answer, fail func(error) error, keys *redact.Redactor) error {
	source := io.Reader(resp.Body)
	switch e := resp.Header.Get("Content-Encoding"); e {
	case "", "identity":
	case "gzip": // which some send though it was not asked for
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			return fail(fmt.Errorf("unpacking the stream: %w", err))
		}
		source = z
		resp.Header.Del("Content-Encoding")
	default:
		return fail(fmt.Errorf("the stream is encoded as %s, and none was asked for", e))
	}
	header := passed(resp.Header)
	hides := r.addsUsage(t)
	room := chunkPool.Get().(*[]byte)
	defer chunkPool.Put(room)
	chunk := *room
	var body []byte
	at := 0 // up to which the events were read
	ended, finished := false, false
	for {
		n, err := source.Read(chunk)
		if n > 0 {
			if len(body) == 0 {
				a.first = time.Since(began)
			}
			watch.Reset(u.settings.Stall)
			body = append(body, chunk[:n]...)
			for !ended {
				e, ok := protocol.Next(r.endpoint, body[at:])
				if !ok {
					break
				}
				if event := keys.Known(body[at : at+e.End]); !bytes.Equal(event, body[at:at+e.End]) {
					body = slices.Concat(body[:at], event, body[at+e.End:])
					e, _ = protocol.Next(r.endpoint, body[at:])
				}
				if hides && protocol.OnlyUsage(e.Data) {
					a.use.Read(r.endpoint, e.Data)
					body = slices.Concat(body[:at], body[at+e.End:])
					continue
				}
				switch e.Kind(r.endpoint) {
				case protocol.Last:
					ended = true // it and what follows waits
					a.use.Read(r.endpoint, e.Data)
					continue
				case protocol.Wrong:
					v := failure.Answer(http.StatusServiceUnavailable, 0, string(e.Data))
					a.class, a.why, a.body = v.Class, "the stream broke with an error: "+research.Printable(string(e.Data), 300), body
					if a.begun {
						f.change(func() { f.body, f.visible = body, at+e.End }) // it says so itself
					}
					return errors.New(a.why)
				case protocol.Finish:
					finished = true
				}
				a.use.Read(r.endpoint, e.Data)
				at += e.End
			}
			if at > 0 {
				a.begun = true
				f.change(func() { f.status, f.header, f.body, f.visible = resp.StatusCode, header, body, at })
			}
		}
		switch {
		case int64(len(body)) > u.settings.MaxAnswer:
			return fail(fmt.Errorf("the answer is larger than models.max_answer, %d bytes", u.settings.MaxAnswer))
		case errors.Is(err, io.EOF) && (ended || finished):
			// Some servers leave the last line of chat completions out.
			a.body, a.class, a.begun = slices.Concat(body[:at], keys.Known(body[at:])), research.Succeeded, false
			return nil
		case errors.Is(err, io.EOF):
			return fail(errors.New("the stream ended before the answer was whole"))
		case err != nil && ended:
			body = slices.Concat(body[:at], keys.Known(body[at:]))
			a.body, a.class, a.begun = body[:protocol.WholeEvents(r.endpoint, body)], research.Succeeded, false // all that counts is there
			return nil
		case err != nil:
			return fail(fmt.Errorf("reading the stream: %w", err))
		}
	}
}
