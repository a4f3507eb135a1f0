package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ratchet/internal/processes"
	"ratchet/internal/sandbox"
)

// recordFile is what there is to know of an attempt: one JSON object a line,
// each with one of the keys below, and between them what the shim complains
// of. It is locked by the process at work: the process that starts the attempt
// until its shim has inherited the lock, then the shim until the attempt has
// ended. There is no moment in between at which a crash would let a second shim
// start.
const recordFile = "attempt.jsonl"

// The keys of an attempt's record, in the order in which they come.
const (
	keySpec   = "spec"   // a Spec
	keyShim   = "shim"   // the identity of the shim that has begun
	keyEnding = "ending" // an Ending
)

// note writes to an attempt's record.
func note(record *os.File, key string, value any) error {
	b, err := json.Marshal(map[string]any{key: value})
	if err != nil {
		return err
	}
	// A complaint in front may have left its line open.
	_, err = record.Write(append(append([]byte{'\n'}, b...), '\n'))
	return err
}

// noted reads from the record of the attempt in a folder. False: it has no such
// key, or none that is whole: the machine went down while it was written.
func noted[T any](folder, key string) (value T, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(folder, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return value, false, nil
	}
	if err != nil {
		return value, false, fmt.Errorf("reading the record of the attempt in %s: %w", folder, err)
	}
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(line, []byte(`{"`+key+`":`)) {
			continue
		}
		var object map[string]T
		if json.Unmarshal(line, &object) == nil {
			value, ok = object[key], true
		}
	}
	return value, ok, nil
}

// ReadSpec reads what an attempt that was started is.
func ReadSpec(folder string) (*sandbox.Spec, error) {
	s, ok, err := noted[*sandbox.Spec](folder, keySpec)
	if err == nil && (!ok || s == nil) {
		err = fmt.Errorf("the attempt in %s has no record of what it is", folder)
	}
	return s, err
}

// Began reports whether an attempt was started in a folder: it may run, have ended,
// or be lost.
func Began(folder string) (bool, error) {
	_, began, err := noted[processes.Identity](folder, keyShim)
	return began || err == nil && Live(folder), err
}

// ShimOf is the process id of the shim that watches the attempt in a folder, or
// did.
func ShimOf(folder string) (pid int, err error) {
	shim, began, err := noted[processes.Identity](folder, keyShim)
	if err == nil && !began {
		err = fmt.Errorf("the attempt in %s has no shim yet", folder)
	}
	return shim.PID, err
}

// readEnding reads how an attempt ended that has no shim any more.
func readEnding(folder string) (Ending, error) {
	e, ok, err := noted[Ending](folder, keyEnding)
	if err == nil && (!ok || e.Boot != "" && e.Boot != processes.Boot()) {
		err = ErrLost // the shim was killed, or the machine went down before it was on disk
	}
	return e, err
}
