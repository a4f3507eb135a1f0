package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ratchet/internal/proof"
)

// wrappedCalls and wrappedKills are how many calls the wrapped program makes,
// and how often the engine is killed meanwhile, mostly with it.
var (
	wrappedCalls = proof.Of(40, 200)
	wrappedKills = proof.Of(8, 50)
)

// wrappedProgram asks one question after the other, each with the answer to the
// one before in it, as agents do. It never tries again.
const wrappedProgram = `
import json, os, sys, urllib.request

def ask(text):
    body = json.dumps({"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", data=body,
        headers={"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]

said = "nothing"
with open("answers.txt", "w") as out:
    for i in range(int(sys.argv[1])):
        said = ask("question %d after %s" % (i, said))
        out.write(said + "\n")
`

// counting is a provider that answers every question in its own way, and counts.
type counting struct {
	mu      sync.Mutex
	seen    map[string]int
	total   int
	changed chan struct{}
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.seen[string(body)]++
	c.total++
	n := len(c.seen)
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":"%d-%d"}}],"usage":{"prompt_tokens":9,"completion_tokens":2}}`, len(body), n)
}

// more waits until the provider has been asked so many times more, or done.
func (c *counting) more(n int, done <-chan struct{}) {
	c.mu.Lock()
	until := c.total + n
	c.mu.Unlock()
	for {
		c.mu.Lock()
		reached, changed := c.total >= until, c.changed
		c.mu.Unlock()
		if reached {
			return
		}
		select {
		case <-changed:
		case <-done:
			return
		case <-time.After(20 * time.Second): // nothing moves: the test that waits fails
			return
		}
	}
}

// TestAWrappedProgramIsPaidForOnce: a program that makes calls is killed again and
// again, with the engine, or the engine alone. What it leaves is what
// an undisturbed one leaves, and its provider was asked each question once, but
// for those that were under way at a kill, which are on record as such.
func TestAWrappedProgramIsPaidForOnce(t *testing.T) {
	dir := t.TempDir()
	binary := self(t)
	undisturbed, _, _ := runWrapped(t, binary, filepath.Join(dir, "one"), 0)
	disturbed, provider, kills := runWrapped(t, binary, filepath.Join(dir, "two"), wrappedKills)
	if disturbed != undisturbed || strings.Count(disturbed, "\n") != wrappedCalls {
		t.Errorf("it left %d lines, undisturbed %d, and they are not the same", strings.Count(disturbed, "\n"), strings.Count(undisturbed, "\n"))
	}
	c := ratchetCommand(binary, filepath.Join(dir, "two"), "", "calls", "--json")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Calls []struct {
			Call string
			Lost int
		}
		Summary struct{ Calls, Lost, Again int }
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	if len(provider.seen) != wrappedCalls || len(said.Calls) != wrappedCalls {
		t.Errorf("the provider was asked %d different questions, and %d are on record", len(provider.seen), len(said.Calls))
	}
	twice := 0
	for _, n := range provider.seen {
		twice += n - 1
	}
	if twice > said.Summary.Lost || said.Summary.Lost > kills {
		t.Errorf("the provider was asked %d times again, %d are on record as lost, at %d kills", twice, said.Summary.Lost, kills)
	}
	t.Logf("killed %d times: %d calls, %d of them made again since they were under way, %d answers out of the record", kills, wrappedCalls, twice, said.Summary.Again)
}

func ratchetCommand(binary, dir, upstream string, args ...string) *exec.Cmd {
	c := exec.Command(binary, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "RATCHET_HOME="+filepath.Join(dir, ".ratchet"), "RATCHET_OPENAI_UPSTREAM="+upstream, "OPENAI_API_KEY=a-key-of-the-test-0123456789")
	return c
}

// runWrapped runs the program in a folder, with so many kills, and gives what it
// left.
func runWrapped(t *testing.T, binary, dir string, kills int) (left string, provider *counting, killed int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agent.py"), []byte(wrappedProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	provider = &counting{seen: map[string]int{}, changed: make(chan struct{})}
	server := httptest.NewServer(provider)
	defer server.Close()
	r := rand.New(rand.NewPCG(50, 200))
	args := []string{"wrap", "-q", "--name", "agent", "--budget", "5USD", "--output-dir", "out", "--", "python3", "agent.py", fmt.Sprint(wrappedCalls)}
	for {
		var log bytes.Buffer
		c := ratchetCommand(binary, dir, server.URL, args...)
		c.Stdout, c.Stderr = &log, &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		var err error
		go func() {
			defer close(done)
			err = c.Wait()
		}()
		if killed < kills {
			provider.more(1+r.IntN(5), done)
			killed++
			if r.IntN(3) < 2 { // else the program lives on, and waits for the next engine
				killShims(t, dir)
			}
			_ = c.Process.Kill()
			<-done
			args = []string{"resume", "-q"}
			continue
		}
		<-done
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, &log)
		}
		b, err := os.ReadFile(filepath.Join(dir, "out", "files", "answers.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b), provider, killed
	}
}

// killShims kills the processes that watch attempts, and with them those.
func killShims(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, ".ratchet", "runs", "*", "attempts", "*", "attempt.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // gone meanwhile
		}
		for line := range bytes.Lines(b) {
			var record struct{ Shim struct{ PID int } }
			if json.Unmarshal(line, &record) == nil && record.Shim.PID > 1 {
				_ = syscall.Kill(record.Shim.PID, syscall.SIGKILL)
			}
		}
	}
}
