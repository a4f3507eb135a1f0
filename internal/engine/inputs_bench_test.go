package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"ratchet/study"
)

// BenchmarkInputs looks whether ten inputs are what they were.
func BenchmarkInputs(b *testing.B) {
	n := &inputs{dir: b.TempDir()}
	for i := range 10 {
		name := fmt.Sprint("input", i)
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte("text"), 0o600); err != nil {
			b.Fatal(err)
		}
		in := study.Input{Path: name, Source: name}
		r, err := describeInput(in, n.dir, true)
		if err != nil {
			b.Fatal(err)
		}
		n.list, n.records = append(n.list, in), append(n.records, r)
	}
	for b.Loop() {
		if what := n.changed(); what != "" {
			b.Fatal(what)
		}
	}
}
