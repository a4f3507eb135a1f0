package gateway

import (
	"context"
	"fmt"
	"sync"
)

// ahead are answers that were read before anybody asked for them: a program
// that was started again asks in the order in which it did before.
type ahead struct {
	mu      sync.Mutex // held while reading: who comes meanwhile finds it read
	answers map[int64]Answered
	size    int // bytes, about
}

// What is read ahead at once, and kept in all, in bytes.
const (
	readAtOnce = 4 << 20
	keptAhead  = 8 << 20
)

// get gives the answer of a record, which read reads where it is not there.
func (h *ahead) get(seq int64, read func() (Answered, error)) (Answered, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.answers[seq]
	if !ok {
		return read()
	}
	delete(h.answers, seq)
	h.size -= a.Answer.inline()
	return a, nil
}

func (h *ahead) put(seq int64, a Answered) {
	if _, there := h.answers[seq]; there {
		return
	}
	if h.size > keptAhead || h.answers == nil {
		h.answers, h.size = map[int64]Answered{}, 0 // what nobody came for
	}
	h.answers[seq] = a
	h.size += a.Answer.inline()
}

func (c Content) inline() int { return len(c.Text) + len(c.Bytes) }

// answer reads a recorded answer back.
func (l *Ledger) answer(ctx context.Context, c *Call) (Answered, []byte, error) {
	a, err := l.ready.get(c.answered, func() (Answered, error) { return l.readAhead(ctx, c.answered) })
	if err != nil {
		return Answered{}, nil, err
	}
	body, err := a.Answer.Load(l.store)
	return a, body, err
}

// before is how many records in front of an answer are read with it: calls that were
// made at the same time come in about the same order.
const before = 256

// readAhead reads the answer of a record, and those around and behind it for
// later.
func (l *Ledger) readAhead(ctx context.Context, from int64) (first Answered, err error) {
	size := 0
	for rec, err := range l.log.Read(ctx, Stream(l.run), max(1, from-before)) {
		if err != nil {
			return first, err
		}
		if rec.Type == (Answered{}).kind() {
			r, err := decodeRecord(rec.Type, rec.Version, rec.Payload)
			if err != nil {
				return first, err
			}
			if a := r.(Answered); rec.Seq == from {
				first = a
			} else {
				l.ready.put(rec.Seq, a)
			}
		}
		if rec.Seq == from && first.Call == "" {
			return first, fmt.Errorf("run %s, call record %d is not an answer", l.run, from)
		}
		if size += len(rec.Payload); size > readAtOnce && rec.Seq >= from {
			break
		}
	}
	return first, nil
}
