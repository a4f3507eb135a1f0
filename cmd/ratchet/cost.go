package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/report"
)

func (a *app) costCommand() *cobra.Command {
	var at string
	var each string
	c := &cobra.Command{
		Use:   "cost [RUN]",
		Short: "Say what a run used, what that costs, and what it could do with",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if each != "" && each != "experiment" && each != "trial" {
				return usageError{fmt.Errorf("--each is %q; it is experiment or trial", each)}
			}
			return a.withAt(c, args, likely, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				costs, err := e.Costs(ctx, run, at)
				if err != nil {
					return err
				}
				if a.json {
					a.printJSON(costs)
					return nil
				}
				a.printCosts(costs, each)
				return nil
			})
		},
	}
	atFlag(c, &at)
	c.Flags().StringVar(&each, "each", "", "also a line for each experiment, or trial")
	return c
}

func (a *app) printCosts(c report.Costs, each string) {
	priced, models := c.Prices != report.Prices{} || c.Total.USD > 0, c.Total.Tokens > 0
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := "\tATTEMPTS\tTIME\tPROCESSOR\tGPU\tMEMORY\tDISK\t"
	if models {
		header += "TOKENS\t"
	}
	if priced {
		header += "USD\t"
	}
	fmt.Fprintln(w, header)
	line := func(l report.CostLine) {
		gpu := "–"
		if l.GPU > 0 {
			gpu = report.Span(l.GPU)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t", l.Name, l.Attempts, report.Span(l.Wall), report.Span(l.CPU), gpu, amount(l.Memory), amount(l.Disk))
		if models {
			fmt.Fprintf(w, "%d\t", l.Tokens)
		}
		if priced {
			fmt.Fprintf(w, "%.4f\t", l.USD)
		}
		fmt.Fprintln(w)
	}
	switch each {
	case "experiment":
		for _, l := range c.Experiments {
			line(l)
		}
	case "trial":
		for _, l := range c.Trials {
			line(l)
		}
	}
	for _, l := range c.Stages {
		line(l)
	}
	line(c.Failed)
	line(c.Total)
	_ = w.Flush()
	a.printf("\ntime and processor are of all attempts together, memory and disk the most that one used\n")
	a.printf("its objects take %s", amount(c.Storage))
	if c.Prices.GiBMonth > 0 {
		a.printf(", %.4f USD a month", c.Monthly)
	}
	a.printf("\n")
	if c.Prices == (report.Prices{}) {
		a.printf("no prices of the machine are set; prices.cpu_hour, prices.gpu_hour and prices.gib_month in config.yaml are\n")
	}
	for _, text := range c.Advice {
		a.printf("\n%s\n", text)
	}
}
