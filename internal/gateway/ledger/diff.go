package ledger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ratchet/internal/research"
)

// Diff says why a request of a later attempt was not found on record.
type Diff struct {
	Call    string   `json:"call"`
	Attempt string   `json:"attempt"`
	Nearest string   `json:"nearest"` // the call on record that is most like it
	Of      string   `json:"of"`      // the attempt that made that
	Changes []Change `json:"changes"`
}

// Change is a place in which two requests differ.
type Change struct {
	At  string `json:"at"` // JSON pointer
	Was string `json:"was"`
	Is  string `json:"is"`
}

// mostChanges are as many changes as a Diff has.
const mostChanges = 20

// Diffs pairs each call that an attempt after a trial's first made anew with the one on
// record then that is most like it, that the attempt had not asked for, and that is in
// no other pair of the attempt: those that differ least are paired first. strip takes
// out of a request what does not count; nil: all counts.
func (l *Ledger) Diffs(ctx context.Context, strip func(request map[string]any)) ([]Diff, error) {
	type pair struct{ call, record, weight int } // of calls
	var all []pair
	calls := l.Calls()
	first := map[string]string{} // of each scope
	for i, c := range calls {
		if first[c.Scope] == "" {
			first[c.Scope] = c.Attempt
		}
		if c.Attempt == first[c.Scope] {
			continue
		}
		for j, o := range calls[:i] {
			if o.Scope != c.Scope || o.Path != c.Path || o.Attempt == c.Attempt || slices.Contains(o.Delivered, c.Attempt) {
				continue
			}
			d, err := l.diff(ctx, &c, &o, strip)
			if err != nil {
				return nil, err
			}
			all = append(all, pair{i, j, d.weight()})
		}
	}
	slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(a.weight, b.weight) })
	paired, taken := map[int]bool{}, map[string]bool{} // calls; records, by attempt
	var out []Diff
	for _, p := range all {
		c, o := &calls[p.call], &calls[p.record]
		if record := c.Attempt + " " + o.Call; !paired[p.call] && !taken[record] {
			paired[p.call], taken[record] = true, true
			d, err := l.diff(ctx, c, o, strip)
			if err != nil {
				return nil, err
			}
			d.Changes = d.Changes[:min(len(d.Changes), mostChanges)]
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b Diff) int { return cmp.Compare(a.Call, b.Call) })
	return out, nil
}

// diff is how a call differs from one on record.
func (l *Ledger) diff(ctx context.Context, c, record *Call, strip func(map[string]any)) (Diff, error) {
	d := Diff{Call: c.Call, Attempt: c.Attempt, Nearest: record.Call, Of: record.Attempt}
	is, err := l.request(ctx, c)
	if err != nil {
		return d, err
	}
	was, err := l.request(ctx, record)
	for _, v := range []any{was, is} {
		if object, ok := v.(map[string]any); ok && strip != nil {
			strip(object)
		}
	}
	compare("", was, is, &d.Changes)
	return d, err
}

// weight is how much two requests differ: places first, and then how much of their
// texts.
func (d Diff) weight() int {
	w := len(d.Changes) << 20
	for _, c := range d.Changes {
		w += len(c.Was) + len(c.Is)
	}
	return w
}

// request is a call's body, read.
func (l *Ledger) request(ctx context.Context, c *Call) (any, error) {
	r, err := l.record(ctx, c.sent)
	if err != nil {
		return nil, err
	}
	s, ok := r.(Sent)
	if !ok {
		return nil, fmt.Errorf("call record %d is not a call", c.sent)
	}
	body, err := s.Request.Load(l.store)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func compare(at string, was, is any, out *[]Change) {
	a, objectA := was.(map[string]any)
	b, objectB := is.(map[string]any)
	x, listA := was.([]any)
	y, listB := is.([]any)
	switch {
	case objectA && objectB:
		keys := maps.Clone(a)
		maps.Copy(keys, b)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			compare(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), a[k], b[k], out)
		}
	case listA && listB:
		for i := range max(len(x), len(y)) {
			var p, q any
			if i < len(x) {
				p = x[i]
			}
			if i < len(y) {
				q = y[i]
			}
			compare(fmt.Sprintf("%s/%d", at, i), p, q, out)
		}
	default:
		p, _ := CanonicalJSON(was) // of what was just read
		q, _ := CanonicalJSON(is)
		if !bytes.Equal(p, q) {
			p, q = around(p, q)
			*out = append(*out, Change{at, research.Printable(string(p), 200), research.Printable(string(q), 200)})
		}
	}
}

// around are the parts of two texts where they begin to differ.
func around(p, q []byte) (a, b []byte) {
	n := 0
	for n < len(p) && n < len(q) && p[n] == q[n] {
		n++
	}
	const before, length = 30, 150
	from := max(0, n-before)
	cut := func(s []byte) []byte {
		if from >= len(s) {
			return s
		}
		part := s[from:min(len(s), from+length)]
		if from > 0 {
			part = append([]byte("…"), part...)
		}
		return part
	}
	return cut(p), cut(q)
}
