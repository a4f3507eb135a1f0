package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
)

// A segment's content is a line that names the form, the number of digests in
// four bytes, that many digests of 32 bytes (the objects that its records
// need), and the records behind each other. All numbers are big-endian.

const segmentForm = "ratchet backup segment v1\n"

// encodeSegment writes records that follow each other, and what they need.
func encodeSegment(records []journal.Record, needs []objects.Digest) ([]byte, error) {
	out := []byte(segmentForm)
	out = binary.BigEndian.AppendUint32(out, uint32(len(needs)))
	for _, d := range needs {
		b, err := d.Bytes()
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	text := func(b []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	for _, r := range records {
		out = binary.BigEndian.AppendUint64(out, uint64(r.Seq))
		out = binary.BigEndian.AppendUint64(out, uint64(r.Time.UnixMicro()))
		text([]byte(r.Type))
		out = binary.BigEndian.AppendUint32(out, uint32(r.Version))
		text(r.Payload)
		out = append(out, r.Prev[:]...)
		out = append(out, r.Hash[:]...)
	}
	return out, nil
}

var errSegment = errors.New("it is not a whole segment")

// decodeSegment reads what encodeSegment wrote. Whether the records are a
// chain is not its matter.
func decodeSegment(b []byte) ([]journal.Record, []objects.Digest, error) {
	c := cutter{b: b}
	if string(c.next(len(segmentForm))) != segmentForm {
		return nil, nil, fmt.Errorf("%w: its form is not known to this release", errSegment)
	}
	n := int(c.uint32())
	var needs []objects.Digest
	for i := 0; i < n && !c.short; i++ {
		needs = append(needs, objects.DigestFrom(c.next(32)))
	}
	var records []journal.Record
	for len(c.b) > 0 && !c.short {
		r := journal.Record{Seq: int64(c.uint64())}
		r.Time = time.UnixMicro(int64(c.uint64())).UTC()
		r.Type = string(c.next(int(c.uint32())))
		r.Version = int(c.uint32())
		r.Payload = append([]byte(nil), c.next(int(c.uint32()))...)
		copy(r.Prev[:], c.next(len(r.Prev)))
		copy(r.Hash[:], c.next(len(r.Hash)))
		records = append(records, r)
	}
	if c.short {
		return nil, nil, errSegment
	}
	return records, needs, nil
}

// cutter takes bytes off the front; short says that there were too few.
type cutter struct {
	b     []byte
	short bool
}

func (c *cutter) next(n int) []byte {
	if c.short || n < 0 || n > len(c.b) {
		c.short = true
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cutter) uint32() uint32 {
	if b := c.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cutter) uint64() uint64 {
	if b := c.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
