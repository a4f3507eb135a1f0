package processes

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Meter adds up what processes use that come and go.
type Meter struct {
	io      map[int][2]int64 // by process: read and written, when last seen
	read    int64
	written int64
	nextPSS time.Time
	pss     int64 // when last asked
	rss     int64 // then
}

// pssShare bounds what asking for shared pages may cost: the kernel walks all
// page tables of a process for it. Asking for a time of d is repeated after d
// times this.
const pssShare = 500

// Read fills in what the processes below pid use now.
func (t *Meter) Read(pid int, network bool, u *Reading) {
	pids := Descendants(pid)
	u.Processes = len(pids)
	seen := make(map[int][2]int64, len(pids))
	rss := int64(0)
	for _, p := range pids {
		rss += resident(p)
		now, ok := diskIO(p)
		if !ok {
			continue
		}
		before := t.io[p]
		t.read += max(0, now[0]-before[0])
		t.written += max(0, now[1]-before[1])
		seen[p] = now
	}
	t.io = seen
	u.Read, u.Written = t.read, t.written
	if began := time.Now(); began.After(t.nextPSS) {
		t.pss, t.rss = 0, rss
		for _, p := range pids {
			pss, _ := proportional(p)
			t.pss += pss
		}
		t.nextPSS = time.Now().Add(pssShare * time.Since(began))
	}
	// Between two askings the share of shared pages is taken to be as it was.
	if u.Memory = rss; t.rss > 0 && t.pss > 0 {
		u.Memory = int64(float64(rss) * min(1, float64(t.pss)/float64(t.rss)))
	}
	u.Network = nil
	if n, ok := traffic(pid); ok && network {
		u.Network = &n
	}
}

func resident(pid int) int64 {
	fields, err := Stat(pid)
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return pages * int64(os.Getpagesize())
}

// diskIO is what a process has read from and written to disks
// (proc_pid_io(5)).
func diskIO(pid int) ([2]int64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return [2]int64{}, false
	}
	var out [2]int64
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		n, _ := strconv.ParseInt(string(value), 10, 64)
		switch string(name) {
		case "read_bytes":
			out[0] = n
		case "write_bytes":
			out[1] = n
		}
	}
	return out, true
}

// traffic is what went over all devices of a process's network namespace.
func traffic(pid int) (int64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return 0, false
	}
	var total int64
	for line := range strings.Lines(string(b)) {
		_, rest, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 9 {
			continue
		}
		for _, i := range []int{0, 8} { // received and sent
			n, _ := strconv.ParseInt(f[i], 10, 64)
			total += n
		}
	}
	return total, true
}

// mostDiagnosis bounds a diagnosis, in bytes.
const mostDiagnosis = 256 << 10

// Diagnose says what the kernel knows of the processes below pid: what each
// thread waits for, and where in the kernel.
func Diagnose(pid int) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "What the processes of the attempt were doing at %s.\n", time.Now().UTC().Format(time.RFC3339))
	out.WriteString("wchan is the place in the kernel where a thread waits, syscall the number and arguments of the system call it is in.\n")
	for _, p := range Descendants(pid) {
		dir := fmt.Sprintf("/proc/%d", p)
		command, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue // gone
		}
		fmt.Fprintf(&out, "\nprocess %d: %q\n", p, strings.TrimRight(strings.ReplaceAll(string(command), "\x00", " "), " "))
		status, _ := os.ReadFile(dir + "/status")
		for line := range strings.Lines(string(status)) {
			for _, name := range []string{"State:", "VmRSS:", "Threads:", "voluntary_ctxt_switches:"} {
				if strings.HasPrefix(line, name) {
					out.WriteString("  " + line)
				}
			}
		}
		threads, _ := os.ReadDir(dir + "/task")
		for _, t := range threads {
			task := dir + "/task/" + t.Name()
			fmt.Fprintf(&out, "  thread %s %q\n", t.Name(), read(task+"/comm"))
			for _, what := range []string{"wchan", "syscall", "stack"} {
				if text := read(task + "/" + what); text != "" {
					fmt.Fprintf(&out, "    %s: %s\n", what, strings.ReplaceAll(text, "\n", "\n      "))
				}
			}
			if out.Len() > mostDiagnosis {
				out.WriteString("and more\n")
				return out.Bytes()
			}
		}
	}
	return out.Bytes()
}

func read(path string) string {
	b, _ := os.ReadFile(path) // empty where it is gone, or not for this user
	return strings.TrimSpace(string(b))
}
