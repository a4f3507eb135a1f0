//go:build !linux

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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

// ownNetwork: none has one here.
func OwnNetwork(*Spec) bool { return false }

func GiveAway(*Spec, string) error { return nil }

// initOrder is what the first process is told.
type initOrder struct {
	Spec   *Spec
	Folder string
}

// Container is made when its attempt begins, here.
type Container struct {
	Group          *Group
	first          int      // the first process
	Stdout, Stderr *os.File // what the command prints
}

func NewContainer(*Spec) (*Container, error) { return &Container{Group: &Group{}}, nil }

func (c *Container) Fits(*Spec) bool                                       { return true }
func (c *Container) PID() int                                              { return c.first }
func (c *Container) Remove()                                               {}
func (c *Container) DoorListeners() (func() (net.Listener, error), func()) { return nil, nil }
func (c *Container) Discard()                                              { c.Stdout.Close(); c.Stderr.Close() }

// Begin starts this program again as the sandbox's first process, which starts
// the command and reports how it ended.
func (c *Container) Begin(folder string, spec *Spec) (wait func() End, err error) {
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
	c.Stdout, stdout = pipe()
	c.Stderr, stderr = pipe()
	orderRead, orderWrite := pipe()
	reportRead, reportWrite := pipe()
	theirs = append(theirs, stdout, stderr, orderRead, reportWrite)
	if err != nil {
		return nil, err
	}
	cmd := Itself(InitName)
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
	return func() End {
		defer reportRead.Close()
		var end End
		if err := json.NewDecoder(io.LimitReader(reportRead, 1<<16)).Decode(&end); err != nil {
			return End{Exit: -1, Signal: "killed"} // with its first process
		}
		return end
	}, nil
}

func InitMain() int {
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	report := os.NewFile(4, "report")
	var order initOrder
	if json.NewDecoder(os.NewFile(3, "order")).Decode(&order) != nil {
		return 1
	}
	end, err := contain(order.Spec, order.Folder)
	if err != nil {
		end = End{SetUp: err.Error(), Missing: true, Exit: -1}
	}
	if json.NewEncoder(report).Encode(end) != nil {
		return 1
	}
	return 0
}

func contain(spec *Spec, folder string) (End, error) {
	work := filepath.Join(Box(folder), WorkFolder)
	for _, e := range spec.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			if err := os.Setenv("PATH", v); err != nil {
				return End{}, err
			}
		}
	}
	if err := os.Chdir(work); err != nil {
		return End{}, err
	}
	limit := &syscall.Rlimit{Cur: uint64(spec.Limits.Disk), Max: uint64(spec.Limits.Disk)}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, limit); err != nil {
		return End{}, err
	}
	cmd := exec.Command(spec.Command[0], spec.Command[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Env, work, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return End{}, fmt.Errorf("%s cannot be executed: %w", spec.Command[0], err)
	}
	_ = cmd.Wait()
	end := End{Exit: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		end.Exit, end.Signal = -1, unix.SignalName(status.Signal())
	}
	end.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		end.Memory = use.Maxrss
	}
	return end, nil
}

func Reap(pid int) { _, _ = syscall.Wait4(pid, nil, 0, nil) }

// Group is Linux's.
type Group struct{}

func (*Group) LimitsMemory() bool      { return false }
func (*Group) LimitsCPU() bool         { return true } // it cannot be enforced here
func (*Group) Refused() int64          { return 0 }
func (*Group) Usage() (float64, int64) { return 0, 0 }

// BoundsProcesses reports whether the number of an attempt's processes is
// bounded.
func BoundsProcesses() bool { return false }
