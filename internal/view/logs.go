package view

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/research"
)

// LogLine is a line that an attempt wrote: an element of `ratchet logs --json`.
type LogLine struct {
	Attempt string `json:"attempt"`
	Stream  string `json:"stream"` // stdout or stderr
	Text    string `json:"text"`   // without its end, secrets, and what a terminal would obey
}

// UnknownTrialError says that no trial or experiment of a name has written anything.
type UnknownTrialError struct{ Run, Trial string }

func (u *UnknownTrialError) Error() string {
	return fmt.Sprintf("run %s has no output of a trial %q; `ratchet show %s` lists its experiments", u.Run, u.Trial, u.Run)
}

const (
	looking  = 200 * time.Millisecond // between two looks at what grows
	mostLine = 64 << 10
)

// Logs are the lines that the attempts of a run wrote, attempt by attempt in the
// order of the journal: of all trials, or of those of an experiment or whose ids
// begin like trial. With follow they go on as attempts write, until the run or ctx
// ends. A name that none has is an UnknownTrialError.
func Logs(ctx context.Context, e *engine.Engine, run, trial string, follow bool) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		l := logs{run: run, trial: trial, follow: follow, read: map[string]int64{}}
		if err := l.print(ctx, e, yield); err != nil && !errors.Is(err, errEnough) {
			yield(LogLine{}, err)
		}
	}
}

// errEnough stops the iteration: the caller wants no more lines.
var errEnough = errors.New("enough")

// logs are the outputs of a run while they are read.
type logs struct {
	run, trial string
	follow     bool
	found      bool
	read       map[string]int64 // how many bytes of each stream were yielded
}

func (l *logs) print(ctx context.Context, e *engine.Engine, yield func(LogLine, error) bool) error {
	tick := time.NewTicker(looking)
	defer tick.Stop()
	for {
		s, _, err := e.Load(ctx, l.run)
		if err != nil {
			return unless(ctx, err)
		}
		streams, err := e.Logs(s, l.trial)
		if err != nil {
			return err
		}
		l.found = l.found || len(streams) > 0
		for _, st := range streams {
			if err := l.stream(st, l.follow && !s.Ended() && st.Live, yield); err != nil {
				return err
			}
		}
		if !l.follow || s.Ended() {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	if l.trial != "" && !l.found {
		return &UnknownTrialError{l.run, l.trial}
	}
	return nil
}

// unless is no error if ctx has ended.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// stream yields what is new of a stream. Of one that may still grow, a last line
// without its end is left for later.
func (l *logs) stream(st engine.Log, growing bool, yield func(LogLine, error) bool) error {
	r, err := st.Open()
	if errors.Is(err, os.ErrNotExist) {
		return nil // collected meanwhile: it is found in the store next time
	}
	if err != nil {
		return err
	}
	defer r.Close()
	key := st.Attempt + " " + st.Name
	if _, err := io.CopyN(io.Discard, r, l.read[key]); err != nil {
		return nil // shorter than it was: collected meanwhile
	}
	lines := bufio.NewReaderSize(r, mostLine)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && (err == nil || !growing) {
			l.read[key] += int64(len(line))
			if !yield(LogLine{st.Attempt, st.Name, research.Printable(strings.TrimRight(line, "\r\n"), mostLine)}, nil) {
				return errEnough
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
