package main

import (
	"fmt"
	"path/filepath"

	"ratchet"

	"github.com/spf13/cobra"
)

func (a *app) attemptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "attempt FOLDER",
		Short: "Run one attempt from its folder alone, as a cluster's node does",
		Long: `Runs the attempt that FOLDER/job.json describes to its end, within its walls and
limits, and leaves its outcome in FOLDER/outcome.json and what is kept of it in
FOLDER/objects. It needs no home and no engine. SIGTERM stops the attempt with
the grace of its limits. Called again, it attaches, or says what came of it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, done := a.interruptible(c.Context())
			defer done()
			out, err := ratchet.RunAttempt(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				a.printJSON(out)
				return nil
			}
			ended := "it was lost"
			switch {
			case out.SetUp != "":
				ended = "it could not be started: " + out.SetUp
			case out.EndedBy != "":
				ended = "it was ended: " + out.EndedBy
			case out.Signal != "":
				ended = "it was ended by a signal: " + out.Signal
			case !out.Lost:
				ended = fmt.Sprintf("it ended with status %d", out.Exit)
			}
			a.printf("%s; its outcome is in %s\n", ended, filepath.Join(args[0], "outcome.json"))
			return nil
		},
	}
}
