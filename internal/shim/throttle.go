package shim

import (
	"syscall"
	"time"

	"ratchet/internal/processes"
)

// throttle holds a command to its share of processors where no control group
// does: it stops the whole tree when that has used more than its share, and
// has it go on when the share has caught up. The zero throttle has stopped
// nothing.
type throttle struct {
	last    time.Time
	used    float64 // seconds of processor time at last
	credit  float64 // seconds of processor time that may be used at once
	stopped bool
}

// mostCredit is how much may be used at once, in seconds for each processor of
// the share: two looks of the watch.
const mostCredit = 0.1

// enforce looks at what the tree below pid has used by now, in seconds.
func (t *throttle) enforce(pid int, share, used float64, now time.Time) {
	if t.last.IsZero() {
		t.last, t.used, t.credit = now, used, mostCredit*share
		return
	}
	t.credit = min(mostCredit*share, t.credit+share*now.Sub(t.last).Seconds()-max(0, used-t.used))
	t.last, t.used = now, max(used, t.used)
	switch {
	case t.credit < 0:
		// Again each time: meanwhile it may have made children.
		processes.Signal(pid, syscall.SIGSTOP)
		t.stopped = true
	case t.stopped:
		processes.Signal(pid, syscall.SIGCONT)
		t.stopped = false
	}
}
