package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/study"
)

// mostMatching bounds what looking for a pattern costs this process: bytes of
// output times instructions of the pattern (regexp/syntax.Prog), which is what
// matching takes at most. It comes to a tenth of a second.
const mostMatching = 8 << 20

// longestMatching is how long a pattern is looked for in a sandbox.
const longestMatching = time.Minute

// LastMatch is the value of the last match in a file of output that is a number.
// The pattern is the study's and the output the program's, and either can make
// the search long: what the end of the output does not tell at once is looked for
// in a sandbox, for a minute at most and no longer than an attempt may take.
func LastMatch(ctx context.Context, level sandbox.Isolation, limit study.Duration, pattern, file string) (v float64, found bool, err error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return 0, false, err
	}
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil // it ended before it had output
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close() // only read from
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	from := max(0, info.Size()-mostMatching/instructions(pattern))
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return 0, false, err
	}
	if from > 0 { // a line that is cut could match as it does not in whole
		text = text[bytes.IndexAny(text, "\r\n")+1:]
	}
	if v, found = lastMatch(re, text); found || from == 0 {
		return v, found, nil
	}
	return askLastMatch(ctx, level, limit, pattern, f, info.Size())
}

// lastMatch is the value of the last match of a line that is a number. Lines end at
// a line feed or a carriage return, as those of progress bars do, and are without
// what colours them, so that ^ and $ are a line's ends.
func lastMatch(re *regexp.Regexp, text []byte) (float64, bool) {
	for len(text) > 0 {
		begin := bytes.LastIndexAny(text, "\r\n") + 1
		line := text[begin:]
		text = text[:max(0, begin-1)]
		if bytes.IndexByte(line, '\x1b') >= 0 {
			line = escapes.ReplaceAll(line, nil)
		}
		for _, m := range slices.Backward(re.FindAllSubmatch(line, -1)) {
			if v, err := strconv.ParseFloat(string(m[1]), 64); err == nil {
				return v, true
			}
		}
	}
	return 0, false
}

// escapes are control sequences of terminals: CSI, OSC, and those of two characters
// (ECMA-48).
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[@-Z\\\\-_])")

// instructions is the size of a pattern's program.
func instructions(pattern string) int64 {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 1 // it was compiled
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 1
	}
	return int64(len(program.Inst))
}

// matchName is the name by which this program is executed in a sandbox to look
// for a pattern, its argument, in the file output beside it.
const matchName = "ratchet-match"

// askLastMatch looks for a pattern in the whole of a file, in a sandbox.
func askLastMatch(ctx context.Context, level sandbox.Isolation, limit study.Duration, pattern string, f *os.File, size int64) (v float64, found bool, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, false, err
	}
	limit = min(limit, study.Duration(longestMatching))
	out, err := Ask(ctx, &sandbox.Spec{
		Command: []string{"./" + matchName, pattern}, Isolation: level, Inputs: []sandbox.Bind{{Source: program, Target: matchName}},
		Limits: study.AttemptLimits{
			Time: limit, Memory: study.Bytes(1<<30 + 2*size), CPUs: 1, Disk: study.Bytes(64<<20 + size), Output: 1 << 10, Processes: 64, Network: study.NetworkNone,
		},
	}, func(box string) error {
		copied, err := os.OpenFile(filepath.Join(box, sandbox.WorkFolder, "output"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(copied, io.NewSectionReader(f, 0, size))
		return errors.Join(err, copied.Close())
	})
	if err != nil {
		return 0, false, fmt.Errorf("looking for its pattern in %d bytes of output, for %v at most: %w", size, time.Duration(limit), err)
	}
	if len(out) == 0 {
		return 0, false, nil
	}
	v, err = strconv.ParseFloat(string(out), 64)
	return v, err == nil, err
}

// matchMain prints the value of the last match, or nothing.
func matchMain() int {
	if len(os.Args) != 2 {
		return 1
	}
	re, err := regexp.Compile(os.Args[1])
	if err != nil {
		return 1
	}
	text, err := os.ReadFile("output")
	if err != nil {
		return 1
	}
	if v, found := lastMatch(re, text); found {
		fmt.Print(strconv.FormatFloat(v, 'g', -1, 64))
	}
	return 0
}
