package ledger

import (
	"bytes"
	"encoding/json"
	"sync"
)

// CanonicalJSON writes a value without spaces, maps with sorted keys. Numbers stay
// as they were written, and so does what HTML would escape: answers are full of it.
func CanonicalJSON(v any) ([]byte, error) {
	b := buffers.Get().(*bytes.Buffer)
	defer func() {
		if b.Cap() <= mostInline*2 {
			buffers.Put(b)
		}
	}()
	b.Reset()
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimRight(b.Bytes(), "\n")), nil
}

// buffers are those that JSON is written to.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
