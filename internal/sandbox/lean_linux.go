//go:build !cgo

package sandbox

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// planLean has the kernel leave Go's memory out of what a forked process gets,
// but for the stack that it runs on (see clone): it uses none of it, and to
// share it costs both processes a fault for each page that either touches. All
// memory without a name is Go's, in a program without C.
func planLean(p *plan) error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(maps) {
		var from, to uintptr
		var access, offset, device, file string
		// Those with a name have an inode, or the name in brackets.
		n, _ := fmt.Sscanf(string(line), "%x-%x %s %s %s %s", &from, &to, &access, &offset, &device, &file)
		if n == 6 && access == "rw-p" && file == "0" && !bytes.ContainsRune(line, '[') && from > topOfProgram {
			p.call("keeping memory", unix.SYS_MADVISE, from, to-from, unix.MADV_DONTFORK)
		}
	}
	return nil
}

// topOfProgram is above the program's own variables, which stay. Go's memory
// is above it.
const topOfProgram = 1 << 32
