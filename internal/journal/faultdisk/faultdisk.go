// Package faultdisk is a disk that fails on request, below SQLite: tests of
// the journal, and of whatever stands on it, inject their faults here.
package faultdisk

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

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

// Disk is a SQLite VFS that hands all on to the system's until it fails.
type Disk struct {
	vfs.VFS
	Name string // of the VFS, for opening a database

	mu    sync.Mutex
	ops   int // writes and syncs so far
	fault Fault
	at    int // the fault begins with this operation; 0: none
}

// New registers a disk for the length of a test.
func New(t *testing.T) *Disk {
	d := &Disk{VFS: vfs.Find(""), Name: fmt.Sprintf("fault-%d", number.Add(1))}
	vfs.Register(d.Name, d)
	t.Cleanup(func() { vfs.Unregister(d.Name) })
	return d
}

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
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops++
	return d.fault, d.at > 0 && d.ops >= d.at
}

// Open implements vfs.VFS.
func (d *Disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := d.VFS.Open(name, flags)
	return d.wrap(f), flags, err
}

// OpenFilename implements vfs.VFSFilename.
func (d *Disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(d.VFS, name, flags)
	return d.wrap(f), flags, err
}

func (d *Disk) wrap(f vfs.File) vfs.File {
	if f == nil {
		return nil
	}
	return &file{f, d}
}

type file struct {
	vfs.File
	disk *Disk
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	fault, now := f.disk.step()
	if !now || fault.Write == nil {
		return f.File.WriteAt(b, off)
	}
	if fault.Torn {
		if n, err := f.File.WriteAt(b[:len(b)/2], off); err != nil {
			return n, err
		}
	}
	return 0, fault.Write
}

func (f *file) Sync(flags vfs.SyncFlag) error {
	fault, now := f.disk.step()
	if !now || fault.Sync == nil {
		return f.File.Sync(flags)
	}
	return fault.Sync
}

// SharedMemory implements vfs.FileSharedMemory, which write-ahead logging needs.
func (f *file) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }

// Unwrap implements vfs.FileUnwrap.
func (f *file) Unwrap() vfs.File { return f.File }
