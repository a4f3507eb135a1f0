// Package faultdisk is a disk that fails on request, below SQLite: tests of
// the journal, and of whatever stands on it, inject their faults here.
package faultdisk

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Fault is a way in which a disk fails.
type Fault struct {
	Name        string
	Write, Sync error // what writing, and what syncing gives; nil: it works
	// Torn writes half of what was to be written before it fails.
	Torn bool
}

// Faults are the ways that journals are tested against.
var Faults = []Fault{
	{Name: "full", Write: sqlite3.FULL},
	{Name: "read-only", Write: sqlite3.READONLY, Sync: nil},
	{Name: "EIO on write", Write: sqlite3.IOERR_WRITE},
	{Name: "EIO on sync", Sync: sqlite3.IOERR_FSYNC},
	{Name: "torn write", Write: sqlite3.IOERR_WRITE, Torn: true},
}

var number atomic.Int64

// Disk is a SQLite VFS that hands all on to the system's until it fails. It
// remembers what was written and not synced: see Restart.
type Disk struct {
	vfs.VFS
	Name string // of the VFS, for opening a database
	// Step, if it is set, is called before every write and sync.
	Step func()

	mu    sync.Mutex
	ops   int // writes and syncs so far
	fault Fault
	at    int  // the fault begins with this operation; 0: none
	dead  bool // the machine is off
	files map[string]*ledger
}

// New registers a disk. Close unregisters it.
func New() *Disk {
	d := &Disk{VFS: vfs.Find(""), Name: fmt.Sprintf("fault-%d", number.Add(1)), files: map[string]*ledger{}}
	vfs.Register(d.Name, d)
	return d
}

// Close forgets the disk. No database is open on it by then.
func (d *Disk) Close() { vfs.Unregister(d.Name) }

// FailFrom begins a fault with the n-th operation from now, from 1. It lasts
// until Heal.
func (d *Disk) FailFrom(n int, f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.at = f, d.ops+n
}

// Heal ends a fault and reports whether it ever began.
func (d *Disk) Heal() (began bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	began = d.at > 0 && d.ops >= d.at
	d.at = 0
	return began
}

// step counts an operation and gives the fault that it meets.
func (d *Disk) step() (Fault, bool) {
	if d.Step != nil {
		d.Step()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return off, true
	}
	d.ops++
	return d.fault, d.at > 0 && d.ops >= d.at
}

// Open implements vfs.VFS.
func (d *Disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if d.isDead() {
		return nil, flags, sqlite3.IOERR
	}
	f, flags, err := d.VFS.Open(name, flags)
	return d.wrap(f, name), flags, err
}

// OpenFilename implements vfs.VFSFilename.
func (d *Disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if d.isDead() {
		return nil, flags, sqlite3.IOERR
	}
	f, flags, err := vfsutil.WrapOpenFilename(d.VFS, name, flags)
	path := ""
	if name != nil {
		path = name.String()
	}
	return d.wrap(f, path), flags, err
}

// Delete implements vfs.VFS.
func (d *Disk) Delete(name string, syncDir bool) error {
	if d.isDead() {
		return sqlite3.IOERR_DELETE
	}
	d.mu.Lock()
	delete(d.files, name)
	d.mu.Unlock()
	return d.VFS.Delete(name, syncDir)
}

func (d *Disk) wrap(f vfs.File, name string) vfs.File {
	if f == nil {
		return nil
	}
	return &file{f, d, d.ledger(name)}
}

type file struct {
	vfs.File
	disk   *Disk
	ledger *ledger
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if f.disk.isDead() {
		return 0, sqlite3.IOERR_READ
	}
	return f.File.ReadAt(b, off)
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	fault, now := f.disk.step()
	if !now || fault.Write == nil {
		f.disk.note(f.ledger, write{off: off, data: b})
		return f.File.WriteAt(b, off)
	}
	if fault.Torn {
		f.disk.note(f.ledger, write{off: off, data: b[:len(b)/2]})
		if n, err := f.File.WriteAt(b[:len(b)/2], off); err != nil {
			return n, err
		}
	}
	return 0, fault.Write
}

func (f *file) Truncate(size int64) error {
	if f.disk.isDead() {
		return sqlite3.IOERR_TRUNCATE
	}
	f.disk.note(f.ledger, write{off: size, cut: true})
	return f.File.Truncate(size)
}

func (f *file) Sync(vfs.SyncFlag) error {
	fault, now := f.disk.step()
	if !now || fault.Sync == nil {
		f.disk.synced(f.ledger) // that is what a sync is here: nothing of it is lost any more
		return nil
	}
	return fault.Sync
}

// SharedMemory implements vfs.FileSharedMemory, which write-ahead logging needs.
func (f *file) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }

// Unwrap implements vfs.FileUnwrap.
func (f *file) Unwrap() vfs.File { return f.File }
