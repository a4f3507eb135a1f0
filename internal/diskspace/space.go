// Package diskspace is how much room the file systems of folders have.
package diskspace

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Free is how many bytes an ordinary user can still write to the file
// system of a folder; false where that cannot be known.
func Free(dir string) (int64, bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}

// Total is the size of the file system of a folder, in bytes, less what
// an ordinary user cannot have; false where that cannot be known.
func Total(dir string) (int64, bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Blocks-s.Bfree+s.Bavail) * int64(s.Bsize), true
}

// Same reports whether two folders are on one file system; a folder that
// is not there is on any.
func Same(a, b string) bool {
	one, errOne := os.Stat(a)
	two, errTwo := os.Stat(b)
	if errOne != nil || errTwo != nil {
		return true
	}
	s, okS := one.Sys().(*syscall.Stat_t)
	t, okT := two.Sys().(*syscall.Stat_t)
	return !okS || !okT || s.Dev == t.Dev
}
