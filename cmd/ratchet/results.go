package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"ratchet"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

// printResults prints what a run found, for a person.
func (a *app) printResults(r *report.Results, s ratchet.Status) {
	a.printf("\n")
	if len(s.Refused) > 0 {
		a.printf("Refused\n")
		for _, line := range refusals(s.Refused) {
			a.printf("  %s\n", line)
		}
		a.printf("\n")
	}
	if r.Question != "" {
		a.printf("%s\n\n", r.Question)
	}
	if len(r.Hypotheses) > 0 {
		a.printf("Hypotheses\n")
		for _, h := range r.Hypotheses {
			a.printf("  %s  %s\n", a.verdict(h.Verdict), h.Claim)
			if h.PAdjusted != nil {
				a.printf("             a − b %s, p %s, %d of %d pairs\n", h.EffectText(), equals(h), h.N, max(h.N, h.Planned))
			}
			a.printf("             %s\n", h.Why)
		}
		a.printf("\n")
	}
	if c := r.Cost; c.Calls+c.Replayed > 0 {
		a.printf("Model calls\n  %d sent, %d out of the record; %d tokens, %s\n\n", c.Calls, c.Replayed, c.Tokens, study.Dollars(c.USD))
	}
	if r.Front != nil {
		a.printFront(r)
	}
	if b := r.Best; b == nil && len(r.Constraints) > 0 {
		a.printf("%s\n  %s\n\n", r.BestTitle(), r.NoBest())
	} else if b != nil {
		a.printf("%s\n  %s  %s\n", r.BestTitle(), b.Experiment, report.Parameters(b.Parameters))
		if v, ok := b.Metrics[r.Objective.Metric]; ok {
			a.printf("  %s %s on %d fresh seeds\n", r.Objective.Metric, report.Number(v), len(b.Seeds))
		}
		for _, line := range b.KeptLines() {
			a.printf("  %s\n", line)
		}
		a.printf("\n")
	}
	if len(r.Gates) > 0 {
		a.printf("Gates\n")
		for _, g := range r.Gates {
			word := a.good("passed    ")
			if !g.Passed {
				word = a.bad("not passed")
			}
			a.printf("  %s  %s%s\n", word, g.Gate, inBrackets(g.Why))
		}
		a.printf("\n")
	}
	if n := finals(r); n > 0 {
		a.printf("%d of %d trials failed; the report says why\n", n, r.Usage.Trials)
	}
	a.printf("Run %s: %s%s, %s\n", r.Run, r.Status, inBrackets(r.Why), report.Span(r.Usage.Elapsed))
	if r.Status != research.Paused && r.Status != research.Running {
		a.printf("Report %s\n", filepath.Join(shorter(s.Output), "report.html"))
		a.printf("Last record %d %s\n", r.Journal.Seq, r.Journal.Hash)
	}
}

// printFront prints the configurations of a front that were measured on fresh seeds.
func (a *app) printFront(r *report.Results) {
	a.printf("Pareto front\n")
	if lines := r.Front.Lines(); len(lines) > 0 {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "  \t%s\tplace\t\n", strings.Join(printables(r.FrontHead()), "\t"))
		for _, l := range lines {
			fmt.Fprintf(w, "  %s", l.Experiment)
			for _, v := range l.Values {
				fmt.Fprintf(w, "\t%s", v)
			}
			fmt.Fprintf(w, "\t%s\t%s\n", l.Place, l.Why)
		}
		_ = w.Flush()
	}
	a.printf("  %s\n\n", r.FrontText())
}

func equals(h report.Hypothesis) string {
	p := report.Probability(h.PAdjusted)
	if strings.HasPrefix(p, "<") {
		return p
	}
	return "= " + p
}

func finals(r *report.Results) int {
	n := 0
	for _, f := range r.Failures {
		if f.Final {
			n++
		}
	}
	return n
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func (a *app) verdict(v string) string {
	padded := v + strings.Repeat(" ", len("undecided")-len(v))
	switch v {
	case research.Supported:
		return a.good(padded)
	case research.Refuted:
		return a.bad(padded)
	}
	return padded
}
