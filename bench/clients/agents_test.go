package clients

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// agent is a command line that people use, as it comes from npm.
type agent struct {
	name    string
	command string // in a shell, with the packages' programs in $BIN
	calls   string // what the record has of its calls, a part of `ratchet calls`
}

var agents = []agent{
	{"claude", `$BIN/claude -p "say hello" --model claude-haiku-4-5`, "anthropic/claude-haiku-4-5"},
	{"codex", `CODEX_HOME=/tmp/codex; export CODEX_HOME; mkdir -p $CODEX_HOME; $BIN/codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox -c openai_base_url="\"$OPENAI_BASE_URL\"" -c web_search=disabled -m gpt-5 "say hello" </dev/null`, "openai/gpt-5"},
	{"opencode", `$BIN/opencode run -m anthropic/claude-haiku-4-5 "say hello"`, "anthropic/claude-haiku-4-5"},
	{"gemini", `mkdir -p ~/.gemini; echo '{"security": {"auth": {"selectedType": "gemini-api-key"}}}' > ~/.gemini/settings.json; $BIN/gemini -m gemini-2.5-flash --skip-trust -p "say hello" </dev/null`, "gemini/gemini-2.5-flash"},
}

// TestAgents: the command lines of coding agents from npm, unmodified, as `ratchet wrap`
// runs them, in a sandbox without a network. Their calls are recorded, within a budget, and
// when their first attempt crashes after its answer the second is answered out of the record.
func TestAgents(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("npm is missing (Debian: npm)")
		}
		t.Skip("npm is missing (Debian: npm)")
	}
	packages := os.Getenv("RATCHET_TEST_AGENTS") // a folder where they are installed already
	if packages == "" {
		packages = t.TempDir()
		b, err := os.ReadFile("agents/package.json")
		if err == nil {
			err = os.WriteFile(filepath.Join(packages, "package.json"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
		install.Dir = packages
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm install: %v\n%s", err, out)
		}
	}
	ratchet := filepath.Join(t.TempDir(), "ratchet")
	build := exec.Command("go", "build", "-o", ratchet, "./cmd/ratchet")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	for _, a := range agents {
		t.Run(a.name, func(t *testing.T) {
			calls := &atomic.Int64{}
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				script(w, r)
			}))
			defer upstream.Close()
			dir := t.TempDir()
			env := append(os.Environ(), "HOME="+t.TempDir(), "RATCHET_HOME="+filepath.Join(dir, ".home"))
			for _, name := range []string{"OPENAI", "ANTHROPIC", "GEMINI"} {
				env = append(env, name+"_API_KEY=a-key-of-the-test-0123456789", "RATCHET_"+name+"_UPSTREAM="+upstream.URL)
			}
			run := func(args ...string) string {
				t.Helper()
				c := exec.Command(ratchet, args...)
				c.Dir, c.Env = dir, env
				var out bytes.Buffer
				c.Stdout, c.Stderr = &out, &out
				if err := c.Run(); err != nil {
					logs := exec.Command(ratchet, "logs")
					logs.Dir, logs.Env = dir, env
					text, _ := logs.CombinedOutput()
					refused := exec.Command(ratchet, "calls")
					refused.Dir, refused.Env = dir, env
					more, _ := refused.CombinedOutput()
					t.Fatalf("ratchet %s: %v\n%s\n%s\n%s", strings.Join(args, " "), err, &out, text, more)
				}
				return out.String()
			}
			crash := `; s=$?; [ $RATCHET_ATTEMPT = 1 ] && exit 7; exit $s`
			run("wrap", "--name", a.name, "--budget", "50USD", "--time", "5m", "--input", "packages/node_modules="+filepath.Join(packages, "node_modules"),
				"--", "sh", "-c", strings.ReplaceAll(a.command, "$BIN", "packages/node_modules/.bin")+crash)
			logs := run("logs")
			if n := strings.Count(logs, "hello there"); n < 2 {
				t.Errorf("the answer was printed %d times, want by both attempts:\n%s", n, logs)
			}
			record := run("calls")
			if !strings.Contains(record, a.calls) || !strings.Contains(record, "out of the record") {
				t.Errorf("on record is\n%s\n%s", record, run("calls", "--diff"))
			}
			t.Logf("%d requests reached the provider\n%s", calls.Load(), record)
		})
	}
}
