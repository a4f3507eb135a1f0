package search

import (
	"fmt"
	"testing"
)

// TestSobol: of 2^k points each slice of a range has one, in every dimension; and so has
// each of the rectangles into which two dimensions fall, for the first few.
func TestSobol(t *testing.T) {
	const n = 64
	for d := range len(sobolTable) + 1 {
		slices := map[int]bool{}
		for i := range n {
			slices[int(sobol(5, d, fmt.Sprint("x", d), i)*n)] = true
		}
		if len(slices) != n {
			t.Errorf("dimension %d: %d of %d slices have a point", d, len(slices), n)
		}
	}
	boxes := map[[2]int]bool{}
	for i := range n {
		boxes[[2]int{int(sobol(5, 0, "x0", i) * 8), int(sobol(5, 1, "x1", i) * 8)}] = true
	}
	if len(boxes) != n {
		t.Errorf("%d of %d squares have a point", len(boxes), n)
	}
	if sobol(5, 70, "x70", 1) == sobol(5, 70, "x70", 2) {
		t.Error("dimensions beyond the table do not vary")
	}
}
