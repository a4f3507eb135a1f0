package monitor

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// Machine samples this machine. It is not safe for concurrent use.
type Machine struct {
	// Folders whose file systems are watched, by what they are.
	Folders map[string]string
	// GPUs reads the devices; nil: there are none here. It is asked rarely,
	// since asking costs.
	GPUs func(ctx context.Context) ([]GPU, error)

	before  time.Time
	cpu     [2]float64 // busy and all, in seconds
	disk    [2]uint64
	net     [2]uint64
	gpus    []GPU
	noGPUs  string
	nextGPU time.Time
}

// gpuEvery is the least time between two looks at the devices.
const gpuEvery = 5 * time.Second

// Sample looks at the machine now. The attempts that run are not in it.
func (m *Machine) Sample(ctx context.Context) Sample {
	now := time.Now()
	since := now.Sub(m.before).Seconds()
	first := m.before.IsZero()
	m.before = now
	s := Sample{Time: now.UTC(), Disks: []Disk{}, GPUs: []GPU{}, Attempts: []Attempt{}, Engine: self()}
	rate := func(now, before uint64) *float64 {
		if first || now < before || since <= 0 {
			return nil
		}
		r := float64(now-before) / since
		return &r
	}
	if t, err := cpu.TimesWithContext(ctx, false); err == nil && len(t) > 0 {
		all := t[0].User + t[0].System + t[0].Nice + t[0].Iowait + t[0].Irq + t[0].Softirq + t[0].Steal + t[0].Idle
		busy := all - t[0].Idle - t[0].Iowait
		if d := all - m.cpu[1]; !first && d > 0 {
			share := max(0, min(1, (busy-m.cpu[0])/d))
			s.CPU = &share
		}
		m.cpu = [2]float64{busy, all}
	}
	if l, err := load.AvgWithContext(ctx); err == nil {
		s.Load = &l.Load1
	}
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		s.Memory = &Memory{Total: int64(v.Total), Available: int64(v.Available), SwapUsed: int64(v.SwapTotal - v.SwapFree)}
	}
	for what, path := range m.Folders {
		if d, ok := DiskOf(ctx, what, path); ok {
			s.Disks = append(s.Disks, d)
		}
	}
	if c, err := disk.IOCountersWithContext(ctx); err == nil {
		var now [2]uint64
		for name, d := range c {
			if !partition(name, c) {
				now[0] += d.ReadBytes
				now[1] += d.WriteBytes
			}
		}
		s.Read, s.Write = rate(now[0], m.disk[0]), rate(now[1], m.disk[1])
		m.disk = now
	}
	if c, err := net.IOCountersWithContext(ctx, true); err == nil {
		var now [2]uint64
		for _, d := range c {
			if d.Name != "lo" {
				now[0] += d.BytesRecv
				now[1] += d.BytesSent
			}
		}
		s.Received, s.Sent = rate(now[0], m.net[0]), rate(now[1], m.net[1])
		m.net = now
	}
	s.Pressure = pressure()
	m.lookAtGPUs(ctx, now)
	s.GPUs, s.NoGPUs = append(s.GPUs, m.gpus...), m.noGPUs
	return s
}

// Rates knows what attempts have used, and so how fast. The zero Rates is ready;
// it is not safe for concurrent use.
type Rates struct{ last map[string]Attempt }

// Of gives attempts with their rates since they were looked at last.
func (r *Rates) Of(attempts []Attempt) []Attempt {
	now, out := map[string]Attempt{}, []Attempt{}
	for _, a := range attempts {
		if b, ok := r.last[a.ID]; ok && a.Time.After(b.Time) {
			a.CPURate = max(0, (a.CPU-b.CPU)/a.Time.Sub(b.Time).Seconds())
		} else if ok {
			a.CPURate = b.CPURate
		}
		now[a.ID] = a
		out = append(out, a)
	}
	r.last = now
	return out
}

// DiskOf is the file system of a folder; false where it cannot be asked.
func DiskOf(ctx context.Context, what, path string) (Disk, bool) {
	u, err := disk.UsageWithContext(ctx, path)
	if err != nil {
		return Disk{}, false
	}
	return Disk{Path: path, What: what, Total: int64(u.Used + u.Free), Free: int64(u.Free)}, true
}

// Devices are the GPUs of this machine now. Where there is no way to ask about
// them, their device files say how many there are.
func (m *Machine) Devices(ctx context.Context) []GPU {
	if m.lookAtGPUs(ctx, time.Now()); len(m.gpus) > 0 {
		return m.gpus
	}
	files, _ := filepath.Glob("/dev/nvidia[0-9]*") // the pattern is a good one
	var out []GPU
	for _, f := range files {
		if n, err := strconv.Atoi(strings.TrimPrefix(f, "/dev/nvidia")); err == nil {
			out = append(out, GPU{Index: n, Processes: []GPUProcess{}})
		}
	}
	return out
}

func (m *Machine) lookAtGPUs(ctx context.Context, now time.Time) {
	if m.GPUs == nil {
		m.noGPUs = "no NVIDIA driver on this machine"
		return
	}
	if now.Before(m.nextGPU) {
		return
	}
	m.nextGPU = now.Add(gpuEvery)
	gpus, err := m.GPUs(ctx)
	if m.gpus, m.noGPUs = gpus, ""; err != nil {
		m.gpus, m.noGPUs = nil, err.Error()
	}
}

// partition reports whether a block device is a part of another one, whose
// counters have its traffic too.
func partition(name string, all map[string]disk.IOCountersStat) bool {
	whole := strings.TrimRight(name, "0123456789")
	if whole != name {
		if _, there := all[whole]; there {
			return true // sda1 of sda
		}
	}
	if whole, ok := strings.CutSuffix(whole, "p"); ok {
		_, there := all[whole]
		return there // nvme0n1p1 of nvme0n1
	}
	return strings.HasPrefix(name, "dm-") || strings.HasPrefix(name, "md") || strings.HasPrefix(name, "loop")
}

func self() Self {
	s := Self{Goroutines: runtime.NumGoroutine()}
	if d, err := os.Open("/proc/self/fd"); err == nil {
		if names, err := d.Readdirnames(-1); err == nil {
			n := len(names) - 1 // this one
			s.Descriptors = &n
		}
		_ = d.Close()
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				bytes := pages * int64(os.Getpagesize())
				s.Memory = &bytes
			}
		}
	}
	return s
}

// pressure reads the kernel's pressure stall information; nil where it has
// none.
func pressure() *Pressure {
	var p Pressure
	for name, to := range map[string][2]*float64{"cpu": {&p.CPU, nil}, "memory": {&p.Memory, &p.MemoryFull}, "io": {&p.IO, &p.IOFull}} {
		b, err := os.ReadFile("/proc/pressure/" + name)
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			value, err := strconv.ParseFloat(strings.TrimPrefix(f[1], "avg10="), 64)
			if err != nil {
				return nil
			}
			switch {
			case f[0] == "some":
				*to[0] = value / 100
			case f[0] == "full" && to[1] != nil:
				*to[1] = value / 100
			}
		}
	}
	return &p
}
