package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ratchet/study"
)

// systemFolders are seen read-only by every command, where the machine has
// them.
var systemFolders = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store",
	"/sys/devices/system",
}

// devices are the device nodes that every command sees.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// enter builds the command's view of the machine and makes it the root. It
// runs in mount, pid, network and uts namespaces of its own.
func enter(spec *Spec, folder string) error {
	root := filepath.Join(folder, rootFolder)
	steps := []struct {
		what string
		do   func() error
	}{
		{"detaching from the machine's mounts", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"making a root", func() error { return unix.Mount("ratchet", root, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m") }},
		{"showing the system read-only", func() error { return showSystem(root, spec) }},
		{"mounting /proc", func() error {
			return unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}},
		{"making /dev", func() error { return showDevices(root+"/dev", spec) }},
		{"showing the box", func() error { return showBox(root, folder, spec) }},
		{"showing what lies in /tmp", func() error { return showInTmp(root, spec) }},
		{"entering the root", func() error { return pivot(root) }},
		{"naming the host", func() error { return unix.Sethostname([]byte("ratchet")) }},
		{"bringing up loopback", func() error {
			if spec.Limits.Network == study.NetworkHost {
				return nil
			}
			return loopbackUp()
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("isolating the attempt: %s: %w", s.what, err)
		}
	}
	return nil
}

// showSystem binds the system and what else the command needs below root and
// makes all of it, root itself included, read-only.
func showSystem(root string, spec *Spec) error {
	for _, dir := range []string{"/proc", "/dev", "/tmp", boxMount, "/run", "/var/tmp"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
	}
	paths := append([]string{}, systemFolders...)
	for _, p := range spec.ReadOnly {
		if !inTmp(p) {
			paths = append(paths, p)
		}
	}
	if spec.Limits.GPUs > 0 {
		paths = append(paths, "/sys/bus/pci", "/sys/devices")
	}
	for _, p := range paths {
		if err := show(root, p); err != nil {
			return err
		}
	}
	return readOnly(root)
}

func inTmp(path string) bool { return strings.HasPrefix(path, "/tmp/") }

// showInTmp shows what the command needs of the machine's /tmp, an interpreter
// that somebody put there, say, inside its own.
func showInTmp(root string, spec *Spec) error {
	for _, p := range spec.ReadOnly {
		if !inTmp(p) {
			continue
		}
		if err := show(root, p); err != nil {
			return err
		}
		if info, err := os.Lstat(root + p); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			if err := readOnly(root + p); err != nil {
				return err
			}
		}
	}
	return nil
}

func readOnly(path string) error {
	return unix.MountSetattr(-1, path, unix.AT_RECURSIVE, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
	})
}

// show binds one path of the machine below root, at the same place. Links are
// copied. A path that is not there, or lies below one that is shown already,
// is passed over.
func show(root, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	target := root + path
	if _, err := os.Lstat(target); err == nil && path != "/sys/devices" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, target)
	}
	return bind(path, target, info.IsDir())
}

// bind makes the target if need be and binds source there, with all that is
// mounted below it.
func bind(source, target string, folder bool) error {
	if folder {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else if f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
		_ = f.Close()
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

func showDevices(dev string, spec *Spec) error {
	if err := unix.Mount("ratchet", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return err
	}
	names := devices
	if spec.Limits.GPUs > 0 {
		gpus, err := filepath.Glob("/dev/nvidia*")
		if err != nil {
			return err
		}
		for _, g := range gpus {
			names = append(names, strings.TrimPrefix(g, "/dev/"))
		}
	}
	for _, n := range names {
		info, err := os.Stat("/dev/" + n)
		if err != nil {
			return err
		}
		if err := bind("/dev/"+n, dev+"/"+n, info.IsDir()); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, dev+"/"+link); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dev+"/shm", 0o755); err != nil {
		return err
	}
	if err := unix.MountSetattr(-1, dev, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return err
	}
	return unix.Mount("ratchet", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV,
		"mode=1777,size="+strconv.FormatInt(int64(spec.Limits.Memory), 10))
}

// showBox binds what the command may write to: its box, its checkpoint
// folder and a /tmp of its own, all counted as its disk use.
func showBox(root, folder string, spec *Spec) error {
	writable := []Bind{
		{Box(folder), boxMount},
		{filepath.Join(folder, tmpFolder), "/tmp"},
	}
	if spec.Checkpoint != "" {
		writable = append(writable, Bind{spec.Checkpoint, boxMount + "/" + CheckpointFolder})
	}
	for _, b := range writable {
		if err := bind(b.Source, root+b.Target, true); err != nil {
			return err
		}
		if err := unix.MountSetattr(-1, root+b.Target, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}); err != nil {
			return err
		}
	}
	for _, in := range spec.Inputs {
		info, err := os.Stat(in.Source)
		if err != nil {
			return err
		}
		target := filepath.Join(root+boxMount, WorkFolder, in.Target)
		if err := bind(in.Source, target, info.IsDir()); err != nil {
			return err
		}
		if err := readOnly(target); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes root the root and lets go of the machine's.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	// The old root is stacked on the new one now (pivot_root(2), NOTES).
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}

// loopbackUp lets a command talk to itself over 127.0.0.1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
