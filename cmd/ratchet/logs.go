package main

import (
	"context"
	"encoding/json"
	"fmt"

	"ratchet"

	"github.com/spf13/cobra"
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs [RUN] [TRIAL]",
		Short: "Print what the attempts of a run wrote",
		Args:  cobra.RangeArgs(0, 2),
		RunE: func(c *cobra.Command, args []string) error {
			args = runFirst(args)
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
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

// logs prints the lines that attempts wrote.
func (a *app) logs(ctx context.Context, e *ratchet.Engine, run, trial string, follow bool) error {
	if d, err := e.Status(ctx, run); err == nil && !a.json {
		for _, r := range refusals(d.Refused) {
			fmt.Fprintf(a.err, "refused: %s\n", r)
		}
	}
	lines := []ratchet.LogLine{}
	for l, err := range e.Logs(ctx, run, trial, follow) {
		switch {
		case err != nil:
			return err
		case a.json && follow: // it has no end to wait for: a document a line
			_ = json.NewEncoder(a.out).Encode(l) // ignore write errors to a closed stdout
		case a.json:
			lines = append(lines, l)
		default:
			a.printf("%s %s  %s\n", l.Attempt, l.Stream, l.Text)
		}
	}
	if a.json && !follow {
		a.printJSON(lines)
	}
	return nil
}
