package processes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Boot tells one boot of the machine from another.
var Boot = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // empty where it is hidden
	return strings.TrimSpace(string(b))
})

// Identify names a process that runs now.
func Identify(pid int) (Identity, error) {
	fields, err := Stat(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: Boot() + "/" + fields[19]}, nil
}

// Stat gives the fields of /proc/PID/stat behind the name: the first is the
// process's state (proc_pid_stat(5), field 3).
func Stat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 22 {
		return nil, fmt.Errorf("process %d: /proc/PID/stat is not whole", pid)
	}
	return fields, nil
}

// Descendants are the processes below one, itself not included.
func Descendants(pid int) []int {
	var out []int
	queue := []int{pid}
	for len(queue) > 0 && len(out) < 1<<16 {
		children := childrenOf(queue[0])
		queue = append(queue[1:], children...)
		out = append(out, children...)
	}
	return out
}

func childrenOf(pid int) []int {
	var out []int
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil // gone
	}
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue
		}
		for f := range bytes.FieldsSeq(b) {
			if child, err := strconv.Atoi(string(f)); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// Measure is the processor time in seconds and the memory in bytes of the
// processes below the sandbox's first one. Memory is the sum of what each has
// resident; where that, with what they hold beside it, is over the limit and
// no control group watches it, pages that processes share are counted once (PSS), and
// so is what they hold; see held.
func Measure(pid int, limit int64, watched bool, held int64) (cpu float64, memory int64) {
	const ticks = 100 // USER_HZ, fixed on Linux's user interface
	pids := Descendants(pid)
	for _, p := range pids {
		fields, err := Stat(p)
		if err != nil {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // own and waited-for children's, user and system
			n, _ := strconv.ParseFloat(fields[i], 64)
			cpu += n / ticks
		}
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		memory += pages * int64(os.Getpagesize())
	}
	if memory+held > limit && !watched {
		memory = 0
		for _, p := range pids {
			pss, shared := proportional(p)
			memory += pss
			held -= shared // what is mapped of it is resident
		}
		memory += max(0, held)
	}
	return cpu, memory
}

// proportional is a process's PSS in bytes, and how much of that is of shared
// memory (proc_pid_smaps_rollup). Of one that hides, it is all that is resident.
func proportional(pid int) (pss, shared int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil || len(b) == 0 {
		return resident(pid), 0
	}
	for line := range bytes.Lines(b) {
		for name, to := range map[string]*int64{"Pss:": &pss, "Pss_Shmem:": &shared} {
			if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
				kib, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
				*to = kib << 10
			}
		}
	}
	return pss, shared
}

// Terminate asks the processes of an attempt to end, all but the sandbox's
// first. From outside: the threads of the first process are, to Landlock, in
// other domains than the command, and may not signal it.
func Terminate(pid int, _ bool) {
	Signal(pid, syscall.SIGTERM)
	Signal(pid, syscall.SIGCONT) // one that stands still could not hear
}

// Signal sends a signal to the processes below one.
func Signal(pid int, sig syscall.Signal) {
	for _, p := range Descendants(pid) {
		_ = syscall.Kill(p, sig) // one that is gone needs none
	}
}

// Kill ends every process of an attempt. With a pid namespace, the kernel
// ends all of it with its first process; without, the tree is killed until the
// first process has reported the command's end, since a process may have
// children between a look and a kill. One that does not report in ten seconds
// is killed, too.
func Kill(pid int, isolated bool, reported <-chan struct{}) {
	if isolated {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	for waits := true; waits; {
		Signal(pid, syscall.SIGKILL)
		select {
		case <-reported:
			waits = false
		case <-patience.C:
			waits = false
		case <-again.C:
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for range 100 {
		pids := Descendants(os.Getpid())
		if len(pids) == 0 {
			return
		}
		for _, p := range pids {
			if p != pid {
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
		}
		ReapOrphans()
	}
}

// BecomeReaper makes orphans of this process's descendants its children.
func BecomeReaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// ReapOrphans takes the ends of killed processes, so that none stays a zombie.
func ReapOrphans() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || errors.Is(err, syscall.ECHILD) {
			return
		}
	}
}
