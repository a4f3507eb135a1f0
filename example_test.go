package ratchet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"ratchet"
)

// Attempts are supervised by this test program, executed again.
func TestMain(m *testing.M) {
	ratchet.Main()
	os.Exit(m.Run())
}

// A study runs to its end; what it found is in the results, and in the report
// beside them.
func Example() {
	dir, err := os.MkdirTemp("", "ratchet-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	engine, err := ratchet.Open(filepath.Join(dir, "home"))
	if err != nil {
		panic(err)
	}
	defer engine.Close()

	results, err := engine.Run(context.Background(), "examples/shell/study.yaml", ratchet.RunOptions{
		Output: filepath.Join(dir, "report"),
	})
	if err != nil {
		panic(err)
	}
	for _, h := range results.Hypotheses {
		fmt.Printf("%s: %s\n", h.Verdict, h.Claim)
	}
	fmt.Println("best:", results.Best.Parameters["stop"], results.Best.Metrics["divisions"])
	// Output:
	// supported: Stopping at the square root takes at least 1,000 divisions fewer
	// best: root 738
}

// A run that was interrupted goes on where it was.
func ExampleEngine_Resume() {
	dir, err := os.MkdirTemp("", "ratchet-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	engine, err := ratchet.Open(filepath.Join(dir, "home"))
	if err != nil {
		panic(err)
	}
	defer engine.Close()

	study, err := os.ReadFile("examples/shell/study.yaml")
	if err != nil {
		panic(err)
	}
	run, err := engine.Create(context.Background(), "examples/shell/study.yaml", study, ratchet.RunOptions{
		Output: filepath.Join(dir, "report"),
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err = engine.Resume(ctx, run, ratchet.DriveOptions{Observe: func(s *ratchet.State, _ []ratchet.Event) {
		if s.Tally.Trials == 2 {
			cancel()
		}
	}})
	fmt.Println(err)
	results, err := engine.Resume(context.Background(), run, ratchet.DriveOptions{})
	fmt.Println(results.Status, err)
	// Output:
	// interrupted
	// completed <nil>
}
