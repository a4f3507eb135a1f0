//go:build !linux

package processes

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Boot is unknown here.
func Boot() string { return "" }

func BecomeReaper() error { return nil }

func Identify(pid int) (Identity, error) {
	if err := syscall.Kill(pid, 0); err != nil {
		return Identity{}, err
	}
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return Identity{}, err
	}
	start := info.Proc.P_starttime
	return Identity{PID: pid, Start: fmt.Sprintf("%d.%06d", start.Sec, start.Usec)}, nil
}

func Measure(int, int64, bool, int64) (float64, int64) { return 0, 0 }

func Held(int, ...string) (disk, memory int64) { return 0, 0 }

func Terminate(pid int, _ bool) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

func Kill(pid int, _ bool, _ <-chan struct{}) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func ReapOrphans() {}

type Meter struct{}

func (*Meter) Read(int, bool, *Reading) {}

func Diagnose(int) []byte { return nil }

func Signal(int, syscall.Signal) {}

// Own are the processors that this process may run on: not known here.
func Own() []int { return nil }
