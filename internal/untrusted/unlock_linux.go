package untrusted

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unlock gives a folder's owner the rights on it that he took away; lock takes
// them away again, or leaves them. The handle in between needs none of these
// rights and has one folder only, whatever the name comes to be.
func unlock(dir int, name string) (lock func(again bool), ok bool) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	handle := os.NewFile(uintptr(fd), name)
	info, err := InfoOf(handle)
	if err != nil {
		_ = handle.Close()
		return nil, false
	}
	before, path := uint32(info.Mode.Perm()), fmt.Sprintf("/proc/self/fd/%d", fd)
	if unix.Chmod(path, before|0o700) != nil {
		_ = handle.Close()
		return nil, false
	}
	return func(again bool) {
		if again {
			_ = unix.Chmod(path, before) // gone by now, or its owner's again
		}
		_ = handle.Close()
	}, true
}
