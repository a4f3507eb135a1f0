package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ratchet/study"
)

// Group bounds the memory, processor share and number of processes of one
// attempt, where this process may make control groups: as root, or in a tree
// that was delegated to it. Elsewhere it is empty, and the watch bounds memory
// by looking. Both versions of the kernel's interface are used
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).
type Group struct {
	dirs map[string]string // by controller; version 2 has one folder for all
	v2   bool
}

// hierarchy is where this machine's control groups can be made.
type hierarchy struct {
	v2   bool
	base map[string]string // by controller
}

const groupFolder = "ratchet"

// ownProcesses is room for the sandbox's first process, which counts as one of
// the attempt's.
const ownProcesses = 1

// findHierarchy looks once for control groups that can be used.
var findHierarchy = sync.OnceValue(func() hierarchy {
	own := map[string]string{}
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 {
			for c := range strings.SplitSeq(parts[1], ",") {
				own[c] = parts[2]
			}
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	v1 := hierarchy{base: map[string]string{}}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		switch f[2] {
		case "cgroup2":
			for _, dir := range []string{filepath.Join(f[1], own[""]), filepath.Join(f[1], filepath.Dir(own[""])), f[1]} {
				if enableV2(dir) {
					return hierarchy{v2: true, base: map[string]string{"": filepath.Join(dir, groupFolder)}}
				}
			}
		case "cgroup":
			for c := range strings.SplitSeq(f[3], ",") {
				if c != "memory" && c != "pids" && c != "cpu" {
					continue
				}
				dir := filepath.Join(f[1], own[c], groupFolder)
				if os.MkdirAll(dir, 0o755) == nil {
					v1.base[c] = dir
				}
			}
		}
	}
	return v1
})

// enableV2 makes the folder of Ratchet's groups below dir and turns the
// controllers on, in dir and in it.
func enableV2(dir string) bool {
	const on = "+memory +pids +cpu"
	base := filepath.Join(dir, groupFolder)
	if os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(on), 0o644) != nil || os.MkdirAll(base, 0o755) != nil {
		return false
	}
	return os.WriteFile(filepath.Join(base, "cgroup.subtree_control"), []byte(on), 0o644) == nil
}

// groups counts the groups that this process has made.
var groups atomic.Int64

// newCgroup makes a group without limits. Where the machine has none to give,
// the group is empty.
func newCgroup() *Group {
	h := findHierarchy()
	g := &Group{dirs: map[string]string{}, v2: h.v2}
	name := fmt.Sprintf("%d-%d", groups.Add(1), os.Getpid()) // see Sweep
	for c, base := range h.base {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			g.remove()
			return &Group{} // it may not be ours to make after all
		}
		g.dirs[c] = dir
	}
	return g
}

// limit sets the limits of an attempt.
func (g *Group) limit(l study.AttemptLimits) error {
	memory := strconv.FormatInt(int64(l.Memory), 10)
	quota := strconv.FormatInt(int64(l.CPUs*100_000), 10)
	tasks := strconv.Itoa(l.Processes + ownProcesses)
	settings := [][3]string{ // controller, file, value
		{"memory", "memory.limit_in_bytes", memory}, {"memory", "memory.memsw.limit_in_bytes", memory},
		{"pids", "pids.max", tasks}, {"cpu", "cpu.cfs_period_us", "100000"}, {"cpu", "cpu.cfs_quota_us", quota},
	}
	if g.v2 {
		settings = [][3]string{
			{"", "memory.max", memory}, {"", "memory.swap.max", "0"}, {"", "memory.oom.group", "1"},
			{"", "pids.max", tasks}, {"", "cpu.max", quota + " 100000"},
		}
	}
	for _, s := range settings {
		dir, ok := g.dirs[s[0]]
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, s[1]), []byte(s[2]), 0o644); err != nil && !strings.Contains(s[1], "sw") {
			return fmt.Errorf("limiting the attempt: %w", err)
		}
	}
	return nil
}

// enter has the sandbox's first process begin in the group; files are needed
// until it was forked. Moving a process that runs waits for all processors to
// pass a point (cgroup_threadgroup_rwsem), which takes 10 ms and more. So in
// version 2 it is born there, and in version 1, which has no such way, it moves
// itself, as a single thread, before it does anything else.
func (g *Group) enter(p *plan) (files []*os.File, err error) {
	for _, dir := range g.dirs {
		if g.v2 {
			group, err := os.Open(dir)
			if err != nil {
				return files, fmt.Errorf("limiting the attempt: %w", err)
			}
			files = append(files, group)
			continue
		}
		tasks, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
		if err != nil {
			return files, fmt.Errorf("limiting the attempt: %w", err)
		}
		files = append(files, tasks)
		p.call("limiting the attempt", unix.SYS_WRITE, int(tasks.Fd()), "0", 1) // 0: the writer
	}
	return files, nil
}

// born is the group that a process is to be born in, among the files of enter;
// nil: it moves itself.
func (g *Group) born(files []*os.File) *os.File {
	if g.v2 && len(files) > 0 {
		return files[0]
	}
	return nil
}

// LimitsMemory reports whether the kernel holds the memory limit.
func (g *Group) LimitsMemory() bool { return g.v2 || g.dirs["memory"] != "" }

// LimitsCPU reports whether the kernel holds the processor share.
func (g *Group) LimitsCPU() bool { return g.v2 || g.dirs["cpu"] != "" }

// Refused is how often the kernel refused a process for the limit of them.
func (g *Group) Refused() int64 {
	if g.v2 {
		return counter(g.dirs[""], "pids.events", "max")
	}
	return counter(g.dirs["pids"], "pids.events", "max")
}

// Usage is the group's processor time in seconds, 0 where it is not known, and
// how many processes the kernel killed for the memory limit.
func (g *Group) Usage() (cpu float64, killed int64) {
	if g.v2 {
		dir := g.dirs[""]
		return float64(counter(dir, "cpu.stat", "usage_usec")) / 1e6, counter(dir, "memory.events", "oom_kill")
	}
	return 0, counter(g.dirs["memory"], "memory.oom_control", "oom_kill")
}

// counter reads the number behind a name in one of a group's files.
func counter(dir, file, name string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 2 && string(f[0]) == name {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return n
		}
	}
	return 0
}

// remove takes the group away. All its processes are gone by then; the kernel
// may need a moment to know it.
func (g *Group) remove() {
	for _, dir := range g.dirs {
		for range 200 {
			if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// SweepGroups removes the control groups of shims that were killed, and ends what is
// in them.
func SweepGroups() {
	for _, base := range findHierarchy().base {
		groups, err := os.ReadDir(base)
		if err != nil {
			continue
		}
		for _, g := range groups {
			pid, err := strconv.Atoi(g.Name()[strings.LastIndexByte(g.Name(), '-')+1:])
			if !g.IsDir() || err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
				continue
			}
			dir := filepath.Join(base, g.Name())
			procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for p := range strings.FieldsSeq(string(procs)) {
				if n, err := strconv.Atoi(p); err == nil {
					_ = syscall.Kill(n, syscall.SIGKILL) // it has lost its shim
				}
			}
			_ = os.Remove(dir) // next time, if the kernel is not done with it
		}
	}
}

// BoundsByGroups says why control groups cannot bound a command here; nil: they can.
func BoundsByGroups() error {
	g := newCgroup()
	err := g.limit(study.AttemptLimits{Memory: 64 << 20, CPUs: 1, Processes: 16})
	g.remove()
	if len(g.dirs) == 0 {
		return errors.New("not to be had by this user; memory is bounded by looking every 50 ms, processors by stopping what has used its share")
	}
	return err
}

// BoundsProcesses reports whether the number of an attempt's processes is
// bounded under any isolation: by control groups.
func BoundsProcesses() bool {
	h := findHierarchy()
	return h.v2 || h.base["pids"] != ""
}
