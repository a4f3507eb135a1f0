package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestBornInItsGroup: where the machine has control groups of version 2, an
// attempt's first process is born in its group. The controllers may be version
// 1's here: the way in is the same without them.
func TestBornInItsGroup(t *testing.T) {
	root := ""
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			root = f[1]
		}
	}
	dir, err := filepath.Join(root, "ratchet-test"), errors.New("not mounted")
	if root != "" {
		err = os.Mkdir(dir, 0o755)
	}
	if err != nil {
		if os.Getuid() == 0 && os.Getenv("CI") != "" {
			t.Fatalf("root cannot make control groups of version 2 at %q (%v); CI must test them", root, err)
		}
		t.Skip("this user cannot make control groups of version 2 here; CI does it as root")
	}
	group := &Group{v2: true, dirs: map[string]string{"": dir}}
	defer group.remove()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	f, err := newFork()
	if err != nil {
		t.Fatal(err)
	}
	f.firstAhead.call("taking stdout", unix.SYS_DUP3, int(out.Fd()), 1, 0)
	files, err := group.enter(&f.firstAhead)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.start(0, group.born(files), func(int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	f.orders.paths = unsafe.Slice(put(f.shared, f.text("/bin/cat")), 1)
	f.orders.argv, f.orders.env = f.list([]string{"cat", "/proc/self/cgroup"}), f.list(nil)
	if err := f.proceed(); err != nil {
		t.Fatal(err)
	}
	end := f.end(&Spec{Command: []string{"cat"}})
	Reap(f.pid)
	f.close()
	for _, file := range files {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(out.Name())
	if err != nil || end.Exit != 0 || !strings.Contains(string(b), "0::/ratchet-test\n") {
		t.Errorf("%+v, %s (%v)", end, b, err)
	}
}

// TestSweep: what a killed shim left outside its folder is removed.
func TestSweep(t *testing.T) {
	var dirs []string
	for _, base := range findHierarchy().base {
		dir := filepath.Join(base, "left-4194303") // no process has that id
		if err := os.Mkdir(dir, 0o755); err == nil {
			dirs = append(dirs, dir)
		}
	}
	SweepGroups()
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}
