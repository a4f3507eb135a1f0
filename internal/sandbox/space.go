package sandbox

import "golang.org/x/sys/unix"

// FreeSpace is how many bytes an ordinary user can still write to the file
// system of a folder; false where that cannot be known.
func FreeSpace(dir string) (int64, bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
