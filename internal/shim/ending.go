package shim

import "time"

// Why a shim ended a command.
const (
	ByItself  = ""          // it did not
	ByTime    = "time"      // limits.attempt.time
	ByStall   = "stall"     // limits.attempt.stall
	ByMemory  = "memory"    // limits.attempt.memory
	ByDisk    = "disk"      // limits.attempt.disk
	ByDepth   = "depth"     // folders nested too deep for what they hold to be counted
	ByHalving = "halving"   // see Halt
	ByRequest = "requested" // Handle.Stop
)

// Reached is a limit that a command has reached.
type Reached struct {
	Limit string // as in limits.attempt
	Times int64  // how often something was refused for it; 0: not counted
}

// Ending is how a command ended, as its shim wrote it down.
type Ending struct {
	// SetUp is why the command could not be started; all else is then empty
	// but the times.
	SetUp string `json:",omitempty"`
	// Missing is set with SetUp where the command itself was not found or
	// could not be executed: the study's fault, not the machine's.
	Missing   bool   `json:",omitempty"`
	Exit      int    // exit status; -1 after a signal
	Signal    string `json:",omitempty"`
	EndedBy   string `json:",omitempty"` // one of the By constants
	Started   time.Time
	Ended     time.Time
	Wall      float64 // seconds, by a monotonic clock
	CPU       float64 // seconds, the process tree together
	Memory    int64   // bytes at most
	Disk      int64   // bytes of blocks at the end
	Read      int64   `json:",omitempty"` // bytes from disks, as last seen
	Written   int64   `json:",omitempty"` // bytes to disks, as last seen
	OOMKilled bool    `json:",omitempty"` // the kernel killed for the memory limit
	// Refused are the system calls that the walls refused and that no program
	// makes by accident; each once.
	Refused []string `json:",omitempty"`
	// ForksRefused: the command met the limit of its processes, where a control
	// group tells.
	ForksRefused bool `json:",omitempty"`
	// Reached are the limits that the command has reached, whatever became of it.
	Reached []Reached `json:",omitempty"`
	CutOut  int64     `json:",omitempty"` // bytes of stdout that were not kept
	CutErr  int64     `json:",omitempty"` // bytes of stderr that were not kept
	// Sizes at the end of the main program: what its children wrote to the
	// metrics file afterwards does not count.
	MetricsSize int64
	// Boot is the boot of the machine within which this holds, since neither
	// it nor what the command left was synced: the engine that started the
	// attempt was there to collect it. "": all of it was.
	Boot string `json:",omitempty"`
}
