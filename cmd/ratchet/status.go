package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/internal/gateway"
	"ratchet/internal/home"
	"ratchet/internal/maintenance"
	"ratchet/internal/monitor"
	"ratchet/internal/report"
	"ratchet/internal/research"
)

// statusDocument is what `ratchet status --json` prints.
type statusDocument struct {
	Run       string               `json:"run"`
	Status    string               `json:"status"`
	Why       string               `json:"why,omitempty"`
	Stage     string               `json:"stage"`
	Driven    *home.DrivenError    `json:"driven_by"`
	Completed int                  `json:"experiments_done"`
	Planned   int                  `json:"experiments_planned"`
	Trials    int                  `json:"trials_done"`
	Failed    int                  `json:"trials_failed"`
	InFlight  []string             `json:"in_flight"`
	Best      *float64             `json:"best"`
	Began     time.Time            `json:"began"`
	Last      time.Time            `json:"last_event"`
	Seq       int64                `json:"seq"`
	Output    string               `json:"output"`
	Disk      *maintenance.DiskUse `json:"disk,omitempty"`
	At        int64                `json:"at,omitempty"` // the position that was asked for
	Origin    *ratchet.Origin      `json:"origin,omitempty"`
	// Health is nil where nobody drives the run.
	Health  *monitor.Health  `json:"health,omitempty"`
	Waiting string           `json:"waiting_for,omitempty"`
	Alerts  []research.Alert `json:"alerts"`
	// Models sums up the model calls of a run whose study allows them.
	Models *gateway.Summary `json:"models,omitempty"`
}

// models adds what the run's model calls come to as of now.
func (d *statusDocument) models(ctx context.Context, e *ratchet.Engine, s *ratchet.State) error {
	if s.Created.Study.Models == nil {
		return nil
	}
	l, err := e.Calls(ctx, d.Run)
	if err != nil {
		return err
	}
	sum := l.Summary("")
	d.Models = &sum
	return nil
}

func modelsText(m *gateway.Summary, s *ratchet.State) string {
	text := fmt.Sprintf("%d calls, %d tokens, %s", m.Calls, m.Spent.Tokens, gateway.Dollars(m.Spent.NanoUSD))
	if limit := s.SpendLimit().Cost; limit > 0 {
		text += " of " + limit.String()
	}
	if m.Again > 0 {
		text += fmt.Sprintf("; %d answers out of the record", m.Again)
	}
	if m.Refused > 0 {
		text += fmt.Sprintf("; %d refused", m.Refused)
	}
	return text
}

func statusOfState(e *ratchet.Engine, s *ratchet.State) statusDocument {
	d := statusDocument{
		Run: s.Created.Run, Status: string(s.Status), Why: s.Why, Stage: s.Stage, Driven: e.Driven(s.Created.Run),
		Completed: s.Frontier, Trials: s.Tally.Trials, Failed: s.Tally.Failed, InFlight: []string{},
		Began: s.Began, Last: s.Time, Seq: s.Seq, Output: e.Output(s), Origin: s.Origin,
	}
	if d.Alerts = append([]research.Alert{}, s.Alerts...); d.Driven != nil {
		if w, err := e.Watched(s.Created.Run); err == nil && w != nil && w.PID == d.Driven.PID {
			d.Health, d.Waiting = &w.Health, w.WaitingFor
		}
	}
	if s.Plan != nil {
		d.Planned = s.Plan.Experiments
	}
	if best := s.Best(); best != nil {
		d.Best = best.Value
	}
	for _, a := range s.Pending {
		d.InFlight = append(d.InFlight, a.ID)
	}
	return d
}

// word is the status of a run as a person would put it: one that nobody
// drives is not running.
func (d statusDocument) word() string {
	if d.Status == string(ratchet.Running) && d.Driven == nil && d.At == 0 {
		return "interrupted"
	}
	return d.Status
}

func (a *app) statusCommand() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Say where a run stands",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			unfinished := func(s *ratchet.State) bool { return !s.Ended() }
			return a.withAt(c, args, unfinished, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				s, _, err := e.LoadAt(ctx, run, at)
				if err != nil {
					return err
				}
				d := statusOfState(e, s)
				if d.At = at; at > 0 {
					d.Driven = nil // that is of now
				} else if err := d.models(ctx, e, s); err != nil {
					return err
				}
				if a.json {
					a.printJSON(d)
					return nil
				}
				a.printStatus(d, s)
				return nil
			})
		},
	}
	atFlag(c, &at)
	return c
}

func (a *app) printStatus(d statusDocument, s *ratchet.State) {
	now := time.Now()
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("run", "%s", d.Run)
	row("status", "%s%s", d.word(), inBrackets(d.Why))
	if d.Origin != nil {
		row("forked from", "%s at record %d", d.Origin.Run, d.Origin.Seq)
	}
	switch {
	case d.At > 0:
		row("as it was at", "record %d, %s", d.At, ago(d.Last, now))
	case d.Driven != nil:
		row("driven by", "process %d on %s, since %s", d.Driven.PID, d.Driven.Host, ago(d.Driven.Since, now))
	case !s.Ended():
		row("driven by", "nobody; `ratchet resume %s` goes on", d.Run)
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
	if best := s.Best(); best != nil {
		row("best", "%s %s in %s: %s", s.Created.Study.Objective.Metric, report.Number(*best.Value), best.Experiment, report.Parameters(best.Parameters))
	}
	if d.Models != nil {
		row("models", "%s", modelsText(d.Models, s))
	}
	row("began", "%s", ago(d.Began, now))
	if d.At == 0 {
		row("last event", "%d, %s", d.Seq, ago(d.Last, now))
	}
	if s.Ended() {
		row("report", "%s", shorter(d.Output))
	}
	_ = w.Flush()
}

func (a *app) listCommand() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the runs in this home",
		RunE: func(c *cobra.Command, _ []string) error {
			var runs []string
			e, err := a.open(false)
			if err == nil {
				defer e.Close()
				runs, err = e.Runs(c.Context())
			}
			if err != nil && !errors.As(err, new(*home.UnknownRunError)) { // no home is one without runs
				return err
			}
			documents := []statusDocument{}
			for _, run := range runs {
				s, _, err := e.Load(c.Context(), run)
				if err != nil {
					a.log.Error("a run cannot be read", "run", run, "error", err)
					a.status = exitDamaged
					documents = append(documents, statusDocument{Run: run, Status: "damaged", Why: err.Error(), InFlight: []string{}})
					continue
				}
				d := statusOfState(e, s)
				if verbose {
					use, err := e.DiskUse(c.Context(), run)
					if err != nil {
						a.log.Error("a run's objects cannot be counted", "run", run, "error", err)
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
				fmt.Fprintf(w, "%s\t%s\t%s\t%d of %d\t%d\t%s", d.Run, d.word(), d.Stage, d.Completed, d.Planned, d.Failed, ago(d.Began, time.Now()))
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
