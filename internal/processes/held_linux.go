package processes

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a process holds in files that have no name takes room that no walk of a
// folder finds: a file that was removed while it is open or mapped, and memory
// that only an open file stands for (memfd_create(2)).

// Held is what the processes below one hold in such files, in bytes: on the
// disks of some folders, and in memory. What is on its way from one process to
// another, over a socket, is not counted.
func Held(pid int, folders ...string) (disk, memory int64) {
	h := holding{disks: map[uint64]bool{}, seen: map[inode]bool{}, mapped: map[inode]int64{}}
	for _, dir := range folders {
		var s unix.Stat_t
		if unix.Stat(dir, &s) == nil {
			h.disks[s.Dev] = true
		}
	}
	for _, p := range Descendants(pid) {
		h.sharedMemory(p)
		h.open(p)
		h.maps(p)
	}
	for at, size := range h.mapped {
		switch {
		case h.seen[at]:
		case h.disks[at.dev]:
			h.disk += size
		default:
			h.memory += size
		}
	}
	return h.disk, h.memory
}

type inode struct{ dev, ino uint64 }

type holding struct {
	disks        map[uint64]bool
	shm          uint64
	seen         map[inode]bool
	mapped       map[inode]int64 // by file without a name: how far it is mapped
	disk, memory int64
}

// sharedMemory counts all of a command's /dev/shm, with a name or without, once.
// The machine's own, under Process isolation, is not the command's.
func (h *holding) sharedMemory(pid int) {
	if h.shm != 0 {
		return
	}
	dir := fmt.Sprintf("/proc/%d/root/dev/shm", pid)
	var fs unix.Statfs_t
	var s, own unix.Stat_t
	if unix.Statfs(dir, &fs) != nil || unix.Stat(dir, &s) != nil || fs.Type != unix.TMPFS_MAGIC || h.disks[s.Dev] {
		return
	}
	if h.shm = s.Dev; unix.Stat("/dev/shm", &own) != nil || own.Dev != s.Dev {
		h.memory += int64(fs.Blocks-fs.Bfree) * fs.Bsize
	}
}

// open counts the files without a name that a process has open.
func (h *holding) open(pid int) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	f, err := os.Open(dir)
	if err != nil {
		return // gone
	}
	names, _ := f.Readdirnames(-1)
	_ = f.Close()
	for _, name := range names {
		var s unix.Stat_t
		if unix.Stat(dir+"/"+name, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFREG || s.Nlink > 0 && h.disks[s.Dev] {
			continue
		}
		at := inode{s.Dev, s.Ino}
		if h.seen[at] {
			continue
		}
		h.seen[at] = true
		switch {
		case h.disks[s.Dev]:
			h.disk += s.Blocks * 512
		case s.Dev != h.shm && s.Nlink == 0 && inMemory(dir+"/"+name):
			h.memory += s.Blocks * 512
		}
	}
}

// inMemory reports whether a file is on no disk.
func inMemory(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.HUGETLBFS_MAGIC)
}

// maps notes the files without a name that a process has mapped. Of one that is
// no longer open, it is not known how much there is; it counts as far as it is
// mapped (proc_pid_maps(5)).
func (h *holding) maps(pid int) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return // gone
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if !strings.HasSuffix(line, " (deleted)") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 6 || strings.HasPrefix(fields[5], "/dev/zero") || strings.HasPrefix(fields[5], "/SYSV") || strings.HasPrefix(fields[5], "/dev/shm/") {
			continue // what is resident of it counts as such, or was counted
		}
		from, to, _ := strings.Cut(fields[0], "-")
		begin, err1 := strconv.ParseInt(from, 16, 64)
		end, err2 := strconv.ParseInt(to, 16, 64)
		offset, err3 := strconv.ParseInt(fields[2], 16, 64)
		major, minor, _ := strings.Cut(fields[3], ":")
		hi, err4 := strconv.ParseUint(major, 16, 32)
		lo, err5 := strconv.ParseUint(minor, 16, 32)
		ino, err6 := strconv.ParseUint(fields[4], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil || err5 != nil || err6 != nil {
			continue
		}
		at := inode{unix.Mkdev(uint32(hi), uint32(lo)), ino}
		h.mapped[at] = max(h.mapped[at], offset+end-begin)
	}
}
