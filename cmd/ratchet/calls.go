package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/research"
	"ratchet/study"
)

func (a *app) callsCommand() *cobra.Command {
	var diff bool
	c := &cobra.Command{
		Use:   "calls [RUN]",
		Short: "Show the model calls of a run: what was asked, what it cost, what came out of the record",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if diff {
					diffs, err := e.CallDiffs(ctx, run)
					if err == nil {
						a.printDiffs(diffs)
					}
					return err
				}
				calls, err := e.Calls(ctx, run)
				if err == nil {
					a.printCalls(calls)
				}
				return err
			})
		},
	}
	c.Flags().BoolVar(&diff, "diff", false, "show what made requests of a later attempt differ from those on record")
	return c
}

func (a *app) printCalls(d ratchet.Calls) {
	if a.json {
		a.printJSON(d)
		return
	}
	sum := d.Summary
	if len(d.Calls)+len(d.Refused) == 0 {
		a.printf("the run has made no model calls\n")
		return
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CALL\tTIME\tATTEMPT\tMODEL\tIN\tOUT\tCOST\tTOOK\tREPLAYED\tOUTCOME")
	for _, c := range d.Calls {
		in, out := "-", "-"
		if c.Status == "answered" {
			in, out = fmt.Sprint(c.In), fmt.Sprint(c.Out)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f s\t%d\t%s\n", c.Call, c.Time.Local().Format("15:04:05"), c.Attempt, research.Printable(c.Model, 60),
			in, out, study.Dollars(c.USD)+map[bool]string{true: ", estimated"}[c.Estimated], c.Seconds, c.Replayed, outcome(c))
	}
	_ = w.Flush() // ignore write errors: the reader may be gone
	for _, r := range d.Refused {
		a.printf("refused at %s in attempt %s: %s\n", r.Time.Local().Format("15:04:05"), r.Attempt, r.Why)
	}
	a.printf("\n%s sent, %d tokens, %s", research.Counted(sum.Calls, "call"), sum.Spent.Tokens, study.Dollars(sum.Spent.USD()))
	if sum.Again > 0 {
		a.printf("; %s out of the record saved %s", research.Counted(sum.Again, "answer"), study.Dollars(sum.Saved.USD()))
	}
	a.printf("\n")
	if sum.Lost > 0 {
		a.printf("%s a call was in flight at a crash and may have been paid for twice; it is counted as such\n", often(sum.Lost))
	}
}

// often is how often something was.
func often(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// outcome is how a call ended, for a person.
func outcome(d ratchet.Call) string {
	s := d.Status
	if d.HTTPStatus >= 300 {
		s = fmt.Sprintf("%s %d", s, d.HTTPStatus)
	}
	if n := len(d.Retries); n > 0 {
		s += fmt.Sprintf(", tried %d times", n+1)
	}
	if d.Lost > 0 {
		s += ", lost " + often(d.Lost) + " before"
	}
	if d.Why != "" {
		s += ": " + strings.TrimSpace(d.Why)
	}
	return research.Printable(s, 120)
}

func (a *app) printDiffs(diffs []ratchet.CallDiff) {
	if a.json {
		a.printJSON(append([]ratchet.CallDiff{}, diffs...))
		return
	}
	if len(diffs) == 0 {
		a.printf("no request of a later attempt was new where others were on record\n")
	}
	for _, d := range diffs {
		a.printf("call %s of attempt %s was new; on record and not asked for again was %s of attempt %s. They differ in:\n", d.Call, d.Attempt, d.Nearest, d.Of)
		for _, c := range d.Changes {
			a.printf("  %s\n    was %s\n    is  %s\n", c.At, c.Was, c.Is)
		}
	}
}
