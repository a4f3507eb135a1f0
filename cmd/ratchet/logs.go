package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ratchet/internal/engine"
	"ratchet/internal/research"
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs RUN [TRIAL]",
		Short: "Print what the attempts of a run wrote",
		Args:  cobra.RangeArgs(0, 2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, nil, func(ctx context.Context, e *opened, run string) error {
				trial := ""
				if len(args) > 1 {
					trial = args[1]
				}
				ctx, done := a.interruptible(ctx)
				defer done()
				return a.logs(ctx, e, run, trial, follow)
			})
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as attempts write, until the run ends")
	return c
}

// logLine is one line of output in `ratchet logs --json`.
type logLine struct {
	Attempt string `json:"attempt"`
	Stream  string `json:"stream"`
	Text    string `json:"text"`
}

// logs prints every stream of every attempt, each from where it was left.
func (a *app) logs(ctx context.Context, e *opened, run, trial string, follow bool) error {
	printed := map[string]int64{}
	lines := []logLine{}
	found := false
	emit := func(l logLine) {
		switch {
		case a.json && follow: // it has no end to wait for: a document a line
			_ = json.NewEncoder(a.out).Encode(l) // a closed stdout is nobody's loss
			return
		case a.json:
			lines = append(lines, l)
			return
		}
		a.printf("%s %s  %s\n", l.Attempt, l.Stream, l.Text)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		s, _, err := e.Load(ctx, run)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		streams, err := e.Streams(s, trial)
		if err != nil {
			return err
		}
		found = found || len(streams) > 0
		for _, st := range streams {
			if err := printStream(st, printed, follow && !s.Ended() && st.Live, emit); err != nil {
				return err
			}
		}
		if !follow || s.Ended() {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	if trial != "" && !found {
		return usageError{fmt.Errorf("run %s has no output of a trial %q; `ratchet show %s` lists its experiments", run, trial, run)}
	}
	if a.json && !follow {
		a.printJSON(lines)
	}
	return nil
}

// printStream prints what is new of a stream. Of one that may still grow, a
// last line without its end is left for later.
func printStream(st engine.Stream, printed map[string]int64, growing bool, emit func(logLine)) error {
	r, err := st.Open()
	if errors.Is(err, os.ErrNotExist) {
		return nil // collected meanwhile: it is found in the store next time
	}
	if err != nil {
		return err
	}
	defer r.Close()
	key := st.Attempt + " " + st.Name
	if _, err := io.CopyN(io.Discard, r, printed[key]); err != nil {
		return nil
	}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && (err == nil || !growing) {
			printed[key] += int64(len(line))
			emit(logLine{st.Attempt, st.Name, research.Printable(strings.TrimRight(line, "\r\n"), 64<<10)})
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
