package gateway

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"
)

// flight is a call under way, with the answer as far as it is there. Who waits
// for it may leave and come back; the call goes on meanwhile.
type flight struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, at every change
	status  int           // 0: nothing may be delivered yet
	header  http.Header
	body    []byte
	visible int  // bytes of body that may be delivered
	over    bool // nothing will come any more
	whole   bool // and the answer is whole
	waiting int  // clients
	left    time.Time
	trouble error // what ended it without an answer
}

func newFlight() *flight { return &flight{changed: make(chan struct{})} }

func (f *flight) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
	close(f.changed)
	f.changed = make(chan struct{})
}

// join counts a client in; leave, out.
func (f *flight) join() { f.change(func() { f.waiting++ }) }

func (f *flight) leave() {
	f.change(func() {
		if f.waiting--; f.waiting == 0 {
			f.left = time.Now()
		}
	})
}

// attended waits until nobody has waited for the flight for a time, or it is
// over.
func (f *flight) attended(most time.Duration) {
	for {
		f.mu.Lock()
		alone, since, over, changed := f.waiting == 0, f.left, f.over, f.changed
		f.mu.Unlock()
		if over {
			return
		}
		var until <-chan time.Time
		if alone {
			rest := most - time.Since(since)
			if rest <= 0 {
				return
			}
			until = time.After(rest)
		}
		select {
		case <-changed:
		case <-until:
		}
	}
}

// errCutOff says that an answer broke off after a part of it was delivered.
var errCutOff = errors.New("the answer was cut off")

// deliver writes the answer to a client as it comes. begun: something was
// written. An error of errCutOff must end the connection, so that nobody takes
// the part for the whole.
func (f *flight) deliver(ctx context.Context, w http.ResponseWriter) (begun bool, err error) {
	at := 0
	for {
		f.mu.Lock()
		status, header, part, over, whole, trouble, changed := f.status, f.header, f.body[at:f.visible:f.visible], f.over, f.whole, f.trouble, f.changed
		f.mu.Unlock()
		if status != 0 && !begun && (len(part) > 0 || over && whole) {
			begun = true
			maps.Copy(w.Header(), header)
			w.WriteHeader(status)
		}
		if len(part) > 0 {
			if _, err := w.Write(part); err != nil {
				return true, err
			}
			at += len(part)
			if !over {
				if flusher, ok := w.(http.Flusher); ok {
					flusher.Flush()
				}
			}
			continue
		}
		switch {
		case over && whole:
			return true, nil
		case over && begun:
			return true, errCutOff
		case over:
			return false, trouble
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return begun, ctx.Err()
		}
	}
}
