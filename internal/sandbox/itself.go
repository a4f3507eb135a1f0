package sandbox

import "os/exec"

// InitName is the name by which this program is executed again as a sandbox's first
// process, elsewhere than on Linux.
const InitName = "ratchet-init"

// Itself is a command that executes this very program, by the file it was
// started from even if that has been replaced or removed since.
func Itself(args ...string) *exec.Cmd {
	return &exec.Cmd{Path: executable(), Args: args}
}
