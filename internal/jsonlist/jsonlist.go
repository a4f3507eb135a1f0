// Package jsonlist reads JSON arrays from untrusted sources: each
// element is checked as it is read, so that a small document cannot become a
// large amount of memory.
package jsonlist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// List is an array whose elements check themselves. It ends at the first
// element that is not right.
type List[T any, P interface {
	*T
	Check() error
}] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *List[T, P]) UnmarshalJSON(b []byte) error {
	*l = nil
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("this is not a list"), err)
	}
	for d.More() {
		var one T
		if err := d.Decode(&one); err != nil {
			return err
		}
		if err := P(&one).Check(); err != nil {
			return fmt.Errorf("number %d of a list: %w", len(*l)+1, err)
		}
		*l = append(*l, one)
	}
	return nil
}
