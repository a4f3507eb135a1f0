// Package failure says of what class a failure is, from evidence, and what is done
// about it.
package failure

import (
	"fmt"
	"strings"

	"ratchet/internal/research"
)

// Evidence is what is known of an attempt that has ended.
type Evidence struct {
	Lost      bool   // its supervisor is gone, and it with it
	SetUp     string // why it could not be started
	Missing   bool   // with SetUp: the command is not there or not executable
	EndedBy   string // why its supervisor ended it: time, stall, memory, disk, depth, requested
	OOMKilled bool
	// ForksRefused: it met the limit of its processes.
	ForksRefused bool
	Exit         int
	Signal       string
	// Refused names what it tried that no program tries by accident, and what the
	// walls refused.
	Refused []string
	Stdout  string // its last part
	Stderr  string // its last part
	// BadOutput says what is wrong with what a program that succeeded left.
	BadOutput string
	// NoNetwork: nothing of the machine's network was within its reach.
	NoNetwork bool
	// CutOff: the engine died over a model call of it, whose answer it never got.
	CutOff bool
}

// Verdict is the class of a failure with where it comes from.
type Verdict struct {
	Class   research.Class
	Message string // for a person
	Pattern string // of patterns.go, by which it was recognised; empty: none
	Certain bool   // the same would happen again
	Wait    float64
}

// Classify gives the verdict on an attempt.
func Classify(e Evidence) Verdict {
	is := func(c research.Class, message string) Verdict { return Verdict{Class: c, Message: message} }
	switch {
	case e.Lost:
		return is(research.Transient, "the attempt vanished with its supervisor, as after a power loss or a kill from outside")
	case len(e.Refused) > 0:
		return is(research.Security, "it tried what only an attack on the machine needs, and was refused: "+strings.Join(e.Refused, ", "))
	case e.SetUp != "" && e.Missing:
		return Verdict{Class: research.ProgramFault, Message: e.SetUp, Certain: true}
	case e.SetUp != "":
		return is(research.Transient, e.SetUp)
	case e.ForksRefused && (e.EndedBy == "time" || e.Exit != 0 || e.BadOutput != ""):
		return is(research.Resource, "it wanted more processes than limits.attempt.processes")
	case e.EndedBy == "time":
		return is(research.Timeout, "it ran longer than limits.attempt.time")
	case e.EndedBy == "stall":
		return is(research.Timeout, "no output, no processor use and no metric for limits.attempt.stall")
	case e.EndedBy == "memory" || e.OOMKilled:
		return is(research.Resource, "it used more memory than limits.attempt.memory")
	case e.EndedBy == "disk":
		return is(research.Resource, "it used more disk than limits.attempt.disk")
	case e.EndedBy == "depth":
		return is(research.Resource, "it nested folders so deep that limits.attempt.disk could not be held")
	case e.EndedBy == "requested":
		return is(research.Transient, "it was stopped on request")
	case e.Signal == "SIGXFSZ":
		return is(research.Resource, "it wrote a file larger than limits.attempt.disk")
	case e.Signal == "SIGKILL" || e.Signal == "SIGTERM" || e.Signal == "killed":
		return is(research.Transient, "it was killed by "+e.Signal+" from outside")
	case e.Signal == "" && e.Exit == 0 && e.BadOutput != "":
		// A program that ran out of something may well not notice.
		if p := recognise(e.Stderr); p.class == research.Resource {
			return Verdict{Class: p.class, Pattern: p.id, Message: e.BadOutput + "; it said: " + lastLine(e.Stderr)}
		}
		if e.CutOff {
			return is(research.Transient, e.BadOutput+cutOff)
		}
		return is(research.InvalidOutput, e.BadOutput)
	case e.Signal == "" && e.Exit == 0:
		return is(research.Succeeded, "")
	}
	how := "it crashed with " + e.Signal
	if e.Signal == "" {
		how = fmt.Sprintf("exit status %d", e.Exit)
	}
	said := e.Stderr
	if strings.TrimSpace(said) == "" {
		said = e.Stdout
	}
	v := Verdict{Class: research.ProgramFault}
	if p := recognise(said); p.id != "" {
		v = Verdict{Class: p.class, Pattern: p.id, Certain: p.certain}
		if p.class == research.RateLimited {
			v.Wait = wish(said)
		}
	}
	line := words(e.Stderr, e.Stdout)
	switch {
	case line != "":
		v.Message = how + ": " + line
	case v.Pattern != "":
		v.Message = how + ": " + lastLine(e.Stdout)
	case e.Signal == "":
		v.Message = research.SilentFailure(e.Exit)
	default:
		v.Message = how
	}
	if e.NoNetwork && (v.Pattern == nameResolution || v.Pattern == unreachable) {
		v.Class = research.ProgramFault // it stays closed
		v.Message += "; the network is closed to it, but for hosts that tools.hosts names, through the proxy in HTTPS_PROXY"
	}
	if e.CutOff && v.Class == research.ProgramFault && !v.Certain {
		v.Class = research.Transient
		v.Message += cutOff
	}
	return v
}

// cutOff is said of what a program does after its engine died over a call.
const cutOff = "; the engine had died while a model answered it"

// Answer gives the verdict on an answer by HTTP that is no success: its status,
// its Retry-After header in seconds (0: none) and its body.
func Answer(status int, retryAfter float64, body string) Verdict {
	v := Verdict{Class: research.ProgramFault, Message: fmt.Sprintf("status %d", status)}
	switch {
	case status == 401 || status == 403:
		v.Class = research.Auth
	case status == 402:
		v.Class = research.Quota
	case status == 429 || status == 529:
		v.Class = research.RateLimited
	case status == 408 || status == 409 || status == 425 || status >= 500:
		v.Class = research.Transient
	}
	// A body knows more: a 429 can be a spent budget, a 400 a wrong key.
	if p := recognise(body); p.id != "" && p.class != research.ProgramFault && p.class != research.Resource {
		v.Class, v.Pattern = p.class, p.id
	}
	if v.Class == research.RateLimited || v.Class == research.Transient {
		if v.Wait = retryAfter; v.Wait == 0 {
			v.Wait = wish(body)
		}
	}
	if words := lastLine(body); words != "" {
		v.Message += ": " + words
	}
	return v
}
