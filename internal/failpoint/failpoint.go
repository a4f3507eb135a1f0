// Package failpoint has named places in the engine at which a crash test kills
// the process.
package failpoint

import "sync/atomic"

var armed atomic.Pointer[func(name string)]

// Hit marks a place. It does nothing unless a test has armed the places.
func Hit(name string) {
	if f := armed.Load(); f != nil {
		(*f)(name)
	}
}

// Arm has f called at each place, with its name. Only tests call it.
func Arm(f func(name string)) { armed.Store(&f) }
