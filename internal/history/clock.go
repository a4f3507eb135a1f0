package history

import (
	"sync"
	"time"

	"ratchet/internal/planted"
)

// Clock gives a run's time: the machine's, but never earlier than what it gave
// before. When the machine's clock is set back, it goes on by the monotonic
// clock, so that back-offs and limits last as long as they should. It is safe
// for concurrent use.
type Clock struct {
	wall func() time.Time

	mu   sync.Mutex
	read time.Time // last reading of wall, with its monotonic part
	last time.Time // last time given
}

// NewClock returns a clock whose times are not before last. wall is the
// machine's clock.
func NewClock(wall func() time.Time, last time.Time) *Clock { return &Clock{wall: wall, last: last} }

// Now is in UTC and whole microseconds, as the journal keeps it.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	read := c.wall()
	if !c.read.IsZero() {
		c.last = c.last.Add(max(0, read.Sub(c.read)))
	}
	c.read = read
	if wall := read.UTC().Round(0); wall.After(c.last) || planted.Bug("clock-back") {
		c.last = wall
	}
	c.last = c.last.Truncate(time.Microsecond)
	return c.last
}

// NotBefore moves the clock on to a time that another clock has reached.
func (c *Clock) NotBefore(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.last) {
		c.last = t
	}
}
