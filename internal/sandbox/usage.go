package sandbox

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Usage is what a command uses now, its process tree together, as its shim
// sees it. The shim writes it down once a second.
type Usage struct {
	Time      time.Time `json:"time"`
	CPU       float64   `json:"cpu_s"`        // seconds so far
	Memory    int64     `json:"memory_bytes"` // now; shared pages are counted once, where the kernel says
	Peak      int64     `json:"peak_bytes"`   // of memory, at any time
	Disk      int64     `json:"disk_bytes"`   // blocks of its folders
	Read      int64     `json:"read_bytes"`   // from disks, so far
	Written   int64     `json:"write_bytes"`  // to disks, so far
	Processes int       `json:"processes"`
	// Network is what went over its own network namespace, in bytes both ways;
	// nil where it has the machine's, which nobody can tell apart.
	Network *int64 `json:"network_bytes,omitempty"`
	// Alive is when it last showed a sign of life: output, metrics, processor
	// use.
	Alive time.Time `json:"alive"`
}

const usageFile = "usage.json"

// publishEvery is how often a shim writes down what its command uses.
const publishEvery = time.Second

// Using is what the command in an attempt's folder uses; false if its shim has
// not said anything yet.
func Using(folder string) (Usage, bool) {
	b, err := os.ReadFile(filepath.Join(folder, usageFile))
	if err != nil {
		return Usage{}, false
	}
	var u Usage
	if err := json.Unmarshal(b, &u); err != nil {
		return Usage{}, false
	}
	return u, true
}

// publish writes down what the command uses, now and then. What cannot be
// written, on a full disk say, is not worth ending anything for.
func (w *watch) publish(now time.Time, disk int64) {
	if disk > 0 {
		w.usage.Disk = disk
	}
	if now.Before(w.nextUsage) {
		return
	}
	w.nextUsage = now.Add(publishEvery)
	u := &w.usage
	u.Time, u.CPU, u.Peak, u.Alive = now.UTC(), w.cpu, w.memory, w.since.UTC()
	w.tree.look(w.child.pid, w.child.isolated && !w.spec.sharesNetwork(), u)
	_ = writeJSON(filepath.Join(w.folder, usageFile), u)
}

// diagnosisFile has what the kernel says of a tree that stalled.
const diagnosisFile = "diagnosis.txt"

// Diagnosis is the file with what a stalled command's processes were doing; ""
// if there is none.
func Diagnosis(folder string) string {
	path := filepath.Join(folder, diagnosisFile)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return path
}
