package sandbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

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
	Command []string
	Env     []string // the environment, NAME=value
	// Given is the rest of it: what is in no file. The process that starts the command
	// tells its shim.
	Given     []string `json:"-"`
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
	// Processors are those that the command runs on, by their numbers; nil: any. It can
	// choose others itself, and has no more of them together for it.
	Processors []int `json:",omitempty"`
	// Door is the command's way to the gateway; nil: it has none.
	Door *Door `json:",omitempty"`
	// Halt stops the command when a metric falls behind; see Halt.
	Halt *Halt
}

// Door leads a command's connections to a socket of this machine, from an
// address that only the command has where it has a network of its own. It is
// the shim that carries them, so that the address stays while who listens
// behind it is started anew: connections wait for it, and a request that it has
// not begun to answer is made again (see line).
type Door struct {
	// Socket is the path of the Unix socket behind the door.
	Socket string
	// Env are variables, NAME=value, in which ADDRESS stands for the door's
	// host and port, and BOX for the box as the command sees it.
	Env []string
	// Ports lead through the door, too.
	Ports []Port `json:",omitempty"`
}

// Port is one of 127.0.0.1 in a network of the command's own. What is said to it begins
// with a preface on the other side of the door.
type Port struct {
	Number  int
	Preface string
}

// DoorAddress is where the door is in a network of the command's own.
const DoorAddress = "127.0.0.1:8377"

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

// SharesNetwork reports whether the command has the machine's network.
func (s *Spec) SharesNetwork() bool { return s.Limits.Network == study.NetworkHost }

// Path is where a command in a sandbox finds a name of its box. folder is the
// attempt's folder on this machine.
func (s *Spec) Path(folder, name string) string {
	if s.Isolation == Strict {
		return boxMount + "/" + name
	}
	return Box(folder) + "/" + name
}

// The folders of an attempt's folder that the command writes to.
const (
	boxFolder = "box"
	TmpFolder = "tmp"
)

// Box is the folder of an attempt that its command may write to.
func Box(folder string) string { return filepath.Join(folder, boxFolder) }

// Writable are the folders that an attempt's command writes to.
func Writable(folder string, spec *Spec) []string {
	dirs := []string{Box(folder), filepath.Join(folder, TmpFolder)}
	if spec.Checkpoint != "" {
		dirs = append(dirs, spec.Checkpoint)
	}
	return dirs
}

// Variables is an environment with more variables (NAME=value), which take the place
// of those of the same names.
func Variables(env []string, more ...string) []string {
	out := slices.Clone(env)
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		if i := slices.IndexFunc(out, func(o string) bool { return strings.HasPrefix(o, name+"=") }); i >= 0 {
			out[i] = v
		} else {
			out = append(out, v)
		}
	}
	return out
}
