package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// systemFolders are seen read-only by every command, where the machine has
// them.
var systemFolders = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store",
	"/sys/devices/system",
}

// devices are the device nodes that every command sees.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// Where the machine's root and the command's are to the first process, once it
// has a root of its own.
const (
	machineRoot = "/machine"
	viewRoot    = "/view"
)

// view plans what a command sees of the machine, as the root of a mount
// namespace of its own. made are the folders below root that the plan has made
// so far, shown what it shows of the machine.
type view struct {
	*plan
	made, shown map[string]bool
	listening   func() []string // looked up once
}

func newView(p *plan) *view {
	return &view{p, map[string]bool{}, map[string]bool{}, sync.OnceValue(listening)}
}

// planMachine plans what a command sees of the machine, as far as its shape
// says. It is built beside the machine's root, on a small file system that
// takes the place of /proc for a moment, so that nothing of the machine is
// hidden while it is built.
func planMachine(p *plan, shape *Spec) error {
	v := newView(p)
	// Nothing of this reaches the machine; what is mounted there later is seen.
	v.mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	const base = "/proc"
	v.mount("ratchet", base, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m")
	v.mkdir(base + machineRoot)
	v.mkdir(base + viewRoot)
	v.call("making "+nothing, unix.SYS_MKNODAT, unix.AT_FDCWD, base+nothing, unix.S_IFREG, 0)
	v.call("entering the sandbox", unix.SYS_PIVOT_ROOT, base, base+machineRoot)
	v.call("entering the sandbox", unix.SYS_CHDIR, "/")
	v.mount("ratchet", viewRoot, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m")
	if err := v.system(shape); err != nil {
		return err
	}
	v.mount("proc", viewRoot+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := v.devices(shape); err != nil {
		return err
	}
	v.mount("", viewRoot, "", unix.MS_REC|unix.MS_PRIVATE, "")
	const name = "ratchet"
	v.call("naming the host", unix.SYS_SETHOSTNAME, name, len(name))
	if shape.SharesNetwork() {
		return nil
	}
	return v.loopback()
}

// planBox plans what an attempt sees besides, and the way in.
func planBox(p *plan, spec *Spec, folder string) error {
	v := newView(p)
	if err := v.box(folder, spec); err != nil {
		return err
	}
	v.made["/tmp"] = true
	for _, path := range spec.ReadOnly {
		if err := v.inTmp(path); err != nil {
			return err
		}
	}
	v.mount("", viewRoot, "", unix.MS_REC|unix.MS_PRIVATE, "")
	v.call("entering the root", unix.SYS_CHDIR, viewRoot)
	v.call("entering the root", unix.SYS_PIVOT_ROOT, ".", ".")
	// The old root is stacked on the new one now (pivot_root(2), NOTES).
	v.call("leaving the machine's root", unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	v.call("entering the root", unix.SYS_CHDIR, "/")
	return nil
}

// reveal binds something of the machine at a place in the view. Links on the
// way to it are followed as the machine has them.
func (v *view) reveal(source, target string) error {
	_, err := v.revealed(source, target)
	return err
}

// revealed is reveal, and says what the source is without links.
func (v *view) revealed(source, target string) (path string, err error) {
	if path, err = filepath.EvalSymlinks(source); err == nil {
		v.bind(machineRoot+path, viewRoot+target)
	}
	return path, err
}

// walkedFolders are gone through for what leads to services: anybody's may be
// there. The system's programs and libraries are not.
var walkedFolders = []string{"/etc", "/opt"}

// system shows the system and what else the command needs read-only, root
// itself included.
func (v *view) system(spec *Spec) error {
	for _, dir := range []string{"/proc", "/dev", "/tmp", boxMount, "/run", "/var/tmp"} {
		v.folder(dir)
	}
	paths := append([]string{}, systemFolders...)
	if spec.Limits.GPUs > 0 {
		paths = append(paths, "/sys/bus/pci", "/sys/devices")
	}
	if spec.SharesNetwork() {
		// What names the machine's name servers is often a link out of /etc.
		if servers, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
			paths = append(paths, servers)
		}
	}
	for _, p := range spec.ReadOnly {
		if !isInTmp(p) {
			paths = append(paths, p)
		}
	}
	for _, p := range paths {
		if _, err := v.show(p); err != nil {
			return err
		}
	}
	v.setMount(viewRoot, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, unix.AT_RECURSIVE)
	return nil
}

// folder makes a folder below root, and those above it.
func (v *view) folder(path string) {
	if path == "/" || v.made[path] {
		return
	}
	v.folder(filepath.Dir(path))
	v.made[path] = true
	v.mkdir(viewRoot + path)
}

// show binds one path of the machine below root, at the same place. Links are
// copied. A path that is not there, or lies below one that is shown already,
// is passed over; false then.
func (v *view) show(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for above := path; above != "/"; above = filepath.Dir(above) {
		if v.shown[above] {
			return false, nil
		}
	}
	v.shown[path] = true
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return false, err
		}
		v.folder(filepath.Dir(path))
		v.symlink(to, viewRoot+path)
		return false, nil
	}
	v.place(path, info.IsDir())
	source, err := v.revealed(path, path)
	if err == nil {
		v.hide(source, path, slices.Contains(walkedFolders, path))
	}
	return true, err
}

// place makes what something is mounted on.
func (v *view) place(path string, folder bool) {
	if folder {
		v.folder(path)
		return
	}
	v.folder(filepath.Dir(path))
	v.call("making "+path, unix.SYS_MKNODAT, unix.AT_FDCWD, viewRoot+path, unix.S_IFREG|0o644, 0)
}

func (v *view) devices(spec *Spec) error {
	dev := viewRoot + "/dev"
	v.mount("ratchet", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=1m")
	names := devices
	if spec.Limits.GPUs > 0 {
		gpus, err := filepath.Glob("/dev/nvidia*")
		if err != nil {
			return err
		}
		for _, g := range gpus {
			name := strings.TrimPrefix(g, "/dev/")
			number, err := strconv.Atoi(strings.TrimPrefix(name, "nvidia"))
			if err == nil && spec.GPUs != nil && !slices.Contains(spec.GPUs, number) {
				continue // not ours
			}
			names = append(names, name)
		}
	}
	for _, n := range names {
		info, err := os.Stat("/dev/" + n)
		if err != nil {
			return err
		}
		v.place("/dev/"+n, info.IsDir())
		if err := v.reveal("/dev/"+n, "/dev/"+n); err != nil {
			return err
		}
	}
	for _, link := range [][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}} {
		v.symlink(link[0], dev+"/"+link[1])
	}
	v.mkdir(dev + "/shm")
	v.setMount(dev, unix.MOUNT_ATTR_RDONLY, 0)
	v.mount("ratchet", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size="+strconv.FormatInt(int64(spec.Limits.Memory), 10))
	return nil
}

// box binds what the command may write to: its box, its checkpoint folder and
// a /tmp of its own, all counted as its disk use; and its inputs.
func (v *view) box(folder string, spec *Spec) error {
	writable := []Bind{{Source: Box(folder), Target: boxMount}, {Source: filepath.Join(folder, TmpFolder), Target: "/tmp"}}
	if spec.Checkpoint != "" {
		writable = append(writable, Bind{Source: spec.Checkpoint, Target: boxMount + "/" + CheckpointFolder})
		if spec.CheckpointAt != "" {
			writable = append(writable, Bind{Source: spec.Checkpoint, Target: boxMount + "/" + WorkFolder + "/" + spec.CheckpointAt})
		}
	}
	for _, b := range writable {
		if err := v.reveal(b.Source, b.Target); err != nil {
			return err
		}
		v.setMount(viewRoot+b.Target, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0)
	}
	for _, in := range spec.Inputs {
		target := filepath.Join(boxMount, WorkFolder, in.Target)
		source, err := v.revealed(in.Source, target)
		if err != nil {
			return err
		}
		v.hide(source, target, false, in.Hide...)
		v.setMount(viewRoot+target, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, unix.AT_RECURSIVE)
	}
	return nil
}

func isInTmp(path string) bool { return strings.HasPrefix(path, "/tmp/") }

// inTmp shows what the command needs of the machine's /tmp, an interpreter
// that was put there, say, inside its own.
func (v *view) inTmp(path string) error {
	if !isInTmp(path) {
		return nil
	}
	shown, err := v.show(path)
	if err == nil && shown {
		v.setMount(viewRoot+path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, unix.AT_RECURSIVE)
	}
	return err
}

// loopback lets a command talk to itself over 127.0.0.1.
func (v *view) loopback() error {
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	v.call("bringing up loopback", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	v.call("bringing up loopback", unix.SYS_IOCTL, result{}, unix.SIOCSIFFLAGS, address(put(v.shared, *ifr)))
	return nil
}
