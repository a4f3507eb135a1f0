package monitor

import (
	"time"

	"ratchet/internal/processes"
)

// Sample is what was used at one moment. Shares are from 0 to 1, rates are per
// second since the sample before, amounts are in bytes. What is nil is not
// known here: absent, and not zero.
type Sample struct {
	Time      time.Time `json:"time"`
	CPU       *float64  `json:"cpu,omitempty"`  // share of all processors
	Load      *float64  `json:"load,omitempty"` // over one minute
	Memory    *Memory   `json:"memory,omitempty"`
	Disks     []Disk    `json:"disks"`
	Read      *float64  `json:"read,omitempty"`  // all disks, bytes per second
	Write     *float64  `json:"write,omitempty"` // all disks, bytes per second
	Received  *float64  `json:"received,omitempty"`
	Sent      *float64  `json:"sent,omitempty"`
	Pressure  *Pressure `json:"pressure,omitempty"`
	GPUs      []GPU     `json:"gpus"`
	NoGPUs    string    `json:"no_gpus,omitempty"` // why there are none
	Engine    Self      `json:"engine"`
	Attempts  []Attempt `json:"attempts"`
	Waiting   int       `json:"waiting,omitempty"` // attempts that wait for room
	Parallel  int       `json:"parallel"`          // attempts that may run now
	JournalMS float64   `json:"journal_ms"`        // the slowest append since the sample before, in milliseconds
}

// Memory is the machine's.
type Memory struct {
	Total     int64 `json:"total"`
	Available int64 `json:"available"`
	SwapUsed  int64 `json:"swap_used"`
}

// Share is what is used, from 0 to 1.
func (m *Memory) Share() float64 {
	if m == nil || m.Total == 0 {
		return 0
	}
	return 1 - float64(m.Available)/float64(m.Total)
}

// Disk is a file system that the run writes to.
type Disk struct {
	Path  string `json:"path"`
	What  string `json:"what"` // home or output
	Total int64  `json:"total"`
	Free  int64  `json:"free"` // to an ordinary user
}

// Share is what is used, from 0 to 1.
func (d Disk) Share() float64 {
	if d.Total == 0 {
		return 0
	}
	return 1 - float64(d.Free)/float64(d.Total)
}

// Pressure is the share of the last ten seconds in which some, or all, tasks
// stood still for want of a resource (Linux, Documentation/accounting/psi.rst).
type Pressure struct {
	CPU        float64 `json:"cpu"`
	Memory     float64 `json:"memory"`
	MemoryFull float64 `json:"memory_full"`
	IO         float64 `json:"io"`
	IOFull     float64 `json:"io_full"`
}

// GPU is one device.
type GPU struct {
	Index       int          `json:"index"`
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Use         *float64     `json:"use,omitempty"` // share
	MemoryUsed  *int64       `json:"memory_used,omitempty"`
	MemoryTotal *int64       `json:"memory_total,omitempty"`
	Temperature *float64     `json:"temperature,omitempty"` // °C
	Power       *float64     `json:"power,omitempty"`       // W
	ECCErrors   *int64       `json:"ecc_errors,omitempty"`  // uncorrected, since the driver was loaded
	Processes   []GPUProcess `json:"processes"`
}

// GPUProcess is a process that has memory on a device.
type GPUProcess struct {
	PID    int    `json:"pid"`
	Memory *int64 `json:"memory,omitempty"`
}

// Self is the engine's own use.
type Self struct {
	Goroutines  int    `json:"goroutines"`
	Descriptors *int   `json:"descriptors,omitempty"` // open files
	Memory      *int64 `json:"memory,omitempty"`      // resident
}

// Attempt is one that runs. Rates are since the sample before.
type Attempt struct {
	ID string `json:"id"`
	processes.Reading
	CPURate     float64 `json:"cpu_rate"` // processors
	MemoryLimit int64   `json:"memory_limit"`
	GPUs        []int   `json:"gpus,omitempty"`
}

// Quiet is how long the attempt has shown no sign of life.
func (a Attempt) Quiet(now time.Time) time.Duration {
	if a.Alive.IsZero() {
		return 0
	}
	return max(0, now.Sub(a.Alive))
}
