// Package guard says of what class a failure is, from evidence.
package guard

import (
	"fmt"
	"regexp"
	"strings"

	"ratchet/internal/research"
)

// Evidence is what is known of an attempt that has ended.
type Evidence struct {
	Lost      bool   // its supervisor is gone, and it with it
	SetUp     string // why it could not be started
	Missing   bool   // with SetUp: the command is not there or not executable
	EndedBy   string // why its supervisor ended it: time, stall, memory, disk, requested
	OOMKilled bool
	Exit      int
	Signal    string
	Stderr    string // its last part
	// BadOutput says what is wrong with what a program that succeeded left.
	BadOutput string
}

// pattern is text in a program's last words that tells a class.
type pattern struct {
	class research.Class
	text  *regexp.Regexp
}

// patterns are tried in order on the last part of stderr of a program that
// failed.
var patterns = []pattern{
	{research.Resource, regexp.MustCompile(`CUDA out of memory|torch\.OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED`)},
	{research.Resource, regexp.MustCompile(`(?m)^MemoryError\b|std::bad_alloc|Cannot allocate memory|OutOfMemoryError`)},
	{research.Resource, regexp.MustCompile(`No space left on device|Disk quota exceeded|File too large|File size limit exceeded`)},
	{research.Resource, regexp.MustCompile(`[Cc]annot fork|can't start new thread|fork: .*Resource temporarily unavailable|BlockingIOError: \[Errno 11\]|Too many open files`)},
	{research.Transient, regexp.MustCompile(`Connection reset by peer|Temporary failure in name resolution|Connection timed out|NCCL error: unhandled system error`)},
}

// Classify gives the class of an attempt and a message for a person.
func Classify(e Evidence) (research.Class, string) {
	switch {
	case e.Lost:
		return research.Transient, "the attempt vanished with its supervisor, as in a power loss or by somebody's kill"
	case e.SetUp != "" && e.Missing:
		return research.InvalidStudy, e.SetUp
	case e.SetUp != "":
		return research.Transient, e.SetUp
	case e.EndedBy == "time":
		return research.Timeout, "it ran longer than limits.attempt.time"
	case e.EndedBy == "stall":
		return research.Timeout, "no output, no processor use and no metric for limits.attempt.stall"
	case e.EndedBy == "memory" || e.OOMKilled:
		return research.Resource, "it used more memory than limits.attempt.memory"
	case e.EndedBy == "disk":
		return research.Resource, "it used more disk than limits.attempt.disk"
	case e.EndedBy == "requested":
		return research.Transient, "it was stopped on request"
	case e.Signal == "SIGXFSZ":
		return research.Resource, "it wrote a file larger than limits.attempt.disk"
	case e.Signal == "SIGKILL" || e.Signal == "SIGTERM" || e.Signal == "killed":
		return research.Transient, "it was killed by " + e.Signal + " from outside"
	case e.Signal != "":
		return research.ProgramFault, "it crashed with " + e.Signal + said(e.Stderr)
	case e.Exit != 0:
		return failed(e)
	case e.BadOutput != "":
		return research.InvalidOutput, e.BadOutput
	}
	return research.Succeeded, ""
}

func failed(e Evidence) (research.Class, string) {
	words := lastLine(e.Stderr)
	if words == "" {
		return research.ProgramFault, research.SilentFailure(e.Exit)
	}
	for _, p := range patterns {
		if p.text.MatchString(e.Stderr) {
			return p.class, fmt.Sprintf("exit status %d: %s", e.Exit, words)
		}
	}
	return research.ProgramFault, fmt.Sprintf("exit status %d: %s", e.Exit, words)
}

func said(stderr string) string {
	if words := lastLine(stderr); words != "" {
		return ": " + words
	}
	return ""
}

// mostWords bounds what a message quotes of a program, in bytes.
const mostWords = 400

// lastLine is the last line of a text that says anything.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
	return research.Printable(s, mostWords)
}
