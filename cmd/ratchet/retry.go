package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/internal/research"
)

func (a *app) retryCommand() *cobra.Command {
	var o ratchet.RetryOptions
	var interrupt string
	c := &cobra.Command{
		Use:   "retry RUN [EXPERIMENT|TRIAL…]",
		Short: "Try failed trials of a run again, once what made them fail is mended",
		Long: `Tries failed trials again in the same run, all of them unless some are named,
and goes on from there: what depends on them (the best configuration, comparisons,
verdicts, the report) is decided anew. Who asked for it and why is on record and
in the report; what was concluded before can be read with --at.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if interrupt != ratchet.Leave && interrupt != ratchet.Stop {
				return usageError{fmt.Errorf("--on-interrupt is %q; it is leave or stop", interrupt)}
			}
			if len(args) > 0 {
				o.Names = args[1:]
			}
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
				o.By = me()
				trials, err := e.Retry(ctx, run, o)
				if is[*ratchet.DrivenError](err) {
					return usageError{fmt.Errorf("%w; `ratchet pause %s` first", err, run)}
				}
				if err != nil {
					return err
				}
				if !a.quiet {
					fmt.Fprintf(a.err, "%s of run %s will be tried again\n", research.Counted(len(trials), "failed trial"), run)
				}
				return a.drive(ctx, e, run, ratchet.DriveOptions{OnInterrupt: interrupt})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Why, "why", "", "what was mended, for the record and the report")
	f.BoolVar(&o.AcceptInputs, "accept-inputs", false, "try them with inputs that have changed since")
	f.StringVar(&interrupt, "on-interrupt", ratchet.Leave, "what an interrupt does to running attempts: leave them, to be picked up by resume, or stop them")
	return c
}
