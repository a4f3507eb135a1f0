package shim

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"ratchet/internal/processes"
)

const usageFile = "usage.json"

// publishEvery is how often a shim writes down what its command uses.
const publishEvery = time.Second

// Using is what the command in an attempt's folder uses; false if its shim has
// not said anything yet.
func Using(folder string) (processes.Reading, bool) {
	b, err := os.ReadFile(filepath.Join(folder, usageFile))
	if err != nil {
		return processes.Reading{}, false
	}
	var u processes.Reading
	if err := json.Unmarshal(b, &u); err != nil {
		return processes.Reading{}, false
	}
	return u, true
}

// publish writes down what the command uses, now and then. What cannot be
// written, on a full disk say, is not worth ending anything for.
func (w *supervision) publish(now time.Time, disk int64) {
	if disk > 0 {
		w.usage.Disk = disk
	}
	if now.Before(w.nextUsage) {
		return
	}
	w.nextUsage = now.Add(publishEvery)
	u := &w.usage
	u.Time, u.Wall, u.CPU, u.Peak, u.Alive = now.UTC(), now.Sub(w.began).Seconds(), w.cpu, w.memory, w.since.UTC()
	w.tree.Read(w.child.pid, w.child.isolated && !w.spec.SharesNetwork(), u)
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
