package shim

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"sync"
)

// line is a connection through the door. Where the process behind the door dies
// over an HTTP request of which it has not begun the answer, the line makes the
// request again, of its successor: whatever was done for it is in the
// gateway's record. So a program whose engine is killed waits, and sees nothing
// of it. What has been answered in part is cut off, since no two answers fit
// together; and what the program does not wait for any more is not asked for.
type line struct {
	door    *doorway
	from    net.Conn
	preface string        // what is said first, each time that it is connected
	there   chan struct{} // closed when it is connected
	gone    chan struct{} // closed when the program has left

	send sync.Mutex // guards the following; taken before mu
	to   net.Conn   // nil: not connected yet
	sent int        // of the request

	mu       sync.Mutex
	request  []byte // what was asked since the last answer
	answered bool   // the answer has begun
	long     bool   // the request is not kept whole
	tunnel   bool   // what is said and answered is not for the other side
}

// Bounds on what is made again: bytes of a request and of all of a door's
// together, and times.
const (
	mostKept      = 16 << 20
	mostKeptInAll = 64 << 20
	mostAgain     = 100
)

// ask carries what the program says, until it has said all.
func (l *line) ask() {
	room := make([]byte, 32<<10)
	for {
		n, err := l.from.Read(room)
		if n > 0 {
			l.say(room[:n])
		}
		if err != nil {
			l.leave()
			return
		}
	}
}

// say passes on a part of a request. That it cannot be written says nothing:
// answer finds out what has become of the other side.
func (l *line) say(part []byte) {
	l.send.Lock()
	defer l.send.Unlock()
	l.mu.Lock()
	if l.answered {
		l.forget()
		l.answered, l.long = false, false
	}
	l.tunnel = l.tunnel || len(l.request) == 0 && bytes.HasPrefix(part, []byte("CONNECT "))
	l.long = l.long || len(l.request)+len(part) > mostKept || !l.door.reserve(len(part))
	long := l.long
	if !long {
		l.request = append(l.request, part...)
	}
	l.mu.Unlock()
	switch {
	case !long:
		l.flush()
	case l.connected():
		_, _ = l.to.Write(part)
	}
}

// connected waits until the line leads somewhere; false: it never will. The
// caller holds send.
func (l *line) connected() bool {
	if l.to == nil {
		l.send.Unlock()
		select {
		case <-l.there:
		case <-l.door.closing:
		}
		l.send.Lock()
	}
	return l.to != nil
}

// forget lets go of a request. The caller holds send and mu.
func (l *line) forget() {
	l.door.reserve(-len(l.request))
	l.request, l.sent = nil, 0
}

// flush writes what is not written yet, once there is where to. The caller holds
// send.
func (l *line) flush() {
	if l.to == nil {
		return
	}
	_, _ = l.to.Write(l.request[l.sent:])
	l.sent = len(l.request)
}

// leave passes on that the program has left.
func (l *line) leave() {
	l.send.Lock()
	defer l.send.Unlock()
	close(l.gone)
	if half, ok := l.to.(*net.UnixConn); ok {
		_ = half.CloseWrite()
	}
}

// answer carries answers until there will be no more.
func (l *line) answer() {
	room := make([]byte, 32<<10)
	for again := 0; ; {
		n, err := l.to.Read(room)
		if n > 0 {
			again = 0
			l.mu.Lock()
			l.answered = true
			l.mu.Unlock()
			if _, err := l.from.Write(room[:n]); err != nil {
				return
			}
		}
		if err == nil {
			continue
		}
		if again++; again > mostAgain || !l.unanswered() {
			return
		}
		l.door.drop(l.to)
		if !l.door.pause(l.gone) || !l.connect() {
			return
		}
	}
}

// isRequest matches the beginning of a request that may be made again: any of the
// gateway itself, and of others, through it as a proxy, those that change nothing
// (RFC 9110, 9.2.1).
var isRequest = regexp.MustCompile(`^(?:(?:GET|HEAD|OPTIONS) \S+|[A-Z]+ /\S*) HTTP/1\.[01]\r?\n`)

// unanswered reports whether there is a request of which the answer has not
// begun.
func (l *line) unanswered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.answered && !l.long && !l.tunnel && isRequest.Match(l.request[:min(len(l.request), 64<<10)])
}

// connect leads the line to who is behind the door, and passes on what was
// asked; false: the door was closed, or the program has left.
func (l *line) connect() bool {
	to := l.door.dial(l.gone)
	if to == nil {
		return false
	}
	l.send.Lock()
	defer l.send.Unlock()
	select {
	case <-l.gone:
		l.door.drop(to)
		return false
	default:
	}
	if l.to == nil {
		close(l.there)
	}
	l.to, l.sent = to, 0
	_, _ = io.WriteString(to, l.preface) // as with what follows, answer finds out
	l.flush()
	return true
}
