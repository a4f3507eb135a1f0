package sqlite

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"ratchet/internal/journal"
)

// The formats here are those of https://www.sqlite.org/fileformat2.html: b-tree
// pages (1.6), records (2.1), the write-ahead log (4.1).

// file is a database with its write-ahead log, damaged in whatever way.
type file struct {
	main, log *os.File // nil: it is not there
	size      int      // of a page
	frames    []frame
	newest    map[uint32]int64 // by page: where in the log its last frame has it
	pages     uint32           // of main
}

// frame is a page in the log.
type frame struct {
	number uint32
	at     int64
}

func openFile(path string) (f *file, err error) {
	f = &file{newest: map[uint32]int64{}}
	if f.main, err = openIfThere(path); err != nil {
		return nil, err
	}
	if f.log, err = openIfThere(path + "-wal"); err != nil {
		f.close()
		return nil, err
	}
	f.size = f.pageSize()
	f.pages = uint32(length(f.main) / int64(f.size))
	const logHeader, frameHeader = 32, 24
	for at := int64(logHeader); at+frameHeader+int64(f.size) <= length(f.log); at += frameHeader + int64(f.size) {
		number := binary.BigEndian.Uint32(read(f.log, at, 4))
		f.frames = append(f.frames, frame{number, at + frameHeader})
		f.newest[number] = at + frameHeader
	}
	return f, nil
}

func (f *file) close() {
	for _, file := range []*os.File{f.main, f.log} {
		if file != nil {
			_ = file.Close()
		}
	}
}

func openIfThere(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func length(f *os.File) int64 {
	if f == nil {
		return 0
	}
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// read gives n bytes; fewer where the file ends or the disk does not give them.
func read(f *os.File, at int64, n int) []byte {
	if f == nil {
		return make([]byte, n)
	}
	b := make([]byte, n)
	if got, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) || got < n {
		clear(b[got:])
	}
	return b
}

// usualPage is the size of pages unless a file says otherwise, in bytes.
const usualPage = 4096

func (f *file) pageSize() int {
	valid := func(n int) bool { return n >= 512 && n <= 1<<16 && n&(n-1) == 0 }
	if n := int(binary.BigEndian.Uint16(read(f.main, 16, 2))); valid(n) {
		return n
	}
	if n := int(binary.BigEndian.Uint32(read(f.log, 8, 4))); valid(n) {
		return n
	}
	return usualPage
}

// each calls do with the cells of all pages: of the log's frames in their order,
// then of the file.
func (f *file) each(do func(c cell) error) error {
	for _, frame := range f.frames {
		if err := f.page(frame.number, read(f.log, frame.at, f.size), do); err != nil {
			return err
		}
	}
	for n := uint32(1); n <= f.pages; n++ {
		if err := f.page(n, f.old(n), do); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) old(n uint32) []byte {
	if n == 0 || n > f.pages {
		return nil
	}
	return read(f.main, int64(n-1)*int64(f.size), f.size)
}

func (f *file) latest(n uint32) []byte {
	if at, ok := f.newest[n]; ok {
		return read(f.log, at, f.size)
	}
	return f.old(n)
}

// cell is a row of a table or an index, as it may be: what it has in other pages
// is taken from the newest of these, or from the oldest.
type cell struct {
	rowid  int64 // of a table with one
	values func(newest bool) []value
}

// page gives the cells of a page.
func (f *file) page(n uint32, page []byte, do func(c cell) error) error {
	header := 0
	if n == 1 {
		header = 100
	}
	kind := page[header]
	pointers := header + 8
	switch kind {
	case 0x0a, 0x0d: // a leaf of an index or a table
	case 0x02: // an interior page of an index, whose cells are rows, too
		pointers = header + 12
	default:
		return nil
	}
	for i := range int(binary.BigEndian.Uint16(page[header+3:])) {
		if pointers+2*i+2 > len(page) {
			return nil
		}
		at := int(binary.BigEndian.Uint16(page[pointers+2*i:]))
		if kind == 0x02 {
			at += 4
		}
		if at >= len(page) {
			continue
		}
		size, used := varint(page[at:])
		body := page[at+used:]
		if used == 0 || size > journal.MaxPayload+4096 {
			continue
		}
		c := cell{}
		most := (f.size-12)*64/255 - 23
		if kind == 0x0d {
			id, used := varint(body)
			if used == 0 {
				continue
			}
			c.rowid, body, most = int64(id), body[used:], f.size-35
		}
		c.values = func(newest bool) []value {
			over := f.old
			if newest {
				over = f.latest
			}
			return values(f.whole(body, int(size), most, over))
		}
		if err := do(c); err != nil {
			return err
		}
	}
	return nil
}

// whole puts a cell's content together, of its part in the page, which is most
// bytes at most, and of the pages that it flows over to.
func (f *file) whole(body []byte, size, most int, over func(uint32) []byte) []byte {
	local := size
	if least := (f.size-12)*32/255 - 23; size > most {
		if local = least + (size-least)%(f.size-4); local > most {
			local = least
		}
	}
	if local > len(body) || local < size && local+4 > len(body) {
		return nil
	}
	out := slices.Clone(body[:local])
	if local == size {
		return out
	}
	for next := binary.BigEndian.Uint32(body[local:]); len(out) < size; {
		page := over(next)
		if page == nil {
			return nil
		}
		next = binary.BigEndian.Uint32(page)
		out = append(out, page[4:4+min(len(page)-4, size-len(out))]...)
	}
	return out
}

type value struct {
	number int64
	bytes  []byte
}

// values reads the columns of a row; nil: it is none.
func values(b []byte) (out []value) {
	size, used := varint(b)
	if used == 0 || size > uint64(len(b)) || size < uint64(used) {
		return nil
	}
	header, body := b[used:size], b[size:]
	for len(header) > 0 {
		kind, used := varint(header)
		if used == 0 {
			return nil
		}
		header = header[used:]
		var n int
		number := false
		switch {
		case kind == 0: // NULL
			out = append(out, value{})
			continue
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
			return nil
		}
		if n < 0 || n > len(body) {
			return nil
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
	return out
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
