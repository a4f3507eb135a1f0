package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ratchet/internal/untrusted"
)

// Sweep removes what shims that were killed have left outside their folders:
// control groups, and folders of probes. What a living shim owns stays.
func Sweep() {
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
					_ = syscall.Kill(n, syscall.SIGKILL) // without its shim it is nobody's
				}
			}
			_ = os.Remove(dir) // next time, if the kernel is not done with it
		}
	}
	probes, _ := filepath.Glob(filepath.Join(os.TempDir(), askFolder+"*"))
	for _, dir := range probes {
		if info, err := os.Lstat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = untrusted.RemoveAll(dir)
		}
	}
}
