package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ratchet/internal/untrusted"
)

// A read-only mount does not prevent connecting to a named socket, or from
// reading a named pipe: behind either may be a service of the machine. What of
// that kind is in a folder that a command sees is covered by an empty file.

// nothing is that file, to the first process.
const nothing = "/nothing"

// hide covers what leads to services below a folder of the machine that is shown
// at a place. With walk, the folder is gone through as well; else only sockets
// are found that have a listener, and what is in more.
func (v *view) hide(source, target string, walk bool, more ...string) {
	for _, rel := range services(source, v.listening(), walk, more) {
		v.bind(nothing, filepath.Join(viewRoot+target, rel))
	}
}

// services are the sockets, pipes and devices below a folder, relative to it.
func services(dir string, listening []string, walk bool, more []string) []string {
	var out []string
	add := func(rel string) {
		info, err := os.Lstat(filepath.Join(dir, rel))
		if err == nil && untrusted.Special(info.Mode()) {
			out = append(out, rel)
		}
	}
	seen := map[string]bool{}
	for _, path := range listening {
		if rel, below := strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/"); below && !seen[rel] {
			seen[rel] = true
			add(rel)
		}
	}
	if walk {
		more = slices.Concat(more, walked(dir))
	}
	for _, rel := range more {
		if !seen[rel] {
			seen[rel] = true
			add(rel)
		}
	}
	return out
}

// listening are the paths of the named sockets that a process of this network
// namespace has bound (proc_net_unix in proc_net(5)), without links.
func listening() []string {
	b, _ := os.ReadFile("/proc/net/unix") // nothing where it is hidden
	var out []string
	for line := range bytes.Lines(b) {
		at := bytes.IndexByte(line, '/')
		if at < 0 {
			continue // it has no name, or an abstract one
		}
		path := strings.TrimSuffix(string(line[at:]), "\n")
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			out = append(out, filepath.Join(dir, filepath.Base(path)))
		}
	}
	return out
}

// mostWalked bounds how many files of a system folder are looked at.
const mostWalked = 50_000

// walks has what was found lately: a shim makes many sandboxes.
var walks struct {
	sync.Mutex
	found map[string][]string
	at    time.Time
}

var errEnough = errors.New("enough was seen")

// walked are the sockets, pipes and devices in a system folder as of at most
// freshFor ago.
func walked(dir string) []string {
	walks.Lock()
	defer walks.Unlock()
	if time.Since(walks.at) > freshFor {
		walks.found, walks.at = map[string][]string{}, time.Now()
	}
	if out, ok := walks.found[dir]; ok {
		return out
	}
	var out []string
	folder, err := untrusted.Open(dir)
	if err != nil {
		return nil
	}
	defer folder.Close()
	n := 0
	_ = folder.Walk(func(e *untrusted.Entry, err error) error {
		if n++; n > mostWalked {
			return errEnough
		}
		if err == nil && untrusted.Special(e.Info.Mode) {
			out = append(out, e.Path)
		}
		return nil
	})
	walks.found[dir] = out
	return out
}
