package sim

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// errOff is what everything gives on a machine that is off.
var errOff = errors.New("the machine is off")

// disk is the disk of an object store: files below a real folder, with a
// ledger of what a power cut would take. It implements objects.Disk.
type disk struct {
	step func() // called before every operation

	mu      sync.Mutex
	dead    bool
	full    func() bool     // whether an operation meets a full disk now
	files   map[string]bool // by path: content that was not synced
	renames []rename        // in folders that were not synced
	made    map[string]bool // folders whose own folder was not synced
}

type rename struct{ from, to string }

func newDisk(step func()) *disk {
	return &disk{step: step, files: map[string]bool{}, made: map[string]bool{}}
}

// begin is the beginning of an operation.
func (d *disk) begin() error {
	d.step()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.dead:
		return errOff
	case d.full != nil && d.full():
		return fmt.Errorf("writing an object: %w", syscall.ENOSPC)
	}
	return nil
}

func (d *disk) Create(dir, pattern string) (*os.File, error) {
	if err := d.begin(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, pattern)
	if err == nil {
		d.mu.Lock()
		d.files[f.Name()] = true
		d.mu.Unlock()
	}
	return f, err
}

func (d *disk) Sync(f *os.File) error {
	if err := d.begin(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, f.Name())
	return nil
}

func (d *disk) Rename(from, to string) error {
	if err := d.begin(); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[from] {
		delete(d.files, from)
		d.files[to] = true
	}
	d.renames = append(d.renames, rename{from, to})
	return nil
}

func (d *disk) Mkdir(dir string) error {
	if err := d.begin(); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made[dir] = true
	return nil
}

func (d *disk) SyncFolder(dir string) error {
	if err := d.begin(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for made := range d.made {
		if filepath.Dir(made) == dir {
			delete(d.made, made)
		}
	}
	kept := d.renames[:0]
	for _, r := range d.renames {
		if filepath.Dir(r.to) != dir {
			kept = append(kept, r)
		}
	}
	d.renames = kept
	return nil
}

func (d *disk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// restart turns the machine on again. After a power cut, files that were not
// synced are empty or torn, renames whose folder was not synced are undone in
// any order, folders that were not synced are gone; survives draws which.
func (d *disk) restart(powerCut bool, survives func(what string) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = false
	if powerCut {
		for path := range d.files {
			if survives("content " + path) {
				continue
			}
			info, err := os.Stat(path)
			if err != nil {
				continue // it was removed
			}
			if err := os.Truncate(path, info.Size()/2); err != nil {
				return err
			}
		}
		for _, r := range d.renames {
			if survives("name " + r.to) {
				continue
			}
			if err := os.Remove(r.to); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		for dir := range d.made {
			if survives("folder " + dir) {
				continue
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	d.files, d.renames, d.made = map[string]bool{}, nil, map[string]bool{}
	return nil
}

// chance draws from a seed and names alone: the order in which goroutines ask
// changes nothing.
func chance(seed uint64, names ...any) float64 {
	h := fnv.New64a()
	fmt.Fprintln(h, seed)
	fmt.Fprintln(h, names...)
	x := h.Sum64() // FNV mixes its last bytes little: finish as SplitMix64 does
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}

// below draws a whole number below n.
func below(n int, seed uint64, names ...any) int { return int(chance(seed, names...) * float64(n)) }
