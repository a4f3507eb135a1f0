package sandbox

import (
	"fmt"
	"time"

	"ratchet/study"
)

// Isolation is how much stands between a command and the machine.
type Isolation string

// The levels of isolation.
const (
	// Strict gives the command namespaces of its own, a read-only system and
	// no privileges, besides the limits.
	Strict Isolation = "strict"
	// Process limits the command and controls its process tree, no more: it
	// can read and write what its user can.
	Process Isolation = "process"
)

// ParseIsolation reads a level.
func ParseIsolation(s string) (Isolation, error) {
	switch i := Isolation(s); i {
	case Strict, Process:
		return i, nil
	}
	return "", fmt.Errorf("isolation %q is not known; it is strict or process", s)
}

// The names inside a sandbox. Under Strict they are absolute; under Process
// the box's own path on the machine stands in front instead.
const (
	boxMount = "/ratchet"
	// WorkFolder is where the command starts, inside the box.
	WorkFolder = "work"
	// OutputFolder takes what the command leaves.
	OutputFolder = "output"
	// CheckpointFolder survives the attempt.
	CheckpointFolder = "checkpoint"
	// MetricsFile takes metrics, one JSON object a line.
	MetricsFile = "metrics.jsonl"
	// ParamsFile has the parameters as JSON.
	ParamsFile = "params.json"
)

// Spec is a command to be run in a sandbox. It is plain data; the shim reads
// it from a file.
type Spec struct {
	Command   []string
	Env       []string // the whole environment, NAME=value
	Isolation Isolation
	Limits    study.AttemptLimits
	// Checkpoint is the folder on this machine that is seen as
	// CheckpointFolder.
	Checkpoint string
	// CheckpointAt is where in the working folder it is seen as well, relative
	// to that; "": nowhere.
	CheckpointAt string `json:",omitempty"`
	// Inputs are seen read-only in the working folder.
	Inputs []Bind
	// ReadOnly are folders outside the system's own that the command needs,
	// seen read-only where they are: an interpreter in a home folder, say.
	ReadOnly []string
	// GPUs are the NVIDIA devices that the command sees, by their numbers. nil:
	// all of them, if Limits.GPUs is above zero.
	GPUs []int `json:",omitempty"`
	// Door is the command's way to the gateway; nil: it has none.
	Door *Door `json:",omitempty"`
	// Halt stops the command when a metric falls behind; see Halt.
	Halt *Halt
}

// Bind is a file or folder of this machine.
type Bind struct {
	Source string // absolute
	Target string // relative to the working folder
	// Hide is what of it the command does not see, relative to it: sockets, pipes
	// and devices.
	Hide []string `json:",omitempty"`
}

// Halt is how successive halving ends a command early: at a rung's step, if
// the metric is worse than the rung's bar.
type Halt struct {
	Metric string
	Goal   string // study.Maximize or study.Minimize
	Rungs  []HaltRung
}

// HaltRung is a step and what the metric must reach there.
type HaltRung struct {
	Step int
	Bar  float64
}

// ClosesNetwork reports whether this level keeps a command with such limits from
// the machine's network.
func (i Isolation) ClosesNetwork(l study.AttemptLimits) bool {
	return i == Strict && l.Network != study.NetworkHost
}

// sharesNetwork reports whether the command has the machine's network.
func (s *Spec) sharesNetwork() bool { return s.Limits.Network == study.NetworkHost }

// Path is where a command in a sandbox finds a name of its box. folder is the
// attempt's folder on this machine.
func (s *Spec) Path(folder, name string) string {
	if s.Isolation == Strict {
		return boxMount + "/" + name
	}
	return Box(folder) + "/" + name
}

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
	Times int64  // how often something was refused for it; 0: nobody counted
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
	Wall      float64 // seconds, by a clock that nobody sets
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
