// Package proof says how much a test is to prove: a sample, so that
// `go test ./...` stays short, or all of it, in `make proof`. Only tests import
// it.
package proof

import "os"

// variable is set by `make proof`.
const variable = "RATCHET_PROOF"

// All reports whether everything is to be proven.
func All() bool { return os.Getenv(variable) != "" }

// Of is how much to prove: the sample, or all of it.
func Of[T any](sample, all T) T {
	if All() {
		return all
	}
	return sample
}
