package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ratchet/internal/sandbox"
	"ratchet/internal/untrusted"
)

// Ask runs a command to its end, in a folder that is gone afterwards, and gives
// what it printed to stdout. prepare fills the box first. A command that does not
// succeed is an error.
func Ask(ctx context.Context, spec *sandbox.Spec, prepare func(box string) error) (stdout []byte, err error) {
	dir, err := os.MkdirTemp("", askFolder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, untrusted.RemoveAll(dir)) }()
	folder := filepath.Join(dir, "attempt")
	h, err := (*Launcher)(nil).Start(folder, spec, prepare)
	if err != nil {
		return nil, err
	}
	e, err := h.Wait(ctx)
	if err != nil {
		return nil, errors.Join(err, End(context.WithoutCancel(ctx), folder))
	}
	switch {
	case e.SetUp != "":
		return nil, errors.New(e.SetUp)
	case e.Exit != 0:
		return nil, fmt.Errorf("%s ended with exit status %d %s", filepath.Base(spec.Command[0]), e.Exit, e.Signal)
	}
	stdout, err = os.ReadFile(Stdout(folder)) // bounded by limits.attempt.output
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it printed nothing
	}
	return stdout, err
}

// askFolder begins the names of folders of Ask, below the system's temporary
// folder; see Sweep.
const askFolder = "ratchet-probe-"
