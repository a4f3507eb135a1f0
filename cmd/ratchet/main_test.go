package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ratchet"
	"ratchet/internal/failpoint"
	"ratchet/internal/proof"
)

// TestMain is the command, too, where this program is started as ratchet; then
// $RATCHET_FAILPOINT=name:n kills it when it reaches the place of that name for
// the n-th time.
func TestMain(m *testing.M) {
	ratchet.Main()
	testscript.Main(m, map[string]func(){"ratchet": func() {
		if name, n, ok := strings.Cut(os.Getenv("RATCHET_FAILPOINT"), ":"); ok {
			failpoint.Arm(killsAt(name, n))
		}
		main()
	}})
}

// killsAt is what kills this process at the n-th place of a name.
func killsAt(name, n string) func(string) {
	var hits atomic.Int64
	want, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		panic(err)
	}
	return func(place string) {
		if place == name && hits.Add(1) == want {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// self is the path of this program as ratchet.
func self(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ratchet")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestScripts runs the command line as a person would, in testdata/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Condition: func(name string) (bool, error) {
			switch name {
			case "ci": // where nothing is missing
				return os.Getenv("CI") != "", nil
			case "proof":
				return proof.All(), nil
			case "root":
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("there is no condition %q", name)
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home")) // an empty one
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "interrupt": interrupt, "isjson": isJSON, "eventually": eventually, "flip": flip, "provider": provider,
		},
	})
}

// provider: a provider of models is there, and answers each question.
func provider(ts *testscript.TestScript, _ bool, _ []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Messages) == 0 {
			http.Error(w, `{"error":{"message":"no"}}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":"answer to %s"}}],"usage":{"prompt_tokens":10,"completion_tokens":5}}`, asked.Messages[0].Content)
	}))
	ts.Defer(s.Close)
	ts.Setenv("RATCHET_OPENAI_UPSTREAM", s.URL)
	ts.Setenv("LOCAL", strings.TrimPrefix(s.URL, "http://"))
}

// exits STATUS COMMAND…: the command ends with that exit status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	hasStatus(ts, ts.Exec(args[1], args[2:]...), args[0])
}

// interrupt STATUS TEXT COMMAND…: the command is interrupted when it has said the
// text on stderr, and ends with that exit status.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	cmd := command(ts, args[2:])
	said, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for s := bufio.NewScanner(said); s.Scan(); {
		fmt.Fprintln(ts.Stderr(), s.Text())
		if strings.Contains(s.Text(), args[1]) {
			ts.Check(cmd.Process.Signal(os.Interrupt))
		}
	}
	hasStatus(ts, cmd.Wait(), args[0])
}

// command is one with the script's folder and what it needs of its environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = ts.Getenv("WORK"), []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "WORK=" + ts.Getenv("WORK")}
	return cmd
}

// hasStatus checks the exit status of a command that ended with an error or none.
func hasStatus(ts *testscript.TestScript, err error, want string) {
	status := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		status = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != want {
		ts.Fatalf("exit status %d, want %s", status, want)
	}
}

// isjson FILE [KEY…]: the file is one JSON document and nothing else, and if
// it is an object it has the keys.
func isJSON(ts *testscript.TestScript, _ bool, args []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	var v any
	ts.Check(d.Decode(&v))
	if _, err := d.Token(); err != io.EOF {
		ts.Fatalf("there is more behind the document: %v", err)
	}
	for _, key := range args[1:] {
		if object, ok := v.(map[string]any); !ok || object[key] == nil {
			ts.Fatalf("it has no %q", key)
		}
	}
}

// eventually TEXT COMMAND…: run again and again, the command comes to print
// the text.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.After(2 * time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		out, _ := command(ts, args[1:]).CombinedOutput() // it may fail at first
		if strings.Contains(string(out), args[0]) {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("it never printed %q, but\n%s", args[0], out)
		}
	}
}

// flip PATTERN…: changes a byte in the middle of each file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, pattern := range args {
		files, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			ts.Check(err)
			b[len(b)/2] ^= 0xff
			ts.Check(os.WriteFile(f, b, 0o600))
			n++
		}
	}
	if n == 0 {
		ts.Fatalf("no file")
	}
}
