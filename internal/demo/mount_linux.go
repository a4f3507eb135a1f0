package demo

import "golang.org/x/sys/unix"

// mountSmall makes a file system of 48 MiB in memory.
func mountSmall(dir string) error {
	return unix.Mount("ratchet-demo", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=48m,mode=755")
}

func unmount(dir string) { _ = unix.Unmount(dir, unix.MNT_DETACH) }
