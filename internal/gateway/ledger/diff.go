package ledger

import (
	"bytes"
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

// Diffs compares each call that an attempt after a trial's first made anew with
// what was on record then and that the attempt had not asked for.
func (l *Ledger) Diffs(ctx context.Context) ([]Diff, error) {
	var out []Diff
	calls := l.Calls()
	first := map[string]string{} // of each scope
	for i, c := range calls {
		if first[c.Scope] == "" {
			first[c.Scope] = c.Attempt
		}
		if c.Attempt == first[c.Scope] {
			continue
		}
		is, err := l.request(ctx, &c)
		if err != nil {
			return nil, err
		}
		var best *Diff
		for _, o := range calls[:i] {
			if o.Scope != c.Scope || o.Path != c.Path || o.Attempt == c.Attempt || slices.Contains(o.Delivered, c.Attempt) {
				continue
			}
			was, err := l.request(ctx, &o)
			if err != nil {
				return nil, err
			}
			d := Diff{Call: c.Call, Attempt: c.Attempt, Nearest: o.Call, Of: o.Attempt}
			compare("", was, is, &d.Changes)
			if best == nil || len(d.Changes) < len(best.Changes) {
				best = &d
			}
		}
		if best != nil {
			best.Changes = best.Changes[:min(len(best.Changes), mostChanges)]
			out = append(out, *best)
		}
	}
	return out, nil
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
