package protocol

import "bytes"

// Event is one of a stream of server-sent events, with where it ends.
type Event struct {
	Name string
	Data []byte
	End  int // of it and the blank line behind it
}

// NextEvent reads the first whole event of a buffer; ok false: there is none.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func NextEvent(b []byte) (e Event, ok bool) {
	at := 0
	for {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return Event{}, false
		}
		line := bytes.TrimSuffix(b[at:at+n], []byte("\r"))
		at += n + 1
		if len(line) == 0 {
			e.End = at
			return e, true
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			e.Name = string(value)
		case "data":
			if e.Data != nil {
				e.Data = append(append(e.Data[:len(e.Data):len(e.Data)], '\n'), value...)
			} else {
				e.Data = value
			}
		}
	}
}

// EventKind is what an event of a stream is to who passes it on.
type EventKind int

// The kinds.
const (
	Part   EventKind = iota
	Finish           // the model has finished; some servers send nothing after it
	Last             // the answer is whole
	Wrong            // the provider says that it broke
)

// Kind says what an event is, of an answer to an endpoint.
func (e Event) Kind(answers Endpoint) EventKind { return of(answers).Kind(answers, e.Data) }

// Next reads the first whole event of the stream that an endpoint answers with; ok
// false: there is none.
func Next(answers Endpoint, b []byte) (Event, bool) { return of(answers).Next(b) }

// WholeEvents is the length of the whole events of such a stream.
func WholeEvents(answers Endpoint, b []byte) (n int) {
	for {
		e, ok := Next(answers, b[n:])
		if !ok {
			return n
		}
		n += e.End
	}
}
