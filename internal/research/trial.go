package research

import (
	"time"

	"ratchet/study"
)

// Why a trial is run.
const (
	ForSearch       = "search"
	ForValidation   = "validation"
	ForReproduction = "reproduction"
)

// Trial is one experiment with one seed.
type Trial struct {
	ID         string
	Experiment string
	Seed       int64
	Purpose    string
	Attempts   []Attempt
	Outcome    Class // empty: not complete
	Why        string
	Tries      int // attempts decided so far, the one in flight included
	// Renewed is after how many attempts a person last wanted it tried again: these count
	// no more towards giving up.
	Renewed int `json:",omitempty"`
	// Checkpoint is the digest of the newest stored snapshot of what the trial
	// keeps for its next attempt; empty: none.
	Checkpoint string
	// Remedy is of the newest attempt; nil: it is the first.
	Remedy *Remedy `json:",omitempty"`
	// Parameters and Limits are those of the newest attempt where on_resource
	// has changed them; nil: the experiment's and the study's.
	Parameters study.Params         `json:",omitempty"`
	Limits     *study.AttemptLimits `json:",omitempty"`
}

// Last is the attempt that counts, or nil.
func (t *Trial) Last() *Attempt {
	if len(t.Attempts) == 0 {
		return nil
	}
	return &t.Attempts[len(t.Attempts)-1]
}

// Metrics are the values of a trial that succeeded; nil for any other.
func (t *Trial) Metrics() map[string]float64 {
	if t.Outcome != Succeeded || len(t.Attempts) == 0 {
		return nil
	}
	return t.Last().Metrics
}

// Point is one reported value.
type Point struct {
	Step  int     `json:"step"` // -1 where the line has none
	Value float64 `json:"value"`
}

// Attempt is one process that tried to complete a trial, and how it ended.
type Attempt struct {
	ID     string `json:"id"`
	Trial  string `json:"trial"`
	Number int    `json:"number"` // from 1
	Class  Class  `json:"class"`
	// Pattern is the known text by which its class was recognised; empty: it
	// was by its end alone.
	Pattern string `json:"pattern,omitempty"`
	// Certain says that the same would happen again, whatever the luck.
	Certain bool `json:"certain,omitempty"`
	// Wait is how long a server asked to be left alone, in seconds.
	Wait    float64            `json:"wait_s,omitempty"`
	Message string             `json:"message,omitempty"` // for a person; at most 2 KiB
	Exit    int                `json:"exit"`              // exit status; -1 after a signal
	Signal  string             `json:"signal,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Reported is what the program itself reported where an evaluation measured.
	Reported map[string]float64 `json:"reported,omitempty"`
	// Halted is the step at which successive halving ended it; 0: it ran to
	// its own end.
	Halted int `json:"halted,omitempty"`
	// Rungs are the objective's values at the steps of successive halving.
	Rungs []Point  `json:"rungs,omitempty"`
	Notes []string `json:"notes,omitempty"` // what was cut, skipped or wrong without failing it
	// Words are the last that one that failed wrote; at most 1 KiB.
	Words string `json:"words,omitempty"`
	// Remedy is what was different about it; nil: it is the first.
	Remedy *Remedy `json:"remedy,omitempty"`
	// Parameters and Limits are what it ran with, where on_resource had
	// changed them.
	Parameters study.Params         `json:"parameters,omitempty"`
	Limits     *study.AttemptLimits `json:"limits,omitempty"`
	// GPUs are the devices that it had, by their numbers on its host.
	GPUs    []int     `json:"gpus,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Usage   Usage     `json:"usage"`
	Host    string    `json:"host"`
	// Evidence is the digest of the manifest of everything it left: output,
	// metrics, artifacts.
	Evidence string `json:"evidence,omitempty"`
	// Lost: it vanished with its supervisor, or with the machine.
	Lost bool `json:"lost,omitempty"`
	// Models is what its model calls were; nil: it made none.
	Models *ModelUse `json:"models,omitempty"`
}

// ModelUse is what model calls used.
type ModelUse struct {
	Calls   int     `json:"calls"`              // that were sent to a provider
	Again   int     `json:"replayed,omitempty"` // answered out of the record
	Tokens  int64   `json:"tokens,omitempty"`   // in and out
	USD     float64 `json:"usd,omitempty"`
	Head    string  `json:"head,omitempty"` // hash of the last record of the run's calls
	HeadSeq int64   `json:"head_seq,omitempty"`
}

func (u *ModelUse) add(o *ModelUse) {
	if o == nil {
		return
	}
	u.Calls += o.Calls
	u.Again += o.Again
	u.Tokens += o.Tokens
	u.USD += o.USD
}

// Usage is what an attempt used, its process tree together.
type Usage struct {
	Wall   float64 `json:"wall_s"`                // seconds
	CPU    float64 `json:"cpu_s"`                 // seconds, user and system
	Memory int64   `json:"memory_bytes"`          // at most, at any time
	Disk   int64   `json:"disk_bytes"`            // blocks at the end
	Read   int64   `json:"read_bytes,omitempty"`  // from disks
	Write  int64   `json:"write_bytes,omitempty"` // to disks
	// GPUMemory is what one of its devices held at most, where it had them
	// alone; 0: unknown.
	GPUMemory int64 `json:"gpu_memory_bytes,omitempty"`
}

// Add adds what another process used.
func (u *Usage) Add(o Usage) {
	u.Wall += o.Wall
	u.CPU += o.CPU
	u.Memory = max(u.Memory, o.Memory)
	u.Disk = max(u.Disk, o.Disk)
	u.Read += o.Read
	u.Write += o.Write
}
