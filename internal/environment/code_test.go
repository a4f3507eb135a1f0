package environment

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"ratchet/internal/redact"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

// TestCode: where a folder came from is known, without what is secret, and nothing
// that a repository's settings have git execute reaches the machine.
func TestCode(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing (Debian: git)")
	}
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "executed")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	created := func(folder string) *research.RunCreated {
		return &research.RunCreated{Folder: folder, Isolation: string(sandbox.Strict), Study: &study.Study{}}
	}
	secrets := redact.New("the-secret-of-this-machine")
	ctx := context.Background()
	write("study/train.py", "print(1)\n")
	if code := codeOf(ctx, created(filepath.Join(dir, "study")), secrets); len(code) != 0 {
		t.Errorf("without a repository: %+v", code)
	}
	git("init", "-q", "-b", "trunk")
	if code := codeOf(ctx, created(dir), secrets); len(code) != 1 || code[0].Unknown == "" {
		t.Errorf("without a commit: %+v", code)
	}
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	git("remote", "add", "origin", "https://me:a-password@example.org/x.git?token=1")
	commit := git("rev-parse", "HEAD")
	clean := codeOf(ctx, created(filepath.Join(dir, "study")), secrets)
	if len(clean) != 1 || clean[0] != (research.Code{Folder: ".", Commit: commit, Branch: "trunk", Remote: "https://example.org/x.git"}) {
		t.Errorf("unchanged: %+v", clean)
	}
	write("study/train.py", "key = 'the-secret-of-this-machine'\nprint(2)\n")
	write("study/new.txt", "new\n")
	write("study/results/report.html", "")
	git("config", "core.fsmonitor", "touch "+outside)
	git("config", "diff.external", "touch "+outside)
	git("config", "filter.f.clean", "touch "+outside+"; cat")
	write("study/.gitattributes", "*.py filter=f\n")
	changed := codeOf(ctx, created(filepath.Join(dir, "study")), secrets)
	if len(changed) != 1 {
		t.Fatalf("%+v", changed)
	}
	c := changed[0]
	if !c.Dirty || c.Untracked != 2 || !strings.Contains(c.Diff, "+print(2)") || strings.Contains(c.Diff, "the-secret-of-this-machine") {
		t.Errorf("%+v", c)
	}
	if text := c.Text(); text != commit[:12]+" on trunk, changed since, 2 files not in git, https://example.org/x.git" {
		t.Error(text)
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("what the repository's settings name was executed on the machine")
	}
}
