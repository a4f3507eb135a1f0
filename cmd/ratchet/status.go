package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

func modelsText(m *ratchet.ModelSummary, limit study.Money) string {
	text := fmt.Sprintf("%s, %d tokens, %s", research.Counted(m.Calls, "call"), m.Spent.Tokens, study.Dollars(m.Spent.USD()))
	if limit > 0 {
		text += " of " + limit.String()
	}
	if m.Again > 0 {
		text += fmt.Sprintf("; %s out of the record", research.Counted(m.Again, "answer"))
	}
	if m.Refused > 0 {
		text += fmt.Sprintf("; %d refused", m.Refused)
	}
	return text
}

// mostShown is how many refusals are shown.
const mostShown = 5

// refusals are what programs asked for and did not get, a line each.
func refusals(all []ratchet.Refusal) (out []string) {
	for i, r := range all {
		if i == mostShown {
			return append(out, fmt.Sprintf("and %d more; `ratchet calls` lists all", len(all)-i))
		}
		text := r.Why
		if r.Times > 1 {
			text = fmt.Sprintf("%d times: %s", r.Times, r.Why)
		}
		out = append(out, text)
	}
	return out
}

func (a *app) statusCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Say where a run stands",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAt(c, args, likely, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				d, err := e.StatusAt(ctx, run, at)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(d)
					return nil
				}
				a.printStatus(d)
				return nil
			})
		},
	}
	atFlag(c, &at)
	return c
}

func (a *app) printStatus(d ratchet.Status) {
	now := time.Now()
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("run", "%s", d.Run)
	row("status", "%s%s", d.Word(), inBrackets(d.Why))
	for _, r := range refusals(d.Refused) {
		row("refused", "%s", r)
	}
	if d.Origin != nil {
		row("forked from", "%s at record %d", d.Origin.Run, d.Origin.Seq)
	}
	switch {
	case d.At > 0:
		row("as it was at", "record %d, %s", d.At, ago(d.Last, now))
	case d.Driven != nil:
		row("driven by", "process %d on %s, since %s", d.Driven.PID, d.Driven.Host, ago(d.Driven.Since, now))
	case !d.Ended():
		row("driven by", "no process; `ratchet resume %s` continues it", d.Run)
	}
	if h := d.Health; h != nil {
		why := ""
		if len(h.Reasons) > 0 {
			why = inBrackets(h.Reasons[0].Why)
		}
		row("health", "%s, %d of 100%s", h.State, h.Score, why)
	}
	for _, al := range d.Alerts {
		row("alert", "%s: %s", al.Severity, al.Text)
	}
	row("stage", "%s", d.Stage)
	row("experiments", "%d of %d", d.Completed, d.Planned)
	row("trials", "%d complete, %d of them failed", d.Trials, d.Failed)
	if len(d.InFlight) > 0 {
		row("in flight", "%d", len(d.InFlight))
	}
	if d.Waiting != "" {
		row("waiting", "%s", d.Waiting)
	}
	switch {
	case d.Best == nil:
	case len(d.Objectives) > 0:
		row("compromise", "%s: %s", d.BestExperiment, report.Parameters(d.BestParameters))
	default:
		row("best", "%s %s in %s: %s", d.Objective, report.Number(*d.Best), d.BestExperiment, report.Parameters(d.BestParameters))
	}
	for i, line := range frontLines(d) {
		row(map[bool]string{true: "front"}[i == 0], "%s", line)
	}
	if e := d.Expected; e != nil {
		row("expected", "%s", e.Text(d.Objective, len(d.Objectives) > 0))
	}
	if d.Models != nil {
		row("models", "%s", modelsText(d.Models, d.CostLimit))
	}
	row("began", "%s", ago(d.Began, now))
	if d.At == 0 {
		row("last event", "%d, %s", d.Seq, ago(d.Last, now))
	}
	if d.Ended() {
		row("report", "%s", shorter(d.Output))
	}
	_ = w.Flush()
}

// mostOfFront is how many experiments of a front are printed.
const mostOfFront = 8

// frontLines are the experiments of a front, by their first objective; of many, some spread
// evenly.
func frontLines(d ratchet.Status) (out []string) {
	front := slices.Clone(d.Front)
	slices.SortStableFunc(front, func(a, b ratchet.FrontPoint) int { return cmp.Compare(a.Means[0], b.Means[0]) })
	for i, p := range front {
		if n := len(front); n > mostOfFront && i*(mostOfFront-1)/(n-1) == (i-1)*(mostOfFront-1)/(n-1) && i > 0 {
			continue
		}
		var parts []string
		for k, name := range d.Objectives {
			parts = append(parts, research.Printable(name, 100)+" "+report.Number(p.Means[k]))
		}
		out = append(out, fmt.Sprintf("%s in %s: %s", strings.Join(parts, ", "), p.Experiment, report.Parameters(p.Parameters)))
	}
	if n := len(front) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("and %d more between them", n))
	}
	return out
}

func (a *app) listCommand() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the runs in this home",
		RunE: func(c *cobra.Command, _ []string) error {
			var runs []ratchet.Status
			e, err := a.open(false)
			if err == nil {
				defer e.Close()
				runs, err = e.List(c.Context())
			}
			if err != nil && !errors.As(err, new(*ratchet.UnknownRunError)) { // no home is one without runs
				return err
			}
			documents := []ratchet.Status{}
			for _, d := range runs {
				if d.Status == ratchet.Damaged {
					a.log.Error("a run cannot be read", "run", d.Run, "error", d.Why)
					a.status = exitDamaged
				} else if verbose {
					use, err := e.DiskUse(c.Context(), d.Run)
					if err != nil {
						a.log.Error("a run's objects cannot be counted", "run", d.Run, "error", err)
						a.status = exitDamaged
					}
					d.Disk = &use
				}
				documents = append(documents, d)
			}
			if a.json {
				a.printJSON(documents)
				return nil
			}
			if len(documents) == 0 {
				a.printf("no runs yet; `ratchet run STUDY.yaml` starts one\n")
				return nil
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "RUN\tSTATUS\tSTAGE\tEXPERIMENTS\tFAILED\tBEGAN%s\n", map[bool]string{true: "\tOBJECTS\tSTORED\tFOLDER"}[verbose])
			for _, d := range documents {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d of %d\t%d\t%s", d.Run, d.Word(), d.Stage, d.Completed, d.Planned, d.Failed, ago(d.Began, time.Now()))
				if d.Disk != nil {
					fmt.Fprintf(w, "\t%d\t%s\t%s", d.Disk.Objects, amount(d.Disk.Stored), amount(d.Disk.Folder))
				}
				fmt.Fprintln(w)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "also what each run takes of the disk: its objects, and its own folder")
	return c
}
