package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/monitor"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health [RUN]",
		Short: "Say how well a run and its machine are, and why",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
				d, err := e.Health(ctx, run)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(d)
					return nil
				}
				a.printHealth(d)
				return nil
			})
		},
	}
}

func (a *app) printHealth(d ratchet.Health) {
	now := time.Now()
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("run", "%s, %s", d.Run, d.Word)
	h := d.Health
	if d.Driven != nil {
		row("health", "%s, %d of 100, since %s", a.healthWord(h.State), h.Score, ago(h.Since, now))
	} else {
		row("health", "the run is not driven now; when it was, %s, its health was %d of 100", ago(d.Sample.Time, now), h.Score)
	}
	for _, r := range h.Reasons {
		row("", "−%d of %d  %s: %s", r.Lost, r.Of, r.Component, r.Why)
	}
	m := d.Sample
	row("machine", "%s", machineLine(m))
	for _, disk := range m.Disks {
		row("disk", "%s: %.0f %% full, %s free (%s)", disk.What, 100*disk.Share(), amount(disk.Free), shorter(disk.Path))
	}
	if len(m.GPUs) == 0 {
		row("GPUs", "absent: %s", m.NoGPUs)
	}
	for _, g := range m.GPUs {
		row(fmt.Sprintf("GPU %d", g.Index), "%s", gpuLine(g))
	}
	waits := ""
	if m.Waiting > 0 {
		waits = fmt.Sprintf(", %d wait (%s)", m.Waiting, d.WaitingFor)
	}
	row("attempts", "%d run, at most %d do%s", len(m.Attempts), m.Parallel, waits)
	for _, t := range m.Attempts {
		row("", "%s  processors %.2f, memory %s of %s, disk %s, %s%s", t.ID, t.CPURate, study.Bytes(t.Memory), study.Bytes(t.MemoryLimit), study.Bytes(t.Disk), processes(t.Processes), quiet(t, m.Time))
	}
	for _, f := range d.Forecasts {
		row("forecast", "%s", f.Text)
	}
	if r := d.Risk; r != nil {
		word := "the parameters say when a trial fails"
		if !r.Tells() {
			word = "the parameters do not say when a trial fails"
		}
		row("risk", "%s: Brier score %.3f over %d trials, %.3f for always saying %.0f %%", word, r.Brier, r.N, r.Base, 100*float64(r.Failed)/float64(r.N))
	}
	for _, p := range d.Dependencies {
		why := "answers"
		if p.Failures > 0 {
			why = fmt.Sprintf("failed %s since %s: %s: %s", often(p.Failures), ago(p.Since, now), p.Class, p.Why)
		}
		row("depends on", "%s: breaker %s, %s", p.Name, p.Breaker, why)
	}
	if d.LastBackup != nil {
		row("last backup", "%s", ago(*d.LastBackup, now))
	}
	row("engine", "%s", engineLine(m.Engine))
	for _, al := range d.Alerts {
		row("alert", "%s: %s (%s)", al.Severity, al.Text, ago(al.Time, now))
	}
	_ = w.Flush()
}

func (a *app) healthWord(state string) string {
	switch state {
	case monitor.Healthy:
		return a.good(state)
	case monitor.Degraded, monitor.Critical:
		return a.bad(state)
	}
	return state
}

func machineLine(m monitor.Sample) string {
	var parts []string
	if m.CPU != nil {
		parts = append(parts, fmt.Sprintf("processors %.0f %% busy", 100**m.CPU))
	}
	if m.Memory != nil {
		parts = append(parts, fmt.Sprintf("memory %.0f %% of %s used", 100*m.Memory.Share(), amount(m.Memory.Total)))
	}
	if m.Read != nil && m.Write != nil {
		parts = append(parts, fmt.Sprintf("disks read %s/s, write %s/s", amount(int64(*m.Read)), amount(int64(*m.Write))))
	}
	if p := m.Pressure; p != nil {
		parts = append(parts, fmt.Sprintf("waits for processors %.0f %%, memory %.0f %%, disks %.0f %% of the time", 100*p.CPU, 100*p.Memory, 100*p.IO))
	}
	return strings.Join(parts, ", ")
}

func gpuLine(g monitor.GPU) string {
	parts := []string{g.Name}
	if g.Use != nil {
		parts = append(parts, fmt.Sprintf("%.0f %% busy", 100**g.Use))
	}
	if g.MemoryUsed != nil && g.MemoryTotal != nil {
		parts = append(parts, fmt.Sprintf("memory %s of %s", amount(*g.MemoryUsed), amount(*g.MemoryTotal)))
	}
	if g.Temperature != nil {
		parts = append(parts, fmt.Sprintf("%.0f °C", *g.Temperature))
	}
	if g.ECCErrors != nil && *g.ECCErrors > 0 {
		parts = append(parts, fmt.Sprintf("%d uncorrected memory errors", *g.ECCErrors))
	}
	parts = append(parts, processes(len(g.Processes)))
	return strings.Join(parts, ", ")
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

func engineLine(s monitor.Self) string {
	line := research.Counted(s.Goroutines, "goroutine")
	if s.Descriptors != nil {
		line += fmt.Sprintf(", %d open files", *s.Descriptors)
	}
	if s.Memory != nil {
		line += ", " + amount(*s.Memory)
	}
	return line
}

func quiet(t monitor.Attempt, now time.Time) string {
	if q := t.Quiet(now); q > 10*time.Second {
		return ", no sign of life for " + report.Span(q.Seconds())
	}
	return ""
}

func (a *app) alertsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts [RUN]",
		Short: "List the alerts of a run: what is raised, and what is over",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
				list, err := e.Alerts(ctx, run)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(list)
					return nil
				}
				if len(list) == 0 {
					a.printf("none\n")
					return nil
				}
				now := time.Now()
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "SEVERITY\tRULE\tRAISED\tOVER\tWHAT")
				for _, l := range list {
					over := "raised"
					if l.Resolved != nil {
						over = "after " + report.Span(l.Resolved.Sub(l.Time).Seconds())
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Severity, l.Rule, ago(l.Time, now), over, l.Text)
				}
				return w.Flush()
			})
		},
	}
	return c
}

func (a *app) silenceCommand() *cobra.Command {
	var length string
	c := &cobra.Command{
		Use:   "silence RULE [RUN]",
		Short: "Mute the notifications of a rule for a while; \"*\" is every rule",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := study.ParseDuration(length)
			if err != nil {
				return usageError{fmt.Errorf("--for: %w", err)}
			}
			return a.with(c, args[1:], active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				until := time.Now().UTC().Add(time.Duration(d)).Truncate(time.Second)
				if err := e.Request(ctx, run, ratchet.AlertsSilenced{Rule: args[0], Until: until, By: me()}); err != nil {
					return err
				}
				return a.said(run, "silenced", "notifications of %q are muted until %s; its alerts are still raised and listed\n", args[0], until.Local().Format("2006-01-02 15:04:05"))
			})
		},
	}
	c.Flags().StringVar(&length, "for", "1h", "how long, like 30m or 2d")
	return c
}
