package ledger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/tidwall/gjson"

	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// Answer reads a recorded answer back.
func (l *Ledger) Answer(ctx context.Context, c *Call) (Answered, []byte, error) {
	payload, err := l.recorded(ctx, c.answered)
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
// program that was started again asks in the order in which it did before. The
// ledger's lock guards it.
type ahead struct {
	answers map[int64]json.RawMessage
	size    int           // bytes
	next    int64         // the first record that was not read yet; 0: there is none
	reading chan struct{} // closed when what is being read is there; nil: no read is under way
}

// What is read at once, and kept in all, in bytes. While half of the former is
// left, nothing more is read.
const (
	readAtOnce = 2 << 20
	keptAhead  = 8 << 20
)

// before is how many records in front of an answer are read with it: calls that were
// made at the same time come in about the same order.
const before = 256

// pop gives a record to the one who asks for it.
func (h *ahead) pop(seq int64) (payload json.RawMessage, there bool) {
	payload, there = h.answers[seq]
	delete(h.answers, seq)
	h.size -= len(payload)
	return payload, there
}

// put keeps what was read.
func (h *ahead) put(read map[int64]json.RawMessage) {
	if h.size > keptAhead || h.answers == nil {
		h.answers, h.size = map[int64]json.RawMessage{}, 0 // what was never asked for
	}
	for seq, payload := range read {
		h.size += len(payload) - len(h.answers[seq])
		h.answers[seq] = payload
	}
}

// recorded gives the record of an answer. Where it was not read ahead it is read
// now; where what was read ahead comes to its end, more is read meanwhile.
func (l *Ledger) recorded(ctx context.Context, seq int64) (json.RawMessage, error) {
	h := &l.ready
	for {
		l.mu.Lock()
		payload, there := h.pop(seq)
		from := h.next
		if !there {
			from = max(1, seq-before)
		}
		others, closed := h.reading, l.closed
		reads := others == nil && !closed && (!there || from > 0 && h.size < readAtOnce/2)
		if reads {
			h.reading = make(chan struct{})
		}
		if reads && there {
			// An error is for the one who asks for what could not be read.
			l.wait.Go(func() { _, _ = l.readAhead(context.Background(), from, 0) })
		}
		l.mu.Unlock()
		switch {
		case there:
			return payload, nil
		case reads:
			return l.readAhead(ctx, from, seq)
		case closed:
			return nil, errLedgerClosed
		}
		select {
		case <-others:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// readAhead reads records from one on, to beyond the one that is wanted now, and
// keeps the answers among them for later. wanted 0: none is.
func (l *Ledger) readAhead(ctx context.Context, from, wanted int64) (payload json.RawMessage, err error) {
	read, size, next := map[int64]json.RawMessage{}, 0, int64(0)
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ready.put(read)
		l.ready.next = next
		close(l.ready.reading)
		l.ready.reading = nil
	}()
	for rec, err := range l.log.Read(ctx, journal.CallsOf(l.run), from) {
		if err != nil {
			return nil, err
		}
		switch {
		case rec.Type != (Answered{}).kind():
		case rec.Version != recordVersion:
			return nil, &research.UnknownEventError{Type: rec.Type, Version: rec.Version}
		case rec.Seq == wanted:
			payload = rec.Payload
		default:
			read[rec.Seq] = rec.Payload
		}
		if size += len(rec.Payload); size > readAtOnce && rec.Seq >= wanted {
			next = rec.Seq + 1
			break
		}
	}
	if payload == nil && wanted > 0 {
		return nil, fmt.Errorf("run %s, call record %d is not an answer", l.run, wanted)
	}
	return payload, nil
}
