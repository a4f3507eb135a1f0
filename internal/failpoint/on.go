//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var hits atomic.Int64

// Hit kills the process if the environment says that it dies here.
func Hit(name string) {
	want, count, _ := strings.Cut(os.Getenv("RATCHET_FAILPOINT"), ":")
	if want != name {
		return
	}
	n, _ := strconv.ParseInt(count, 10, 64)
	if hits.Add(1) == max(n, 1) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
