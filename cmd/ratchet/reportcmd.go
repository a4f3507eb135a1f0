package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"ratchet"
)

func (a *app) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report [RUN]",
		Short: "Write a run's report anew and print its results",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, nil, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if err := e.Publish(ctx, run); err != nil {
					return err
				}
				r, err := e.Results(ctx, run)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(r)
					return nil
				}
				s, _, err := e.Load(ctx, run)
				if err != nil {
					return err
				}
				a.printResults(r, s.Created.Output)
				if !s.Ended() {
					a.printf("The run has not ended; what there is so far is in %s\n", filepath.Join(shorter(s.Created.Output), "report.html"))
				}
				return nil
			})
		},
	}
}
