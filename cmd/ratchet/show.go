package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

func (a *app) showCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "show [RUN] [EXPERIMENT]",
		Short: "Show a run's experiments, or one experiment with its trials",
		Args:  cobra.RangeArgs(0, 2),
		RunE: func(c *cobra.Command, args []string) error {
			args = runFirst(args)
			return a.withAt(c, args, likely, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				r, err := e.ResultsAt(ctx, run, at)
				if err != nil {
					return err
				}
				if len(args) < 2 {
					return a.showRun(r)
				}
				for _, x := range r.Experiments {
					if x.ID == args[1] {
						return a.showExperiment(r, x)
					}
				}
				return usageError{fmt.Errorf("run %s has no experiment %q; `ratchet show %s` lists them", run, args[1], run)}
			})
		},
	}
	atFlag(c, &at)
	return c
}

// partForm is the form of an experiment's id, a trial's or an attempt's.
var partForm = regexp.MustCompile(`^e\d{4,}(-[0-9a-f]{10}(-a\d+)?)?$`)

// runFirst puts an empty name of a run in front of arguments that name a part of one
// alone: with leaves no doubt which run is meant, or says so.
func runFirst(args []string) []string {
	if len(args) == 1 && partForm.MatchString(args[0]) {
		return []string{"", args[0]}
	}
	return args
}

func (a *app) showRun(r *report.Results) error {
	if a.json {
		a.printJSON(r)
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	weighed := r.Weighed()
	fmt.Fprintf(w, "EXPERIMENT\t%s\tTRIALS\tPARAMETERS\n", strings.Join(printables(weighed), "\t"))
	for _, x := range r.Experiments {
		values := slices.Repeat([]string{"–"}, len(weighed))
		if x.Value != nil {
			values[0] = report.Number(*x.Value)
			for i, name := range weighed {
				if v, ok := x.Means[name]; ok {
					values[i] = report.Number(v)
				}
			}
		}
		good := 0
		for _, t := range x.Trials {
			if t.Outcome == "succeeded" {
				good++
			}
		}
		parameters := report.Parameters(x.Parameters)
		if x.Repeats != "" {
			parameters += ", measured again after " + x.Repeats
		}
		switch {
		case x.Excess > 0:
			parameters += " (breaks a constraint)"
		case r.Front != nil && slices.Contains(r.Front.Search, x.ID):
			parameters += " (on the front)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\n", x.ID, strings.Join(values, "\t"), good, len(x.Trials), parameters)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if how := r.HowSearched(); how != "" {
		a.printf("\n%s\n", how)
	}
	if len(r.Importance) > 0 && r.Importance[0].Share > 0 {
		a.printf("\n")
		fmt.Fprintln(w, "PARAMETER\tEXPLAINS\tBETWEEN\tWITH OTHERS")
		for _, i := range r.Importance {
			fmt.Fprintf(w, "%s\t%.0f %%\t%.0f and %.0f %%\t%.0f %%\n", i.Parameter, 100*i.Share, 100*i.Low, 100*i.High, 100*i.Total)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for i, c := range r.Code() {
		a.printf("%scode of %s: %s\n", map[bool]string{true: "\n"}[i == 0], map[bool]string{true: "the study", false: c.Folder}[c.Folder == "."], c.Text())
	}
	return nil
}

func printables(names []string) (out []string) {
	for _, n := range names {
		out = append(out, research.Printable(n, 100))
	}
	return out
}

func (a *app) showExperiment(r *report.Results, x report.Experiment) error {
	if a.json {
		a.printJSON(x)
		return nil
	}
	a.printf("%s of run %s\n%s\n\n", x.ID, r.Run, report.Parameters(x.Parameters))
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TRIAL\tFOR\tSEED\tATTEMPTS\tOUTCOME\tMETRICS\tEVIDENCE")
	for _, t := range x.Trials {
		outcome := t.Outcome
		if outcome == "" {
			outcome = "not complete"
		}
		if t.Halted > 0 {
			outcome += fmt.Sprintf(", halted at step %d", t.Halted)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%.12s\n", t.ID, t.Purpose, t.Seed, t.Attempts, outcome, report.Metrics(t.Metrics), t.Evidence)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	before := "\n"
	for _, t := range x.Trials {
		if len(t.Reported) > 0 {
			a.printf("%s%s: reported by the program, and not what counts: %s\n", before, t.ID, report.Metrics(t.Reported))
			before = ""
		}
		for _, n := range t.Notes {
			a.printf("%s%s: %s\n", before, t.ID, n)
			before = ""
		}
	}
	for _, f := range r.Failures {
		for _, t := range x.Trials {
			if f.Trial == t.ID {
				a.printFailure(f)
			}
		}
	}
	return nil
}

// printFailure says all that is known of an attempt that failed.
func (a *app) printFailure(f report.Failure) {
	known := ""
	if f.Pattern != "" {
		known = " (recognised as " + f.Pattern + ")"
	}
	a.printf("\n%s, attempt %d: %s%s: %s\n", f.Trial, f.Attempt, f.Class, known, f.Message)
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "  "+name+"\t"+format+"\n", args...) }
	if len(f.Command) > 0 {
		row("command", "%s", research.Printable(strings.Join(f.Command, " "), 500))
	}
	end := fmt.Sprintf("exit status %d", f.Exit)
	if f.Signal != "" {
		end = f.Signal
	}
	row("ended", "with %s, on %s", end, f.Host)
	if f.Limits != nil {
		row("used", "%s of processor time; memory %s of %s, disk %s of %s, time %s of %s", report.Span(f.Usage.CPU),
			study.Bytes(f.Usage.Memory), f.Limits.Memory, study.Bytes(f.Usage.Disk), f.Limits.Disk, report.Span(f.Usage.Wall), f.Limits.Time)
	}
	for i, line := range strings.Split(f.Words, "\n") {
		if line != "" {
			row(map[bool]string{true: "said"}[i == 0], "%s", line)
		}
	}
	switch {
	case f.Next != "":
		row("then", "%s", f.Next)
	case f.Final && f.Why != "":
		row("then", "given up: %s", f.Why)
	}
	_ = w.Flush()
}
