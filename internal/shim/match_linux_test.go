package shim

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/study"
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
		{"a whole line", "start\nacc: 0.91\ndone 1\n", `^acc: ([0-9.]+)$`, 0.91, true},
		{"a whole line of Windows", "acc: 0.91\r\ndone\r\n", `^acc: ([0-9.]+)$`, 0.91, true},
		{"the last line without its end", "acc: 0.91", `^acc: ([0-9.]+)$`, 0.91, true},
		{"a progress bar", "\r 10%| loss=0.9\r 50%| loss=0.5\r100%| loss=0.1\ndone\n", `loss=([0-9.]+)$`, 0.1, true},
		{"colours", "\x1b[1;32macc:\x1b[0m \x1b[33m0.5\x1b[0m\n\x1b]0;title\x07\n", `^acc: ([0-9.]+)$`, 0.5, true},
		{"none", "nothing\n\n", `loss=(\d+)`, 0, false},
		{"empty", "", `loss=(\d+)`, 0, false},
		{"behind much else", strings.Repeat("a line of output\n", 200_000) + "loss=5\n", `loss=(\d+)`, 5, true},
		{"before much else", "loss=5\n" + strings.Repeat("a line of output\n", 50_000), `loss=(\d+)`, 5, true},
		{"a line that is cut", strings.Repeat("a", 2<<20) + "loss=5", `^loss=(\d+)`, 0, false},
		{"the end of a line that is cut", strings.Repeat("a", 2<<20) + "loss=5", `loss=(\d+)`, 5, true},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, level := range levels {
			v, found, err := LastMatch(t.Context(), level, study.Duration(time.Hour), c.pattern, file)
			if v != c.value || found != c.found || err != nil {
				t.Errorf("%s, %s: %v, %v, %v", c.name, level, v, found, err)
			}
		}
	}
	if _, found, err := LastMatch(t.Context(), sandbox.Strict, 0, `(\d)`, filepath.Join(t.TempDir(), "gone")); found || err != nil {
		t.Error("a match in no file", err)
	}
}

// A pattern that does not end in any useful time costs its time and no more, and
// not this process's.
func TestLastMatchOfAPatternThatDoesNotEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stdout")
	if err := os.WriteFile(file, bytes.Repeat([]byte("a"), 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, level := range levels {
		_, found, err := LastMatch(t.Context(), level, study.Duration(time.Second), `(a.{0,900}b.{0,900}c)x`, file)
		if found || err == nil || !strings.Contains(err.Error(), "looking for its pattern in 4194304 bytes of output, for 1s at most") {
			t.Errorf("%s: %v, %v", level, found, err)
		}
	}
}
