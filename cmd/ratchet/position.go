package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"ratchet"

	"github.com/spf13/cobra"
)

func (a *app) checkpointsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoints [RUN]",
		Short: "List the named positions in a run's journal",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
				points, err := e.Checkpoints(ctx, run)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(points)
					return nil
				}
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "RECORD\tNAME\tKIND\tSTAGE\tTIME\tSTATE")
				now := time.Now()
				for _, p := range points {
					kind := p.Kind
					if p.Superseded {
						kind += ", superseded"
					}
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%.12s\n", p.Seq, p.Name, kind, p.Stage, ago(p.Time, now), p.Digest)
				}
				return w.Flush()
			})
		},
	}
}

func (a *app) checkpointCommand() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "checkpoint [RUN [NAME]]",
		Short: "Give the run's position as of now a name",
		Args:  cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if len(args) > 1 {
					if name != "" && name != args[1] {
						return usageError{fmt.Errorf("the checkpoint has two names, %q and %q; keep one", args[1], name)}
					}
					name = args[1]
				}
				name, err := e.MakeCheckpoint(ctx, run, name, me())
				if err != nil {
					return err
				}
				seq, err := e.Locate(ctx, run, name)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(map[string]any{"run": run, "name": name, "seq": seq})
					return nil
				}
				a.printf("record %d of run %s is the checkpoint %s\n", seq, run, name)
				return nil
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "the checkpoint's name (default manual-N)")
	return c
}

func (a *app) rollbackCommand() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "rollback RUN --to X",
		Short: "Let a run go on from an earlier position; what came after stays in its journal",
		Long: `Lets a run go on from an earlier position: a record's number, a checkpoint, or
a time. What came after stays in the journal, marked as superseded, and the run
can be rolled forward to it again. Trials that were begun after the position run
anew; time and money that were spent stay spent.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" {
				return usageError{errors.New("to where? --to takes a record's number, a checkpoint or a time; `ratchet checkpoints RUN` lists them")}
			}
			return a.withAt(c, args, named, &to, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				err := e.Rollback(ctx, run, at, me())
				if is[*ratchet.DrivenError](err) {
					return usageError{fmt.Errorf("%w; `ratchet pause %s` first", err, run)}
				}
				if err != nil {
					return err
				}
				s, err := e.Status(ctx, run)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(map[string]any{"run": run, "to": at, "seq": s.Seq, "status": s.Status, "stage": s.Stage})
					return nil
				}
				a.printf("run %s stands as it did at record %d", run, at)
				if s.Ended() {
					a.printf(": %s\n", s.Status)
				} else {
					a.printf("; `ratchet resume %s` goes on from there\n", run)
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "a record's number, a checkpoint, or a time")
	return c
}

func (a *app) forkCommand() *cobra.Command {
	var at string
	var experiments int
	var o ratchet.ForkOptions
	c := &cobra.Command{
		Use:   "fork RUN [--at X] [--set KEY=VALUE …]",
		Short: "Start a new run that has another's past up to a position",
		Long: `Starts a new run that has another's past up to a position and shares its
artifacts; nothing is copied. --set changes the study from there on, like
--set limits.run.cost=10USD, --set search.experiments=80, --set parallel=4, or
--set 'hypotheses=[{id: …, claim: …, compare: …, expect: …}]', which are added.
What would make results untrue that the fork shares is refused.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAt(c, args, named, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				if experiments > 0 {
					o.Set = append(o.Set, fmt.Sprintf("search.experiments=%d", experiments))
				}
				o.At, o.By = at, me()
				fork, err := e.Fork(ctx, run, o)
				if err != nil {
					return err
				}
				s, err := e.Status(ctx, fork)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(map[string]any{"run": fork, "origin": s.Origin, "seq": s.Seq, "status": s.Status})
					return nil
				}
				a.printf("run %s begins as run %s was at record %d", fork, run, s.Origin.Seq)
				if s.Ended() {
					a.printf(": %s\n", s.Status)
				} else {
					a.printf("; `ratchet resume %s` goes on\n", fork)
				}
				return nil
			})
		},
	}
	atFlag(c, &at)
	c.Flags().StringArrayVar(&o.Set, "set", nil, "change a key of the study from there on, as KEY=VALUE")
	c.Flags().IntVar(&experiments, "experiments", 0, "the same as --set search.experiments=N")
	c.Flags().StringVar(&o.Output, "output-dir", "", "folder of the fork's report (default results/RUN)")
	return c
}
