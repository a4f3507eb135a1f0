package shim

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ratchet/internal/sandbox"
)

// doorway is an open door.
type doorway struct {
	socket  string
	address string
	closing chan struct{}
	wait    sync.WaitGroup
	kept    atomic.Int64 // bytes of requests, see line

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[net.Conn]bool
	closed    bool
}

// openDoor opens a command's door; nil: it has none. Where the command has a
// network of its own, its first process makes the listener, and spawn hands it
// over.
func openDoor(folder string, spec *sandbox.Spec, own bool) (*doorway, error) {
	if spec.Door == nil {
		return nil, nil
	}
	d := &doorway{socket: spec.Door.Socket, address: sandbox.DoorAddress, closing: make(chan struct{}), conns: map[net.Conn]bool{}}
	if !own {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		d.address = l.Addr().String()
		d.listen(l, "")
	}
	for _, v := range spec.Door.Env {
		spec.Env = sandbox.Variables(spec.Env, strings.NewReplacer("ADDRESS", d.address, "BOX", strings.TrimSuffix(spec.Path(folder, ""), "/")).Replace(v))
	}
	return d, nil
}

// listen carries connections until the door is closed, each behind a preface.
func (d *doorway) listen(l net.Listener, preface string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = l.Close()
		return
	}
	d.listeners = append(d.listeners, l)
	d.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.wait.Go(func() { d.carry(c, preface) })
		}
	})
}

// receive opens the door with the listeners that the first process of a container
// made, if it has made any.
func (d *doorway) receive(c *sandbox.Container, door *sandbox.Door) {
	take, done := c.DoorListeners()
	if take == nil {
		return
	}
	d.wait.Go(func() {
		defer done()
		for _, port := range append([]sandbox.Port{{}}, door.Ports...) {
			l, err := take()
			if err != nil {
				return // it ended before; its report says why
			}
			d.listen(l, port.Preface)
		}
	})
}

// How often a listener behind the door is tried again.
const doorRetry = 50 * time.Millisecond

// carry carries one connection both ways.
func (d *doorway) carry(from net.Conn, preface string) {
	if !d.track(from) {
		return
	}
	defer d.drop(from)
	l := &line{door: d, from: from, preface: preface, there: make(chan struct{}), gone: make(chan struct{})}
	var both sync.WaitGroup
	both.Go(l.ask)
	if l.connect() {
		l.answer()
		d.drop(l.to)
	}
	_ = from.Close()
	both.Wait()
	l.forget() // nothing refers to it any more
}

// reserve counts bytes of requests that are kept; false: there would be too many,
// and they are not counted.
func (d *doorway) reserve(n int) bool {
	if d.kept.Add(int64(n)) <= mostKeptInAll || n < 0 {
		return true
	}
	d.kept.Add(-int64(n))
	return false
}

// dial connects to who listens behind the door, and waits if there is none.
// nil: the door was closed, or who wants it is gone.
func (d *doorway) dial(gone <-chan struct{}) net.Conn {
	for {
		to, err := net.Dial("unix", d.socket)
		if err == nil {
			if !d.track(to) {
				return nil
			}
			return to
		}
		if !d.pause(gone) {
			return nil
		}
	}
}

// pause waits a moment; false: the door was closed meanwhile, or who waits is
// gone.
func (d *doorway) pause(gone <-chan struct{}) bool {
	select {
	case <-d.closing:
		return false
	case <-gone:
		return false
	case <-time.After(doorRetry):
		return true
	}
}

func (d *doorway) track(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = c.Close()
		return false
	}
	d.conns[c] = true
	return true
}

func (d *doorway) drop(c net.Conn) {
	_ = c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

func (d *doorway) close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.closing)
		for _, l := range d.listeners {
			_ = l.Close()
		}
		for c := range d.conns {
			_ = c.Close()
		}
	}
	d.mu.Unlock()
	d.wait.Wait()
}
