package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLastMatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stdout")
	for _, c := range []struct {
		name, text, pattern string
		value               float64
		found               bool
	}{
		{"the last line", "loss=3\nloss=2\n", `loss=(\d+)`, 2, true},
		{"the last of a line", "loss=3\nloss=2 loss=1\nend", `loss=(\d+)`, 1, true},
		{"one that is no number", "loss=3\nloss=x\n", `loss=(\w+)`, 3, true},
		{"none", "nothing\n\n", `loss=(\d+)`, 0, false},
		{"empty", "", `loss=(\d+)`, 0, false},
		{"behind much else", strings.Repeat("a line of output\n", 200_000) + "loss=5\n", `loss=(\d+)`, 5, true},
		{"before much else", "loss=5\n" + strings.Repeat("a line of output\n", 50_000), `loss=(\d+)`, 5, true},
		// It would take minutes if all were looked at.
		{"a pattern that does not end", strings.Repeat("a", 4<<20) + "\na1b1c1x7\n", `(?:a.{0,900}b.{0,900}c).{0,900}x(\d)`, 7, true},
		{"a pattern that does not end, and does not match", strings.Repeat("a", 4<<20), `(a.{0,900}b.{0,900}c)x`, 0, false},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if v, found := lastMatch(c.pattern, file); v != c.value || found != c.found {
			t.Errorf("%s: %v, %v", c.name, v, found)
		}
	}
	if _, found := lastMatch(`(\d)`, filepath.Join(t.TempDir(), "gone")); found {
		t.Error("a match in no file")
	}
}
