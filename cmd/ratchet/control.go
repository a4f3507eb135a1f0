package main

import (
	"context"
	"errors"
	"os/user"

	"ratchet"

	"github.com/spf13/cobra"
)

// me is who asks, for the journal.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "somebody"
}

func (a *app) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [RUN]",
		Short: "Begin nothing new; stop when the running attempts have ended",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if e.Driven(run) == nil {
					return usageError{errors.New("run " + run + " is not driven, so there is nothing to pause; `ratchet resume` continues it")}
				}
				if err := e.Request(ctx, run, ratchet.PauseRequested{By: me()}); err != nil {
					return err
				}
				return a.said(run, "pause requested", "run %s begins nothing new, and pauses when its running attempts have ended; `ratchet resume %s` goes on\n", run, run)
			})
		},
	}
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel [RUN]",
		Short: "Stop the running attempts and end the run for good",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if err := e.Request(ctx, run, ratchet.CancelRequested{By: me()}); err != nil {
					return err
				}
				// If no process drives the run, this one ends it.
				if _, err := e.Resume(ctx, run, ratchet.DriveOptions{}); err != nil && !is[*ratchet.DrivenError](err) {
					return err
				}
				return a.said(run, "cancel requested", "run %s is cancelled; what it found so far stays in its journal\n", run)
			})
		},
	}
}

func (a *app) said(run, done, format string, args ...any) error {
	if a.json {
		a.printJSON(map[string]string{"run": run, "done": done})
		return nil
	}
	a.printf(format, args...)
	return nil
}
