package failure_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"ratchet/internal/failure"
	"ratchet/internal/research"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name     string
		evidence failure.Evidence
		want     research.Class
		says     string
	}{
		{"success", failure.Evidence{}, research.Succeeded, ""},
		{"nothing reported", failure.Evidence{BadOutput: "no score"}, research.InvalidOutput, "no score"},
		{"lost", failure.Evidence{Lost: true}, research.Transient, "vanished"},
		{"not there", failure.Evidence{SetUp: "x is not there", Missing: true}, research.ProgramFault, "x is not there"},
		{"a fork bomb", failure.Evidence{ForksRefused: true, BadOutput: "no score"}, research.Resource, "limits.attempt.processes"},
		{"one that met the limit and lived", failure.Evidence{ForksRefused: true}, research.Succeeded, ""},
		{"a full disk that it did not notice", failure.Evidence{BadOutput: "no score", Stderr: "sh: 1: echo: I/O error\nNo space left on device"}, research.Resource, "No space left"},
		{"the machine's fault", failure.Evidence{SetUp: "too many mounts"}, research.Transient, "too many mounts"},
		{"too long", failure.Evidence{EndedBy: "time", Signal: "SIGTERM"}, research.Timeout, "limits.attempt.time"},
		{"silent", failure.Evidence{EndedBy: "stall", Signal: "SIGTERM"}, research.Timeout, "limits.attempt.stall"},
		{"memory, by the watch", failure.Evidence{EndedBy: "memory", Signal: "SIGKILL"}, research.Resource, "limits.attempt.memory"},
		{"memory, by the kernel", failure.Evidence{OOMKilled: true, Signal: "SIGKILL"}, research.Resource, "limits.attempt.memory"},
		{"memory, and the program lived to say so", failure.Evidence{OOMKilled: true, Exit: 1, Stderr: "Killed"}, research.Resource, "limits.attempt.memory"},
		{"disk", failure.Evidence{EndedBy: "disk"}, research.Resource, "limits.attempt.disk"},
		{"a large file", failure.Evidence{Signal: "SIGXFSZ"}, research.Resource, "limits.attempt.disk"},
		{"stopped", failure.Evidence{EndedBy: "requested", Exit: 0}, research.Transient, "on request"},
		{"killed by somebody", failure.Evidence{Signal: "SIGKILL"}, research.Transient, "SIGKILL"},
		{"its own 137", failure.Evidence{Exit: 137}, research.ProgramFault, "137"},
		{"crashed", failure.Evidence{Signal: "SIGSEGV", Stderr: "last words\n"}, research.ProgramFault, "SIGSEGV: last words"},
		{"a traceback", failure.Evidence{Exit: 1, Stderr: "Traceback (most recent call last):\n  File \"x.py\", line 1\nValueError: bad value\n"}, research.ProgramFault, "ValueError: bad value"},
		{"an engine that died over a call", failure.Evidence{Exit: 1, CutOff: true, Stderr: "Traceback (most recent call last):\nhttp.client.IncompleteRead: IncompleteRead(12 bytes read)\n"}, research.Transient, "IncompleteRead(12 bytes read); the engine had died"},
		{"the same, unnoticed", failure.Evidence{CutOff: true, BadOutput: "no score"}, research.Transient, "no score; the engine had died"},
		{"a name, where there is a network", failure.Evidence{Exit: 1, Stderr: "socket.gaierror: [Errno -3] Temporary failure in name resolution\n"}, research.Transient, "name resolution"},
		{"a name, where there is none", failure.Evidence{Exit: 1, NoNetwork: true, Stderr: "socket.gaierror: [Errno -3] Temporary failure in name resolution\n"}, research.ProgramFault, "name resolution; the network is closed to it"},
		{"a reset, where there is none", failure.Evidence{Exit: 1, NoNetwork: true, Stderr: "ConnectionResetError: [Errno 104] Connection reset by peer\n"}, research.Transient, "reset by peer"},
		{"a mistake that a retry cannot mend", failure.Evidence{Exit: 1, CutOff: true, Stderr: "ModuleNotFoundError: No module named 'x'\n"}, research.ProgramFault, "No module named"},
		{"a silent failure", failure.Evidence{Exit: 2}, research.ProgramFault, research.SilentFailure(2)},
		{"CUDA", failure.Evidence{Exit: 1, Stderr: "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."}, research.Resource, "CUDA out of memory"},
		{"Python's memory", failure.Evidence{Exit: 1, Stderr: "Traceback (most recent call last):\nMemoryError"}, research.Resource, "MemoryError"},
		{"no space", failure.Evidence{Exit: 1, Stderr: "OSError: [Errno 28] No space left on device: 'x'"}, research.Resource, "No space left"},
		{"processes", failure.Evidence{Exit: 2, Stderr: "sh: 1: Cannot fork"}, research.Resource, "Cannot fork"},
		{"the network", failure.Evidence{Exit: 1, Stderr: "ConnectionResetError: [Errno 104] Connection reset by peer"}, research.Transient, "Connection reset"},
		{"words on stdout alone", failure.Evidence{Exit: 1, Stdout: "torch.OutOfMemoryError: CUDA out of memory."}, research.Resource, "CUDA out of memory"},
		{"an attack", failure.Evidence{Exit: 0, Refused: []string{"mount", "bpf"}}, research.Security, "mount, bpf"},
		{"escapes in the last words", failure.Evidence{Exit: 1, Stderr: "\x1b[31mred\x1b[0m"}, research.ProgramFault, `\x1b[31mred\x1b[0m`},
	} {
		v := failure.Classify(c.evidence)
		class, message := v.Class, v.Message
		if class != c.want || !strings.Contains(message, c.says) || (message == "") != (class == research.Succeeded) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, class, message, c.want, c.says)
		}
		if strings.ContainsRune(message, 0x1b) {
			t.Errorf("%s: the message is not fit to print", c.name)
		}
	}
	if v := failure.Classify(failure.Evidence{Exit: 1, Stderr: strings.Repeat("x", 10_000)}); len(v.Message) > 500 {
		t.Errorf("the message has %d bytes", len(v.Message))
	}
}

// TestPatterns: every pattern is found in real text, before any other.
func TestPatterns(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/patterns.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range archive.Files {
		v := failure.Classify(failure.Evidence{Exit: 1, Stderr: string(f.Data)})
		if v.Pattern != f.Name {
			t.Errorf("%s is taken for %q:\n%s", f.Name, v.Pattern, f.Data)
		}
		if v.Certain && v.Class != research.ProgramFault {
			t.Errorf("%s: another attempt may cure %s", f.Name, v.Class)
		}
		seen[f.Name] = true
	}
	for _, id := range failure.Patterns() {
		if !seen[id] {
			t.Errorf("%s has no sample", id)
		}
	}
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		status int
		after  float64
		body   string
		want   research.Class
		wait   float64
	}{
		{429, 7, "", research.RateLimited, 7},
		{429, 0, `{"error":{"message":"Rate limit reached for x. Please try again in 1.4s.","code":"rate_limit_exceeded"}}`, research.RateLimited, 1.4},
		{429, 0, `{"error":{"message":"Rate limit reached for x. Please try again in 350ms.","code":"rate_limit_exceeded"}}`, research.RateLimited, 0.35},
		{429, 3, `{"error":{"type":"insufficient_quota"}}`, research.Quota, 0},
		{400, 0, `{"error":{"message":"Your credit balance is too low to access the Anthropic API."}}`, research.Quota, 0},
		{400, 0, `{"error":{"message":"max_tokens is too large"}}`, research.ProgramFault, 0},
		{401, 0, "", research.Auth, 0},
		{403, 0, "", research.Auth, 0},
		{500, 0, "garbage", research.Transient, 0},
		{503, 20, "", research.Transient, 20},
		{529, 0, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, research.RateLimited, 0},
		{404, 0, `{"error":{"message":"The model does not exist"}}`, research.ProgramFault, 0},
	} {
		v := failure.Answer(c.status, c.after, c.body)
		if v.Class != c.want || v.Wait != c.wait || v.Message == "" {
			t.Errorf("%d %s: %+v, want %s after %v s", c.status, c.body, v, c.want, c.wait)
		}
	}
}

func TestClassOf(t *testing.T) {
	for err, want := range map[error]research.Class{
		nil:                      research.Succeeded,
		syscall.ENOSPC:           research.Resource,
		syscall.EACCES:           research.Auth,
		syscall.ECONNRESET:       research.Transient,
		context.DeadlineExceeded: research.Transient,
		errors.New(`429: {"error":{"code":"insufficient_quota"}}`): research.Quota,
		errors.New("what"): research.Internal,
	} {
		if got := failure.ClassOf(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
