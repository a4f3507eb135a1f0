package shim

import (
	"errors"
	"os"
	"testing"
)

// TestShimWithoutMain: a program that does not call Main is executed as a shim
// once, and then says what is wrong. It does not execute itself without end.
func TestShimWithoutMain(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = []string{shimName}
	if _, err := startShim(); !errors.Is(err, errNoMain) {
		t.Errorf("starting a shim's shim: %v", err)
	}
}
