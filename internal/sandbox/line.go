package sandbox

import (
	"bytes"
	"net"
	"regexp"
	"sync"
)

// line is a connection through the door. Where the process behind the door dies
// over an HTTP request of which it has not begun the answer, the line makes the
// request again, of whoever comes after it: whatever was done for it is in the
// gateway's record. So a program whose engine is killed waits, and sees nothing
// of it. What has been answered in part is cut off, since no two answers fit
// together.
type line struct {
	door *doorway
	from net.Conn

	send sync.Mutex // guards the following; taken before mu
	to   net.Conn   // changed by answer alone
	sent int        // of the request

	mu       sync.Mutex
	request  []byte // what was asked since the last answer
	answered bool   // the answer has begun
	long     bool   // the request is not kept whole, or nobody waits for its answer
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
	if l.long = l.long || len(l.request)+len(part) > mostKept || !l.door.keep(len(part)); l.long {
		l.mu.Unlock()
		_, _ = l.to.Write(part)
		return
	}
	l.request = append(l.request, part...)
	l.mu.Unlock()
	l.flush()
}

// forget lets go of a request. The caller holds send and mu.
func (l *line) forget() {
	l.door.keep(-len(l.request))
	l.request, l.sent = nil, 0
}

// flush writes what is not written yet. The caller holds send.
func (l *line) flush() {
	_, _ = l.to.Write(l.request[l.sent:])
	l.sent = len(l.request)
}

// leave passes on that nothing more will be said. An answer that nobody waits
// for is not asked for again.
func (l *line) leave() {
	l.send.Lock()
	defer l.send.Unlock()
	l.mu.Lock()
	l.long = true
	l.mu.Unlock()
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
		if again++; again > mostAgain || !l.unanswered() || !l.reconnect() {
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

// reconnect makes the request again; false: the door was closed.
func (l *line) reconnect() bool {
	l.door.drop(l.to)
	if !l.door.pause() {
		return false
	}
	to := l.door.dial()
	if to == nil {
		return false
	}
	l.send.Lock()
	defer l.send.Unlock()
	l.to, l.sent = to, 0
	l.flush()
	return true
}
