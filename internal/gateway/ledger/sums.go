package ledger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ratchet/internal/journal"
	"ratchet/internal/research"
)

// Sums is the fold of a run's calls to what they come to, without the calls. It
// can be kept, and gone on with. It is not safe for concurrent use.
type Sums struct {
	Head  journal.Head
	total Summary
	calls map[int64]*counted // by number
	// refusals are the first that differ, in their order.
	refusals []Refusal
}

// Refusal is what programs asked for and did not get, and how often.
type Refusal struct {
	Why   string         `json:"why"`
	Class research.Class `json:"class"`
	Times int            `json:"times"`
	Last  string         `json:"last"` // attempt that asked last
}

// mostRefusals bounds how many refusals are told apart.
const mostRefusals = 20

// Refusals are what the calls that were not let through were refused for.
func (s *Sums) Refusals() []Refusal { return slices.Clone(s.refusals) }

func (s *Sums) refuse(r Refused) {
	s.total.Refused++
	for i := range s.refusals {
		if of := &s.refusals[i]; of.Why == r.Why {
			of.Times++
			of.Last = r.Attempt
			return
		}
	}
	if len(s.refusals) < mostRefusals {
		s.refusals = append(s.refusals, Refusal{r.Why, r.Class, 1, r.Attempt})
	}
}

// counted is what of a call is in the sum. Its numbers are in numbers, too.
type counted struct {
	sent, open, answered, failed int64 // 0 or 1
	lost, again                  int64
	retries                      int64 // of the last answer or failure
	reserved, spent, failures    Spending
	tokens                       Tokens
}

// NewSums is the sum of no calls.
func NewSums() *Sums { return &Sums{calls: map[int64]*counted{}} }

// Summary is what all calls come to.
func (s *Sums) Summary() Summary { return s.total }

// Follow folds the records of a run's calls that are behind what was folded.
func (s *Sums) Follow(ctx context.Context, run string, log journal.Journal) error {
	for rec, err := range log.Read(ctx, journal.CallsOf(run), s.Head.Seq+1) {
		if err != nil {
			return err
		}
		payload, _ := cutBody(rec.Payload)
		r, err := decodeRecord(rec.Type, rec.Version, payload)
		if err == nil {
			err = s.apply(r)
		}
		if err != nil {
			return fmt.Errorf("run %s, call record %d: %w", run, rec.Seq, err)
		}
		s.Head = rec.At()
	}
	return nil
}

// apply folds one record, as Ledger.apply does.
func (s *Sums) apply(r Event) error {
	switch r := r.(type) {
	case Sent:
		n, err := callNumber(r.Call)
		if err != nil {
			return err
		}
		c := s.calls[n]
		if c == nil {
			c = &counted{}
			s.calls[n] = c
		}
		s.change(c, func() {
			if c.open == 1 {
				c.lost++
			}
			c.sent, c.open, c.reserved = 1, 1, r.Reserved
		})
	case Answered:
		return s.find(r.Call, "answered", func(c *counted) {
			c.open, c.answered, c.spent, c.tokens, c.retries = 0, 1, r.Spent, r.Tokens, int64(len(r.Retries))
		})
	case Failed:
		return s.find(r.Call, "failed", func(c *counted) {
			if c.open, c.failed, c.failures = 0, 1, c.failures.Plus(r.Spent); c.answered == 0 {
				c.retries = int64(len(r.Retries))
			}
		})
	case Delivered:
		for _, id := range append([]string{r.Call}, r.More...) {
			if err := s.find(id, "delivered", func(c *counted) {
				if r.Again {
					c.again++
				}
			}); err != nil {
				return err
			}
		}
	case Refused:
		s.refuse(r)
	}
	return nil
}

func (s *Sums) find(call, what string, how func(c *counted)) error {
	n, err := callNumber(call)
	if err != nil {
		return err
	}
	c := s.calls[n]
	if c == nil {
		return fmt.Errorf("call %s was %s and never sent", call, what)
	}
	s.change(c, func() { how(c) })
	return nil
}

func (s *Sums) change(c *counted, how func()) {
	c.count(&s.total, -1)
	how()
	c.count(&s.total, 1)
}

// count adds a call to a sum, or with sign −1 takes it away.
func (c *counted) count(t *Summary, sign int64) {
	n := int(sign)
	t.Calls += n * int(c.sent)
	t.Lost += n * int(c.lost+c.open)
	each, times := c.reserved, c.lost+c.open
	switch {
	case c.answered == 1:
		each, times = c.spent, c.lost+1
		t.Answered += n
		t.Tokens = t.Tokens.plus(c.tokens.times(sign))
		t.Again += n * int(c.again)
		t.Saved = t.Saved.Plus(c.spent.Times(n * int(c.again)))
	case c.failed == 1:
		t.Failed += n
	}
	t.Retries += n * int(c.retries)
	t.Spent = t.Spent.Plus(each.Times(n * int(times))).Plus(c.failures.Times(n))
}

func (t Tokens) times(n int64) Tokens {
	return Tokens{t.In * n, t.CacheRead * n, t.CacheWrite * n, t.CacheHour * n, t.Out * n, t.Reasoning * n}
}

// numbers are all that is known of a call, in the order in which they are kept.
func (c *counted) numbers() []*int64 {
	return []*int64{
		&c.sent, &c.open, &c.answered, &c.failed, &c.lost, &c.again, &c.retries,
		&c.reserved.NanoUSD, &c.reserved.Tokens, &c.reserved.Calls, &c.spent.NanoUSD, &c.spent.Tokens, &c.spent.Calls,
		&c.failures.NanoUSD, &c.failures.Tokens, &c.failures.Calls,
		&c.tokens.In, &c.tokens.CacheRead, &c.tokens.CacheWrite, &c.tokens.CacheHour, &c.tokens.Out, &c.tokens.Reasoning,
	}
}

// Encode writes the sums down, but for the head: the refusals as JSON, behind their
// length; the refused calls, how many calls there are, and of each its number and its
// numbers, as varints.
func (s *Sums) Encode() []byte {
	refusals, _ := json.Marshal(s.refusals) // of texts and numbers
	b := append(binary.AppendVarint(nil, int64(len(refusals))), refusals...)
	b = binary.AppendVarint(b, int64(s.total.Refused))
	b = binary.AppendVarint(b, int64(len(s.calls)))
	for n, c := range s.calls {
		b = binary.AppendVarint(b, n)
		for _, v := range c.numbers() {
			b = binary.AppendVarint(b, *v)
		}
	}
	return b
}

// DecodeSums reads what Encode wrote.
func DecodeSums(b []byte, head journal.Head) (*Sums, error) {
	bad := errors.New("it ends within a number, or has not as many calls as it says")
	next := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			b = nil
			return -1
		}
		b = b[n:]
		return v
	}
	s := &Sums{Head: head}
	length := next()
	if length < 0 || length > int64(len(b)) || json.Unmarshal(b[:length], &s.refusals) != nil {
		return nil, bad
	}
	b = b[length:]
	refused, n := next(), next()
	if n < 0 || n > int64(len(b)) {
		return nil, bad
	}
	all := make([]counted, n)
	s.calls = make(map[int64]*counted, n)
	s.total.Refused = int(refused)
	for i := range all {
		if len(b) == 0 {
			return nil, bad
		}
		number, c := next(), &all[i]
		for _, v := range c.numbers() {
			if len(b) == 0 {
				return nil, bad
			}
			*v = next()
		}
		c.count(&s.total, 1)
		s.calls[number] = c
	}
	if len(b) > 0 {
		return nil, bad
	}
	return s, nil
}

// callID names a call by its number, from 1.
func callID(n int64) string { return fmt.Sprintf("c%06d", n) }

func callNumber(id string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(id, "c"), 10, 64)
	if err != nil || n < 1 || callID(n) != id {
		return 0, fmt.Errorf("%q is not the name of a call", id)
	}
	return n, nil
}
