package processes

import "time"

// Identity names a process for good: a process id comes back, the pair of it
// with its start time does not.
type Identity struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // opaque: boot and start time within it
}

// Reading is what a command uses now, its process tree together, as its shim
// sees it. The shim writes it down once a second.
type Reading struct {
	Time      time.Time `json:"time"`
	Wall      float64   `json:"wall_s"`       // seconds since it was started
	CPU       float64   `json:"cpu_s"`        // seconds so far
	Memory    int64     `json:"memory_bytes"` // now; shared pages are counted once, where the kernel says
	Peak      int64     `json:"peak_bytes"`   // of memory, at any time
	Disk      int64     `json:"disk_bytes"`   // blocks of its folders
	Read      int64     `json:"read_bytes"`   // from disks, so far
	Written   int64     `json:"write_bytes"`  // to disks, so far
	Processes int       `json:"processes"`
	// Network is what went over its own network namespace, in bytes both ways;
	// nil where it has the machine's, which cannot be told apart.
	Network *int64 `json:"network_bytes,omitempty"`
	// Alive is when it last showed a sign of life: output, metrics, processor
	// use.
	Alive time.Time `json:"alive"`
}
