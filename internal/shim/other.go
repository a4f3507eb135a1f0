//go:build !linux

package shim

import (
	"errors"

	"ratchet/internal/sandbox"

	"golang.org/x/sys/unix"
)

// Probe reports why a level of isolation cannot be had here.
func Probe(level sandbox.Isolation) error {
	if level == sandbox.Strict {
		return errors.New("strict isolation needs Linux; accept --isolation process (limits, but no walls) if you trust the program")
	}
	return nil
}

// Abilities says what this machine can do for isolation.
func Abilities() []Ability {
	return []Ability{{"strict isolation", false, "needs Linux"}, {"process isolation", true, "limits of a process group"}}
}

// secure makes all durable that was written.
func secure(string) error { return unix.Sync() }

// Sweep has nothing to remove here.
func Sweep() {}
