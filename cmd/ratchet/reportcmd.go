package main

import (
	"context"
	"path/filepath"
	"time"

	"ratchet"

	"github.com/spf13/cobra"
)

func (a *app) reportCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Write a run's report anew and print its results",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAt(c, args, likely, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				// The folder has the run as it is: another time's is only printed.
				if at == 0 {
					if err := e.Publish(ctx, run); err != nil {
						return err
					}
				}
				r, err := e.ResultsAt(ctx, run, at)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(r)
					return nil
				}
				s, err := e.StatusAt(ctx, run, at)
				if err != nil {
					return err
				}
				if at > 0 {
					a.printf("As it was at record %d, %s\n", at, ago(s.Last, time.Now()))
				}
				a.printResults(r, s)
				if !s.Ended() && at == 0 {
					a.printf("The run has not ended; what there is so far is in %s\n", filepath.Join(shorter(s.Output), "report.html"))
				}
				return nil
			})
		},
	}
	atFlag(c, &at)
	return c
}
