package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/tidwall/gjson"

	"ratchet/internal/research"
)

// answer reads a recorded answer back.
func (l *Ledger) answer(ctx context.Context, c *Call) (Answered, []byte, error) {
	payload, err := l.ready.get(c.answered, func() (json.RawMessage, error) { return l.readAhead(ctx, c.answered) })
	if err != nil {
		return Answered{}, nil, err
	}
	a, err := deliverable(payload)
	if err != nil {
		return Answered{}, nil, err
	}
	body, err := a.Answer.Load(l.store)
	return a, body, err
}

// deliverable decodes an answer's record, its body apart: that is most of it, and
// a program that was started again wants thousands.
func deliverable(payload json.RawMessage) (Answered, error) {
	rest, body := cutBody(payload)
	r, err := decodeAs[Answered](rest)
	if err != nil {
		return Answered{}, err
	}
	a, text := r.(Answered), gjson.ParseBytes(body).String()
	if a.Answer.Bytes == nil {
		a.Answer.Text = text
		return a, nil
	}
	a.Answer.Bytes, err = base64.StdEncoding.DecodeString(text)
	return a, err
}

// ahead are records of answers that were read before anybody asked for them: a
// program that was started again asks in the order in which it did before.
type ahead struct {
	mu      sync.Mutex // held while reading: who comes meanwhile finds it read
	answers map[int64]json.RawMessage
	size    int // bytes
}

// What is read ahead at once, and kept in all, in bytes.
const (
	readAtOnce = 4 << 20
	keptAhead  = 8 << 20
)

// get gives a record, which read reads where it is not there.
func (h *ahead) get(seq int64, read func() (json.RawMessage, error)) (json.RawMessage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.answers[seq]
	if !ok {
		return read()
	}
	delete(h.answers, seq)
	h.size -= len(a)
	return a, nil
}

func (h *ahead) put(seq int64, a json.RawMessage) {
	if _, there := h.answers[seq]; there {
		return
	}
	if h.size > keptAhead || h.answers == nil {
		h.answers, h.size = map[int64]json.RawMessage{}, 0 // what nobody came for
	}
	h.answers[seq] = a
	h.size += len(a)
}

// before is how many records in front of an answer are read with it: calls that were
// made at the same time come in about the same order.
const before = 256

// readAhead reads the record of an answer, and those around and behind it for
// later.
func (l *Ledger) readAhead(ctx context.Context, from int64) (first json.RawMessage, err error) {
	size := 0
	for rec, err := range l.log.Read(ctx, Stream(l.run), max(1, from-before)) {
		if err != nil {
			return nil, err
		}
		if rec.Type == (Answered{}).kind() {
			if rec.Version != recordVersion {
				return nil, &research.UnknownEventError{Type: rec.Type, Version: rec.Version}
			}
			if rec.Seq == from {
				first = rec.Payload
			} else {
				l.ready.put(rec.Seq, rec.Payload)
			}
		}
		if rec.Seq == from && first == nil {
			return nil, fmt.Errorf("run %s, call record %d is not an answer", l.run, from)
		}
		if size += len(rec.Payload); size > readAtOnce && rec.Seq >= from {
			break
		}
	}
	return first, nil
}
