package attempt

import (
	"maps"
	"os"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/untrusted"
)

// How often a folder is looked at for one snapshot, and how many of its files
// are held open for it.
const (
	mostPasses = 20
	mostHeld   = 512
)

// Snapshot stores what the trial keeps for its next attempt, in chunks, so that
// what did not change since the last time is not stored again. "": there is
// nothing.
//
// The program may be at work meanwhile. A snapshot is what was there together
// at some moment: the folder is looked at until twice on end the same is there,
// and its files are opened by then, so that they can be read after they were
// replaced or removed. One that is written to while it is read is
// executor.ErrChanging.
func (a *Attempt) Snapshot() (digest string, size int64, err error) {
	box, err := openBox(a.Kept)
	if err != nil {
		return "", 0, err
	}
	defer box.Close()
	m := instant{held: map[untrusted.Info]*os.File{}}
	defer m.close()
	if err := m.catch(box); err != nil || len(m.files) == 0 {
		return "", 0, err
	}
	tree := objects.Tree{}
	for path, info := range m.files {
		file, err := a.readWhole(path, info, func() (*os.File, untrusted.Info, error) { return m.open(box, path) })
		if err != nil {
			return "", 0, err
		}
		tree = append(tree, file)
		size += file.Size
	}
	d, err := a.Store.PutTree(tree)
	return string(d), size, err
}

// readWhole stores a file that is not written to while it is read.
func (a *Attempt) readWhole(path string, was untrusted.Info, open opener) (objects.File, error) {
	f, now, err := open()
	if untrusted.Theirs(err) || err == nil && !sameContent(now, was) {
		err = executor.ErrChanging
	}
	if err != nil {
		return objects.File{}, err
	}
	defer f.Close() // only read from
	file, err := a.Store.PutChunked(f)
	if err != nil {
		return file, err
	}
	if now, err = untrusted.InfoOf(f); err == nil && (file.Size != was.Size || !sameContent(now, was)) {
		err = executor.ErrChanging
	}
	file.Path, file.Executable = path, was.Mode&0o111 != 0
	return file, err
}

// sameContent reports whether a file is the same, with the same content. Its name may
// have changed.
func sameContent(a, b untrusted.Info) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Modified.Equal(b.Modified)
}

// instant is what is in a folder at some moment.
type instant struct {
	files map[string]untrusted.Info
	held  map[untrusted.Info]*os.File
}

// catch looks until it has seen the same twice on end.
func (m *instant) catch(box *untrusted.Folder) error {
	for range mostPasses {
		last := m.files
		if err := m.scan(box); err != nil {
			return err
		}
		if last != nil && maps.Equal(m.files, last) {
			return nil
		}
	}
	return executor.ErrChanging
}

func (m *instant) scan(box *untrusted.Folder) error {
	m.files = map[string]untrusted.Info{}
	err := box.Walk(func(e *untrusted.Entry, err error) error {
		if untrusted.Theirs(err) {
			return nil
		}
		if err != nil || !e.Info.Mode.IsRegular() || !goodName(e.Path) || len(m.files) >= mostArtifacts {
			return err
		}
		info := e.Info
		if m.held[info] == nil && len(m.held) < mostHeld {
			f, now, err := e.Open()
			if untrusted.Theirs(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if info = now; m.held[info] != nil {
				_ = f.Close()
			} else {
				m.held[info] = f
			}
		}
		m.files[e.Path] = info
		return nil
	})
	there := map[untrusted.Info]bool{}
	for _, info := range m.files {
		there[info] = true
	}
	for info, f := range m.held {
		if !there[info] {
			_ = f.Close()
			delete(m.held, info)
		}
	}
	return err
}

// open gives a file to be read from its beginning, also if it was read before.
func (m *instant) open(box *untrusted.Folder, path string) (*os.File, untrusted.Info, error) {
	held := m.held[m.files[path]]
	if held == nil {
		return box.Open(path)
	}
	delete(m.held, m.files[path]) // a second name of the same file opens it anew
	info, err := untrusted.InfoOf(held)
	return held, info, err
}

func (m *instant) close() {
	for _, f := range m.held {
		_ = f.Close()
	}
}
