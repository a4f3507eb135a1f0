package shim

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// maxTail bounds the end of an output that is held in memory, in bytes.
const maxTail = 1 << 20

// capture keeps the head and the tail of an output and counts what it cut
// between. The head is in its file at once, so that it can be followed.
type capture struct {
	path  string
	head  int64 // bytes still to be kept of the head
	limit int64 // bytes of the tail
	tail  []byte
	total int64 // bytes behind the head
	cut   int64
	bytes atomic.Int64 // read so far
}

// seen is how many bytes were read so far.
func (c *capture) seen() int64 { return c.bytes.Load() }

func newCapture(path string, limit int64) *capture {
	tail := min(limit/2, maxTail)
	return &capture{path: path, head: limit - tail, limit: tail}
}

// drain reads to the end, whatever happens to the file: a program must not
// block on a disk that is full.
func (c *capture) drain(r *os.File) {
	defer r.Close()
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratchet-shim:", err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		c.bytes.Add(int64(n))
		c.write(f, buf[:n])
		if err != nil {
			break
		}
	}
	c.finish(f)
}

func (c *capture) write(f *os.File, b []byte) {
	if n := min(int64(len(b)), c.head); n > 0 {
		if _, err := f.Write(b[:n]); err != nil {
			c.cut += n
		}
		c.head -= n
		b = b[n:]
	}
	c.total += int64(len(b))
	if c.tail = append(c.tail, b...); int64(len(c.tail)) > 2*c.limit {
		c.tail = append(c.tail[:0], c.tail[int64(len(c.tail))-c.limit:]...)
	}
}

func (c *capture) finish(f *os.File) {
	if extra := int64(len(c.tail)) - c.limit; extra > 0 {
		c.tail = c.tail[extra:]
	}
	if gap := c.total - int64(len(c.tail)); gap > 0 {
		c.cut += gap
		_, _ = io.WriteString(f, fmt.Sprintf("\n[%d bytes of output were cut here]\n", gap))
	}
	_, err := f.Write(c.tail)
	if err != nil {
		c.cut += int64(len(c.tail))
	}
	_ = f.Close()
}
