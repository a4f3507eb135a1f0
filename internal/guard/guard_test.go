package guard_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"ratchet/internal/guard"
	"ratchet/internal/research"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name     string
		evidence guard.Evidence
		want     research.Class
		says     string
	}{
		{"success", guard.Evidence{}, research.Succeeded, ""},
		{"nothing reported", guard.Evidence{BadOutput: "no score"}, research.InvalidOutput, "no score"},
		{"lost", guard.Evidence{Lost: true}, research.Transient, "vanished"},
		{"not there", guard.Evidence{SetUp: "x is not there", Missing: true}, research.InvalidStudy, "x is not there"},
		{"the machine's fault", guard.Evidence{SetUp: "too many mounts"}, research.Transient, "too many mounts"},
		{"too long", guard.Evidence{EndedBy: "time", Signal: "SIGTERM"}, research.Timeout, "limits.attempt.time"},
		{"silent", guard.Evidence{EndedBy: "stall", Signal: "SIGTERM"}, research.Timeout, "limits.attempt.stall"},
		{"memory, by the watch", guard.Evidence{EndedBy: "memory", Signal: "SIGKILL"}, research.Resource, "limits.attempt.memory"},
		{"memory, by the kernel", guard.Evidence{OOMKilled: true, Signal: "SIGKILL"}, research.Resource, "limits.attempt.memory"},
		{"memory, and the program lived to say so", guard.Evidence{OOMKilled: true, Exit: 1, Stderr: "Killed"}, research.Resource, "limits.attempt.memory"},
		{"disk", guard.Evidence{EndedBy: "disk"}, research.Resource, "limits.attempt.disk"},
		{"a large file", guard.Evidence{Signal: "SIGXFSZ"}, research.Resource, "limits.attempt.disk"},
		{"stopped", guard.Evidence{EndedBy: "requested", Exit: 0}, research.Transient, "on request"},
		{"killed by somebody", guard.Evidence{Signal: "SIGKILL"}, research.Transient, "SIGKILL"},
		{"its own 137", guard.Evidence{Exit: 137}, research.ProgramFault, "137"},
		{"crashed", guard.Evidence{Signal: "SIGSEGV", Stderr: "last words\n"}, research.ProgramFault, "SIGSEGV: last words"},
		{"a traceback", guard.Evidence{Exit: 1, Stderr: "Traceback (most recent call last):\n  File \"x.py\", line 1\nValueError: bad value\n"}, research.ProgramFault, "ValueError: bad value"},
		{"a silent failure", guard.Evidence{Exit: 2}, research.ProgramFault, research.SilentFailure(2)},
		{"CUDA", guard.Evidence{Exit: 1, Stderr: "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."}, research.Resource, "CUDA out of memory"},
		{"Python's memory", guard.Evidence{Exit: 1, Stderr: "Traceback (most recent call last):\nMemoryError"}, research.Resource, "MemoryError"},
		{"no space", guard.Evidence{Exit: 1, Stderr: "OSError: [Errno 28] No space left on device: 'x'"}, research.Resource, "No space left"},
		{"processes", guard.Evidence{Exit: 2, Stderr: "sh: 1: Cannot fork"}, research.Resource, "Cannot fork"},
		{"the network", guard.Evidence{Exit: 1, Stderr: "ConnectionResetError: [Errno 104] Connection reset by peer"}, research.Transient, "Connection reset"},
		{"escapes in the last words", guard.Evidence{Exit: 1, Stderr: "\x1b[31mred\x1b[0m"}, research.ProgramFault, `\x1b[31mred\x1b[0m`},
	} {
		class, message := guard.Classify(c.evidence)
		if class != c.want || !strings.Contains(message, c.says) || (message == "") != (class == research.Succeeded) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, class, message, c.want, c.says)
		}
		if strings.ContainsRune(message, 0x1b) {
			t.Errorf("%s: the message is not fit to print", c.name)
		}
	}
	if _, m := guard.Classify(guard.Evidence{Exit: 1, Stderr: strings.Repeat("x", 10_000)}); len(m) > 500 {
		t.Errorf("the message has %d bytes", len(m))
	}
}
