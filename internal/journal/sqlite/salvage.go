package sqlite

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"ratchet/internal/journal"
)

// Salvage finds records in a database and its write-ahead log that are
// damaged in whatever way: it looks at each page by itself, and keeps of what
// it finds the records that match their own hash. By run, they are sorted by
// number; whether they are a chain is for the caller to see. That SQLite can
// still open the file is not needed.
//
// The formats are those of https://www.sqlite.org/fileformat2.html: b-tree
// pages (1.6), records (2.1), the write-ahead log (4.1).
func Salvage(path string) (map[string][]journal.Record, error) {
	main, err := readIfThere(path)
	if err != nil {
		return nil, err
	}
	log, err := readIfThere(path + "-wal")
	if err != nil {
		return nil, err
	}
	c := &carving{size: pageSize(main, log), found: map[string]map[int64]journal.Record{}}
	c.old = pages{}
	for n := 0; (n+1)*c.size <= len(main); n++ {
		c.old[uint32(n+1)] = main[n*c.size : (n+1)*c.size]
	}
	// The log's frames, in their order: the pages as each transaction left them.
	c.new = pages{}
	const logHeader, frameHeader = 32, 24
	type frame struct {
		number uint32
		page   []byte
	}
	var frames []frame
	for at := logHeader; at+frameHeader+c.size <= len(log); at += frameHeader + c.size {
		page := log[at+frameHeader : at+frameHeader+c.size]
		frames = append(frames, frame{binary.BigEndian.Uint32(log[at:]), page})
		c.new[frames[len(frames)-1].number] = page
	}
	for _, f := range frames {
		c.page(f.number, f.page)
	}
	for n, page := range c.old {
		c.page(n, page)
	}
	out := map[string][]journal.Record{}
	for run, records := range c.found {
		for _, r := range records {
			out[run] = append(out[run], r)
		}
		slices.SortFunc(out[run], func(a, b journal.Record) int { return int(a.Seq - b.Seq) })
	}
	return out, nil
}

func readIfThere(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// usualPage is the size of pages unless a file says otherwise, in bytes.
const usualPage = 4096

func pageSize(main, log []byte) int {
	valid := func(n int) bool { return n >= 512 && n <= 1<<16 && n&(n-1) == 0 }
	if len(main) > 18 {
		if n := int(binary.BigEndian.Uint16(main[16:])); valid(n) {
			return n
		}
	}
	if len(log) > 12 {
		if n := int(binary.BigEndian.Uint32(log[8:])); valid(n) {
			return n
		}
	}
	return usualPage
}

// pages are pages by their numbers, from 1.
type pages map[uint32][]byte

type carving struct {
	size     int // of a page
	old, new pages
	found    map[string]map[int64]journal.Record
}

// page takes the records that lie in a page of a table without rowids.
func (c *carving) page(n uint32, page []byte) {
	header := 0
	if n == 1 {
		header = 100
	}
	var cells int
	switch page[header] {
	case 0x0a: // a leaf
		cells = header + 8
	case 0x02: // an interior page, whose cells are records, too
		cells = header + 12
	default:
		return
	}
	for i := range int(binary.BigEndian.Uint16(page[header+3:])) {
		if cells+2*i+2 > len(page) {
			return
		}
		at := int(binary.BigEndian.Uint16(page[cells+2*i:]))
		if page[header] == 0x02 {
			at += 4
		}
		if at >= len(page) {
			continue
		}
		for _, over := range []func(uint32) []byte{c.newest, c.oldest} {
			if payload := c.payload(page[at:], over); c.record(payload) {
				break
			}
		}
	}
}

func (c *carving) newest(n uint32) []byte {
	if p := c.new[n]; p != nil {
		return p
	}
	return c.old[n]
}

func (c *carving) oldest(n uint32) []byte { return c.old[n] }

// payload puts a cell's content together, of its part in the page and of the
// pages that it flows over to.
func (c *carving) payload(cell []byte, over func(uint32) []byte) []byte {
	size, used := varint(cell)
	cell = cell[used:]
	if used == 0 || size > journal.MaxPayload+4096 {
		return nil
	}
	total := int(size)
	local := total
	most, least := (c.size-12)*64/255-23, (c.size-12)*32/255-23
	if total > most {
		if local = least + (total-least)%(c.size-4); local > most {
			local = least
		}
	}
	if local > len(cell) || local < total && local+4 > len(cell) {
		return nil
	}
	out := slices.Clone(cell[:local])
	if local == total {
		return out
	}
	for next := binary.BigEndian.Uint32(cell[local:]); len(out) < total; {
		page := over(next)
		if page == nil {
			return nil
		}
		next = binary.BigEndian.Uint32(page)
		out = append(out, page[4:4+min(len(page)-4, total-len(out))]...)
	}
	return out
}

// record keeps a record that matches its hash.
func (c *carving) record(b []byte) bool {
	v, ok := values(b)
	if !ok || len(v) != 8 {
		return false
	}
	r := journal.Record{Seq: v[1].number, Entry: journal.Entry{
		Time: time.UnixMicro(v[2].number).UTC(), Type: string(v[3].bytes), Version: int(v[4].number), Payload: v[5].bytes,
	}}
	run := string(v[0].bytes)
	if copy(r.Prev[:], v[6].bytes) != len(r.Prev) || copy(r.Hash[:], v[7].bytes) != len(r.Hash) || journal.Sum(run, r) != r.Hash {
		return false
	}
	if c.found[run] == nil {
		c.found[run] = map[int64]journal.Record{}
	}
	c.found[run][r.Seq] = r
	return true
}

type value struct {
	number int64
	bytes  []byte
}

// values reads a record's columns.
func values(b []byte) (out []value, ok bool) {
	size, used := varint(b)
	if used == 0 || size > uint64(len(b)) || size < uint64(used) {
		return nil, false
	}
	header, body := b[used:size], b[size:]
	for len(header) > 0 {
		kind, used := varint(header)
		if used == 0 {
			return nil, false
		}
		header = header[used:]
		var n int
		number := false
		switch {
		case kind >= 1 && kind <= 4:
			n, number = int(kind), true
		case kind == 5:
			n, number = 6, true
		case kind == 6:
			n, number = 8, true
		case kind == 8 || kind == 9: // the numbers 0 and 1
			out = append(out, value{number: int64(kind - 8)})
			continue
		case kind >= 12:
			n = int((kind - 12) / 2)
		default:
			return nil, false
		}
		if n < 0 || n > len(body) {
			return nil, false
		}
		v := value{bytes: body[:n]}
		if number {
			v.number = int64(int8(body[0])) // its sign is the first byte's
			for _, b := range body[1:n] {
				v.number = v.number<<8 | int64(b)
			}
		}
		out, body = append(out, v), body[n:]
	}
	return out, true
}

// varint reads a number of up to nine bytes; used is 0 if there is none.
func varint(b []byte) (v uint64, used int) {
	for i := 0; i < 9 && i < len(b); i++ {
		if i == 8 {
			return v<<8 | uint64(b[i]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
