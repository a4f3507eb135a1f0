package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatPythonBeginsWith: a seed, whether the machine has a sitecustomize of
// its own or not, and that one besides.
func TestWhatPythonBeginsWith(t *testing.T) {
	ours, own := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(ours, "sitecustomize.py"), sitecustomize, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "sitecustomize.py"), []byte("import builtins\nbuiltins.own = True\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// As site does it, in an interpreter that has no other.
	const program = `
import sys
class Closed:
    def find_spec(name, path, target=None):
        if name == "sitecustomize" and not any(p in sys.path for p in sys.argv[1:]):
            raise ImportError(name)
sys.path[0:0] = sys.argv[1:]
sys.meta_path.insert(0, Closed)
import sitecustomize, random, builtins
print(random.random(), hasattr(builtins, "own"), sys.argv[1] in sys.path)
`
	run := func(seed string, folders ...string) []string {
		c := exec.Command("python3", append([]string{"-S", "-c", program}, folders...)...)
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "RATCHET_SEED=" + seed}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Fields(string(out))
	}
	alone, with, other := run("7", ours), run("7", ours, own), run("8", ours)
	if alone[0] != with[0] || alone[0] == other[0] {
		t.Errorf("drew %s, then %s; with another seed %s", alone[0], with[0], other[0])
	}
	if got := strings.Join([]string{alone[1], with[1], alone[2], with[2]}, " "); got != "False True False False" {
		t.Errorf("the machine's own was found, and ours is in the path still: %s", got)
	}
}
