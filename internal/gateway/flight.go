package gateway

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
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
	visible int           // bytes of body that may be delivered
	over    bool          // nothing will come any more
	whole   bool          // and the answer is whole
	waiting int           // clients
	trouble error         // what ended it without an answer
	linger  time.Duration // how long it goes on without a client
	giveUp  func()
	alone   *time.Timer // until it is given up; nil: a client waits
}

// newFlight is a call that a client waits for. giveUp is called when none has
// for a time.
func newFlight(linger time.Duration, giveUp func()) *flight {
	return &flight{changed: make(chan struct{}), waiting: 1, linger: linger, giveUp: giveUp}
}

func (f *flight) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
	close(f.changed)
	f.changed = make(chan struct{})
}

// join counts a client in; leave, out.
func (f *flight) join() {
	f.change(func() {
		if f.waiting++; f.alone != nil {
			f.alone.Stop()
			f.alone = nil
		}
	})
}

func (f *flight) leave() {
	f.change(func() {
		if f.waiting--; f.waiting == 0 && !f.over {
			f.alone = time.AfterFunc(f.linger, func() {
				f.mu.Lock()
				still := f.waiting == 0
				f.mu.Unlock()
				if still {
					f.giveUp()
				}
			})
		}
	})
}

// end says that nothing will come any more.
func (f *flight) end(how func()) {
	f.change(func() {
		f.over = true
		if f.alone != nil {
			f.alone.Stop()
		}
		how()
	})
}

// errCutOff says that an answer broke off after a part of it was delivered.
var errCutOff = errors.New("the answer was cut off")

// deliver writes the answer to a client as it comes. begun: something was
// written. An error of errCutOff must end the connection, so that no client takes
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
			if over && whole && len(part) > 0 {
				w.Header().Set("Content-Length", strconv.Itoa(len(part)))
			}
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
