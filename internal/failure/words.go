package failure

import (
	"regexp"
	"slices"
	"strings"

	"ratchet/internal/research"
)

// MostWords bounds what a message quotes of a program, in bytes.
const MostWords = 400

// mostLines is how many lines from the end are looked at for an error.
const mostLines = 400

// How languages write an error that ends a program, on a line of its own: the last of
// the former, or the line behind the last of the latter. Others, which have no form of
// their own, end with the line that says it.
var (
	errorForm = regexp.MustCompile(`^(` + strings.Join([]string{
		`(?:Uncaught )?(?:[A-Z]\w*)?(?:Error|Exception|Interrupt)(?: \[\w+\])?(?::.*)?`, // Node.js, Python, Ruby, Java
		`(?:[a-z_]\w*\.)+[A-Z]\w*(?:Error|Exception)?(?::.*)?`,                          // Python, in a module: torch.OutOfMemoryError: …
		`Exception in thread .*`,    // Java
		`panic: .*`,                 // Go
		`fatal error: .*`,           // Go, compilers
		`ERROR: .*`,                 // Julia
		`Error(?: in .*)?: ?.*`,     // R, Rust's main
		`terminate called after .*`, // C++
		`error(?:\[\w+\])?: .*`,     // rustc, clang
	}, "|") + `)$`)
	rustPanic = regexp.MustCompile(`^thread '.*' (?:\(\d+\) )?panicked at `)
	// What follows an error and says nothing of it.
	trailer = regexp.MustCompile(`^(Node\.js v[\d.]+|Execution halted|note: run with .RUST_BACKTRACE.*|note: Some details are omitted.*|exit status \d+|\s*at .*|\s+\^+\s*|sys:1: \w*Warning: .*)$`)
)

// words is the line of a program's output that says why it failed: of stderr, if it has
// one that looks like an error or stdout has none.
func words(stderr, stdout string) string {
	if line := errorLine(stderr); line != "" {
		return line
	}
	if line := errorLine(stdout); line != "" {
		return line
	}
	return lastLine(stderr)
}

// errorLine is the last line that is an error's; "": there is none.
func errorLine(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	lines = lines[max(0, len(lines)-mostLines):]
	for i, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		if rustPanic.MatchString(line) {
			if i+1 < len(lines) && strings.TrimSpace(lines[i+1]) != "" && !trailer.MatchString(lines[i+1]) {
				line = strings.TrimSpace(lines[i+1])
			}
			return research.Printable(line, MostWords)
		}
		if line == lines[i] && errorForm.MatchString(line) && !trailer.MatchString(line) {
			if strings.HasSuffix(line, ":") && i+1 < len(lines) { // R has the text on the next line
				line += " " + strings.TrimSpace(lines[i+1])
			}
			return research.Printable(line, MostWords)
		}
	}
	return ""
}

// lastLine is the last line of a text that says anything.
func lastLine(s string) string {
	for _, line := range slices.Backward(strings.Split(strings.TrimSpace(s), "\n")) {
		if line = strings.TrimSpace(line); line != "" && !trailer.MatchString(line) {
			return research.Printable(line, MostWords)
		}
	}
	return research.Printable(strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:]), MostWords)
}
