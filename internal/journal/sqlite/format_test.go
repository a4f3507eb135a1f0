package sqlite_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ratchet/internal/journal"
	"ratchet/internal/journal/journaltest"
)

// TestAnybodyCanCheckIt runs the program in docs/journal.md, which knows
// nothing of this package, on a journal that is whole and on one that is not.
func TestAnybodyCanCheckIt(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing (Debian: python3)")
	}
	doc, err := os.ReadFile("../../../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```python\n")
	program, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/journal.md has no program")
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	a := journaltest.Append(t, j, "a", journal.Head{}, journaltest.Entries(5)...)
	b := journaltest.Append(t, j, "ä-2", journal.Head{}, journaltest.Entries(2)...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", program, path).CombinedOutput()
	if want := fmt.Sprintf("a 5 %s\nä-2 2 %s\n", a.Hash, b.Hash); err != nil || string(out) != want {
		t.Errorf("it prints %q (%v), want %q", out, err, want)
	}

	forge := `import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute("UPDATE records SET time = time + 1 WHERE key = (1 << 40) + 3"); db.commit()`
	if out, err := exec.Command(python, "-c", forge, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(python, "-c", program, path).CombinedOutput(); err == nil || !strings.Contains(string(out), "run a, record 3 is damaged") {
		t.Errorf("of a forged journal it prints %q (%v)", out, err)
	}
}
