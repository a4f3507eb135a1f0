package shim

import (
	"errors"
	"os"

	"ratchet/internal/sandbox"
)

// shimName is the name by which this program is executed again as a shim.
const shimName = "ratchet-shim"

// Main must be called first thing in main, and in TestMain. In a process that
// is a shim, a sandbox's first process or the one that looks for a pattern in a
// sandbox, it does that work and exits; in any other it does nothing.
func Main() {
	switch os.Args[0] {
	case shimName:
		os.Exit(shimMain())
	case sandbox.InitName: // elsewhere than on Linux
		os.Exit(sandbox.InitMain())
	case "./" + matchName:
		os.Exit(matchMain())
	}
}

// errNoMain keeps a program that does not call Main from executing itself
// again without end: its shims would be the program, which starts shims.
var errNoMain = errors.New("this process is a shim, and its program does not call ratchet.Main first thing in main (or in TestMain); it must")

// isShim reports whether this process was started as a shim. Past Main there
// is none.
func isShim() bool { return os.Args[0] == shimName || os.Args[0] == sandbox.InitName }
