//go:build !linux

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Outside Linux there is Process isolation only: the command has a process
// group of its own and resource limits. A process that leaves its group is not
// found again.

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// Probe reports why a level of isolation cannot be had here.
func Probe(level Isolation) error {
	if level == Strict {
		return errors.New("strict isolation needs Linux; accept --isolation process (limits, but no walls) if you trust the program")
	}
	return nil
}

// Abilities says what this machine can do for isolation.
func Abilities() []Ability {
	return []Ability{{"strict isolation", false, "needs Linux"}, {"process isolation", true, "limits of a process group"}}
}

// bootID: nobody says here which boot this is.
func bootID() string { return "" }

// secure makes all durable that was written.
func secure(string) error { return unix.Sync() }

// ownNetwork: none has one here.
func ownNetwork(*Spec) bool { return false }

func giveAway(*Spec, string) error { return nil }

func becomeReaper() error { return nil }

// initOrder is what the first process is told.
type initOrder struct {
	Spec   *Spec
	Folder string
}

// container is made when its attempt begins, here.
type container struct {
	group          *cgroup
	first          int      // the first process
	stdout, stderr *os.File // what the command prints
}

func newContainer(*Spec) (*container, error) { return &container{group: &cgroup{}}, nil }

func (c *container) fits(*Spec) bool { return true }
func (c *container) pid() int        { return c.first }
func (c *container) remove()         {}
func (c *container) discard()        { c.stdout.Close(); c.stderr.Close() }

// begin starts this program again as the sandbox's first process, which starts
// the command and reports how it ended.
func (c *container) begin(folder string, spec *Spec, _ *doorway) (wait func() childEnd, err error) {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	pipe := func() (read, write *os.File) {
		if err == nil {
			read, write, err = os.Pipe()
		}
		return read, write
	}
	var stdout, stderr *os.File
	c.stdout, stdout = pipe()
	c.stderr, stderr = pipe()
	orderRead, orderWrite := pipe()
	reportRead, reportWrite := pipe()
	theirs = append(theirs, stdout, stderr, orderRead, reportWrite)
	if err != nil {
		return nil, err
	}
	cmd := itself(initName)
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=single"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{orderRead, reportWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	if err == nil {
		err = json.NewEncoder(orderWrite).Encode(initOrder{Spec: spec, Folder: folder})
	}
	if err = errors.Join(err, orderWrite.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the sandbox: %w", err), reportRead.Close())
	}
	c.first = cmd.Process.Pid
	return func() childEnd {
		defer reportRead.Close()
		var end childEnd
		if err := json.NewDecoder(io.LimitReader(reportRead, 1<<16)).Decode(&end); err != nil {
			return childEnd{Exit: -1, Signal: "killed"} // with its first process
		}
		return end
	}, nil
}

func initMain() int {
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	report := os.NewFile(4, "report")
	var order initOrder
	if json.NewDecoder(os.NewFile(3, "order")).Decode(&order) != nil {
		return 1
	}
	end, err := contain(order.Spec, order.Folder)
	if err != nil {
		end = childEnd{SetUp: err.Error(), Missing: true, Exit: -1}
	}
	if json.NewEncoder(report).Encode(end) != nil {
		return 1
	}
	return 0
}

func contain(spec *Spec, folder string) (childEnd, error) {
	work := filepath.Join(Box(folder), WorkFolder)
	for _, e := range spec.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			if err := os.Setenv("PATH", v); err != nil {
				return childEnd{}, err
			}
		}
	}
	if err := os.Chdir(work); err != nil {
		return childEnd{}, err
	}
	limit := &syscall.Rlimit{Cur: uint64(spec.Limits.Disk), Max: uint64(spec.Limits.Disk)}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, limit); err != nil {
		return childEnd{}, err
	}
	cmd := exec.Command(spec.Command[0], spec.Command[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Env, work, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return childEnd{}, fmt.Errorf("%s cannot be executed: %w", spec.Command[0], err)
	}
	_ = cmd.Wait()
	end := childEnd{Exit: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		end.Exit, end.Signal = -1, unix.SignalName(status.Signal())
	}
	end.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		end.Memory = use.Maxrss
	}
	return end, nil
}

func identify(pid int) (identity, error) {
	if err := syscall.Kill(pid, 0); err != nil {
		return identity{}, err
	}
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return identity{}, err
	}
	start := info.Proc.P_starttime
	return identity{PID: pid, Start: fmt.Sprintf("%d.%06d", start.Sec, start.Usec)}, nil
}

func treeUse(int, int64, bool, int64) (float64, int64) { return 0, 0 }

func held(int, ...string) (disk, memory int64) { return 0, 0 }

func terminate(pid int, _ bool) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

func killAll(pid int, _ bool, _ <-chan struct{}) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func reapOrphans() {}

func reap(pid int) { _, _ = syscall.Wait4(pid, nil, 0, nil) }

// cgroup is Linux's.
type cgroup struct{}

func (*cgroup) limitsMemory() bool      { return false }
func (*cgroup) limitsCPU() bool         { return true } // nobody can hold it here
func (*cgroup) refused() int64          { return 0 }
func (*cgroup) usage() (float64, int64) { return 0, 0 }

type tree struct{}

func (*tree) look(int, bool, *Usage) {}

func diagnose(int) []byte { return nil }

// Sweep has nothing to remove here.
func Sweep() {}

func signalTree(int, syscall.Signal) {}

// BoundsProcesses reports whether the number of an attempt's processes is
// bounded.
func BoundsProcesses() bool { return false }
