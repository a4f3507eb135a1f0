package faultdisk

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/ncruces/go-sqlite3"
)

// off is the fault of a machine that is off.
var off = Fault{Name: "off", Write: sqlite3.IOERR_WRITE, Sync: sqlite3.IOERR_FSYNC}

// sector is what a disk writes whole, in bytes.
const sector = 512

// ledger is what a file would be after a power cut: what was synced, and the
// writes since, of which any may have reached the disk.
type ledger struct {
	base    []byte
	pending []write
}

// write is a write, or with cut a change of the size to off.
type write struct {
	off  int64
	data []byte
	cut  bool
}

func (w write) apply(b []byte) []byte {
	if w.cut {
		if int64(len(b)) > w.off {
			return b[:w.off]
		}
		return append(b, make([]byte, w.off-int64(len(b)))...)
	}
	if end := w.off + int64(len(w.data)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[w.off:], w.data)
	return b
}

// ledger is the one of a file that is opened; without a name, one that no other
// asks for.
func (d *Disk) ledger(name string) *ledger {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.files[name]; l != nil {
		return l
	}
	b, err := os.ReadFile(name)
	if err != nil {
		b = nil // it is new
	}
	l := &ledger{base: b}
	if name != "" {
		d.files[name] = l
	}
	return l
}

func (d *Disk) note(l *ledger, w write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.data = slices.Clone(w.data)
	l.pending = append(l.pending, w)
}

func (d *Disk) synced(l *ledger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range l.pending {
		l.base = w.apply(l.base)
	}
	l.pending = nil
}

func (d *Disk) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Kill turns the machine off: from here on every operation fails, and changes
// nothing, until Restart.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// Restart turns the machine on again. With survives nil only the process had
// died: all that it wrote is there. Else the power was cut: what was synced is
// there, and of what was written since each sector for which survives says so.
// No database is open on the disk meanwhile.
func (d *Disk) Restart(survives func() bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.at = false, 0
	if survives == nil {
		return nil
	}
	for name, l := range d.files {
		for _, w := range l.pending {
			if w.cut {
				if survives() {
					l.base = w.apply(l.base)
				}
				continue
			}
			for at := 0; at < len(w.data); at += sector {
				if survives() {
					part := write{off: w.off + int64(at), data: w.data[at:min(at+sector, len(w.data))]}
					l.base = part.apply(l.base)
				}
			}
		}
		l.pending = nil
		if err := os.WriteFile(name, l.base, 0o600); err != nil {
			return err
		}
		// Shared memory is memory.
		if err := os.Remove(name + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
