package shim

import (
	"os"
	"path/filepath"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
)

// Sweep removes what shims that were killed have left outside their folders:
// control groups, and folders of probes. What a living shim owns stays.
func Sweep() {
	sandbox.SweepGroups()
	probes, _ := filepath.Glob(filepath.Join(os.TempDir(), askFolder+"*"))
	for _, dir := range probes {
		if info, err := os.Lstat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = untrusted.RemoveAll(dir)
		}
	}
}
