package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestKeysAreInNoProcess: while a program asks a model, the provider's key is in
// the environment and in the command line of no process that the engine started,
// and afterwards in no file of the home or of the results.
func TestKeysAreInNoProcess(t *testing.T) {
	const key = "a-key-of-the-test-0123456789"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agent.py"), []byte(wrappedProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	var engine int
	var once sync.Once
	looked := 0
	ready := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-ready
		if r.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("the provider got %s", r.Header.Get("Authorization"))
		}
		once.Do(func() {
			for _, pid := range below(t, engine) {
				looked++
				for _, name := range []string{"environ", "cmdline"} {
					b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
					if err == nil && bytes.Contains(b, []byte(key)) {
						t.Errorf("the key is in %s of process %d: %q", name, pid, b)
					}
				}
			}
		})
		fmt.Fprint(w, `{"choices":[{"message":{"role":"assistant","content":"yes"}}],"usage":{"prompt_tokens":9,"completion_tokens":2}}`)
	}))
	defer server.Close()
	c := ratchetCommand(self(t), dir, server.URL, "wrap", "-q", "--output-dir", "out", "--", "python3", "agent.py", "1")
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	engine = c.Process.Pid
	close(ready)
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	if looked < 2 {
		t.Errorf("%d processes were looked at: a shim and the program are there at least", looked)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(key)) {
			t.Errorf("the key is in %s", path)
		}
		return err
	})
	if err != nil || strings.Contains(said.String(), key) {
		t.Errorf("%v\n%s", err, &said)
	}
}

// below are the processes below one.
func below(t *testing.T, pid int) (out []int) {
	t.Helper()
	parents := map[int]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		child, _ := strconv.Atoi(strings.Split(name, "/")[2])
		parents[child], _ = strconv.Atoi(fields[1])
	}
	for child := range parents {
		for at := child; at > 1; at = parents[at] {
			if parents[at] == pid {
				out = append(out, child)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}
