// Package node is this machine, once for all runs that a process drives on it: who
// has which part of it, its devices, samples of it, and what earlier engines have
// left on it.
package node

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"ratchet/internal/attempt"
	"ratchet/internal/breaker"
	"ratchet/internal/diskspace"
	"ratchet/internal/executor"
	"ratchet/internal/history"
	"ratchet/internal/home"
	"ratchet/internal/monitor"
	"ratchet/internal/processes"
	"ratchet/internal/shim"
)

// DefaultLimits leave a machine some room.
var DefaultLimits = monitor.Limits{Memory: 0.9, Disk: 0.95, GPUMemory: 0.95}

// Options say how a machine is used.
type Options struct {
	// Limits are what all that runs together may use of the machine, and where
	// alerts are raised; zero: DefaultLimits.
	Limits monitor.Limits
	// GPUs reads the machine's devices; nil: by nvidia-smi, where there is one.
	GPUs func(ctx context.Context) ([]monitor.GPU, error)
	// Claims is the folder where attempts say what they keep of the machine; "": one that
	// all homes of this user share.
	Claims string
}

// Node is this machine. It is safe for concurrent use.
type Node struct {
	home    *home.Home
	history *history.History
	limits  monitor.Limits
	room    *room

	mu      sync.Mutex
	machine monitor.Machine
	sample  monitor.Sample
	taken   time.Time      // when sample was taken
	gpus    []monitor.GPU  // as of the last sample that had any
	runs    map[string]int // that are driven: how many attempts each may have at the same time
}

// New returns the machine for the runs of a home. deps has the breaker of the
// program that tells of GPUs.
func New(h *home.Home, deps *breaker.Dependencies, o Options) *Node {
	n := &Node{home: h, history: history.Of(h), limits: o.Limits, room: newRoom(h, o.Claims), runs: map[string]int{}}
	if n.limits == (monitor.Limits{}) {
		n.limits = DefaultLimits
	}
	gpus := o.GPUs
	if smi := monitor.FindNvidiaSMI(); gpus == nil && smi != "" {
		gpus = smi.Read
	}
	n.machine.Folders = map[string]string{"home": h.Folder}
	if gpus != nil {
		n.machine.GPUs = func(ctx context.Context) (out []monitor.GPU, err error) {
			err = deps.Of("GPU metrics").Do(ctx, 5*time.Second, func(ctx context.Context) error {
				out, err = gpus(ctx)
				return err
			})
			return out, err
		}
	}
	return n
}

// Limits are what all that runs together may use of the machine.
func (n *Node) Limits() monitor.Limits { return n.limits }

// Join says that a run is driven from now on, with so many attempts at the same
// time; leave says that it is not any more. It removes what engines that are gone
// have left: control groups, attempts that no run waits for, and the run's
// claims, which are kept anew for the attempts that run.
func (n *Node) Join(run string, parallel int) (leave func()) {
	n.mu.Lock()
	first := len(n.runs) == 0
	n.runs[run] = parallel
	n.mu.Unlock()
	if first {
		shim.Sweep()
		n.orphans()
	}
	n.room.forget(run)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.runs, run)
	}
}

// orphans ends attempts that no run will ever ask for: those of runs that have
// ended, or are not in the journal, and that are not driven.
func (n *Node) orphans() {
	entries, err := os.ReadDir(filepath.Join(n.home.Folder, "runs"))
	if err != nil {
		return
	}
	for _, entry := range entries {
		run := entry.Name()
		jobs, err := os.ReadDir(n.home.AttemptFolders(run))
		if err != nil || len(jobs) == 0 || n.home.Driven(run) != nil {
			continue
		}
		s, _, err := n.history.Load(context.Background(), run)
		if err != nil || s.Seq > 0 && !s.Ended() {
			continue // it can be resumed; what it has is its own
		}
		for _, job := range jobs {
			_ = attempt.Remove(context.Background(), n.home.AttemptFolder(run, job.Name())) // the next engine tries again
		}
	}
}

// Sample is what the machine does. It is sampled anew if the last sample is older
// than half of every: however many runs ask that often, it is sampled once.
func (n *Node) Sample(ctx context.Context, every time.Duration) monitor.Sample {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.taken.IsZero() || now.Sub(n.taken) >= every/2 {
		n.taken, n.sample = now, n.machine.Sample(ctx)
		if len(n.sample.GPUs) > 0 {
			n.gpus = n.sample.GPUs // when they cannot be read, those that were there still are
		}
	}
	return n.sample
}

// Press takes the machine's pressure into account, as of the last sample. It
// counts once, however many runs tell of it.
func (n *Node) Press(every time.Duration) {
	n.mu.Lock()
	p, parallel := n.sample.Pressure, n.parallel()
	n.mu.Unlock()
	n.room.press(p, parallel, every)
}

// parallel is how many attempts may run if nothing is in the way. The caller holds
// the lock.
func (n *Node) parallel() (sum int) {
	for _, p := range n.runs {
		sum += p
	}
	return sum
}

// Standing is how many attempts wait, why the first of them does, and how many may
// run at the same time now.
func (n *Node) Standing() (waiting int, why string, most int) {
	n.mu.Lock()
	parallel := n.parallel()
	n.mu.Unlock()
	return n.room.standing(parallel)
}

// Enter waits until there is room for a claim and keeps it, with the GPUs that it
// gets. leave gives it back.
func (n *Node) Enter(ctx context.Context, want Claim, gpus float64, disk int64, r executor.Reservation) (got Claim, leave func(), err error) {
	if gpus > 0 {
		n.devices(ctx)
	}
	got, err = n.room.enter(ctx, want, gpus, r.Risk, func() capacity { return n.capacity(disk) }, r.Stopping)
	if err != nil {
		return got, func() {}, err
	}
	return got, func() { n.room.leave(got) }, nil
}

// Attach keeps the claim of an attempt that runs already. leave gives it back.
func (n *Node) Attach(c Claim) (leave func(), err error) {
	return func() { n.room.leave(c) }, n.room.attach(c)
}

// devices looks for GPUs, unless they are known.
func (n *Node) devices(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.gpus) == 0 {
		n.gpus = n.machine.Devices(ctx)
	}
}

func (n *Node) capacity(disk int64) capacity {
	c := capacity{limits: n.limits, cpus: runtime.NumCPU(), own: processes.Own(), disk: disk}
	if m, err := mem.VirtualMemory(); err == nil {
		c.memory = monitor.Memory{Total: int64(m.Total), Available: int64(m.Available)}
	}
	c.free, _ = diskspace.Free(n.home.Folder)
	n.mu.Lock()
	c.gpus = n.gpus
	n.mu.Unlock()
	return c
}
