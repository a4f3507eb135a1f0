package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ratchet/internal/demo"
	"ratchet/internal/report"
)

func (a *app) demoCommand() *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "demo [1-5]",
		Short: "Show what the engine withstands, on real processes with real faults",
		Long:  "Shows what the engine withstands, on real processes with real faults:\n\n" + scenarios() + "\nWithout a number, all of them. Everything happens in a folder of its own, which is removed.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var numbers []int
			for i := range demo.Names {
				numbers = append(numbers, i+1)
			}
			if len(args) > 0 {
				n, err := strconv.Atoi(args[0])
				if err != nil || n < 1 || n > len(demo.Names) {
					return usageError{fmt.Errorf("there is no scenario %q; they are\n%s", args[0], scenarios())}
				}
				numbers = []int{n}
			}
			return a.demo(c, numbers, keep)
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "keep the folder, to look at its runs and reports")
	return c
}

func scenarios() string {
	text := ""
	for i, name := range demo.Names {
		text += fmt.Sprintf("  %d  %s\n", i+1, name)
	}
	return text
}

func (a *app) demo(c *cobra.Command, numbers []int, keep bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, done := a.interruptible(c.Context())
	defer done()
	var results []*demo.Result
	for _, n := range numbers {
		dir, err := os.MkdirTemp("", "ratchet-demo-")
		if err != nil {
			return err
		}
		if !a.json {
			fmt.Fprintf(a.err, "\nscenario %d: %s\n", n, demo.Names[n-1])
		}
		p := a.newProgress("demo")
		r, err := demo.Run(ctx, n, demo.Options{
			Dir: dir, Self: self, Observe: p.observe,
			Say: func(format string, args ...any) { p.say(fmt.Sprintf(format, args...)) },
		})
		p.stop()
		if keep {
			fmt.Fprintf(a.err, "everything of it is in %s\n", dir)
		} else if removal := os.RemoveAll(dir); err == nil {
			err = removal
		}
		if ctx.Err() != nil {
			return errors.Join(silentError{exitInterrupted}, ctx.Err())
		}
		if err != nil {
			return fmt.Errorf("scenario %d: %w", n, err)
		}
		if results = append(results, r); !a.json {
			a.printDemo(r)
		}
		if !r.Held() {
			a.status = exitInternal
		}
	}
	if a.json {
		a.printJSON(results)
	}
	return nil
}

// say prints a line of its own, from any goroutine.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.a.quiet {
		p.note(text)
	}
}

func (a *app) printDemo(r *demo.Result) {
	a.printf("\n")
	if len(r.Rows) > 0 {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "FAULT\tINJECTED\tDETECTED\tRECOVERED\tLOST\tRECOVERY, MEDIAN AND WORST\tDETECTED AS")
		for _, row := range r.Rows {
			took := "–"
			if len(row.Recovery) > 0 {
				took = report.Span(row.Median()) + ", " + report.Span(row.Worst())
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", row.Fault, row.Injected, row.Detected, row.Recovered, row.Lost, took, row.As)
		}
		_ = w.Flush()
		a.printf("\n")
	}
	for _, c := range r.Checks {
		word := a.good("held    ")
		if !c.Held {
			word = a.bad("not held")
		}
		a.printf("  %s  %s%s\n", word, c.What, inBrackets(c.Said))
	}
	word := "all held"
	if !r.Held() {
		word = "not all held"
	}
	a.printf("\nscenario %d: %s, %s\n", r.Scenario, word, report.Span(r.Took))
}
