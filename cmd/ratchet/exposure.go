package main

import (
	"context"
	"fmt"

	"ratchet"

	"ratchet/internal/research"
)

// begin prints which run is driven. What stands open to its programs is said in
// that first line, however quiet the rest is to be.
func (a *app) begin(ctx context.Context, e *ratchet.Engine, run string) error {
	x, err := e.Exposure(ctx, run)
	if err != nil {
		return err
	}
	quiet := a.quiet || a.json
	if x.Open != "" {
		fmt.Fprintf(a.err, "run %s: %s\n", run, x.Open)
	} else if !quiet {
		fmt.Fprintf(a.err, "run %s\n", run)
	}
	if x.Changed != "" && !quiet {
		fmt.Fprintf(a.err, "%s has changed since; this run keeps its own\n", x.Changed)
	}
	for _, o := range x.Outside {
		if !quiet {
			fmt.Fprintln(a.err, shown(o))
		}
	}
	return nil
}

// shown is one line on what a program sees from outside.
func shown(o ratchet.Outside) string {
	line := fmt.Sprintf("its programs see %s (%s)", research.Printable(o.Path, 500), research.Printable(o.Name, 200))
	if o.Keys != "" {
		line += ", " + o.Keys
	}
	return line
}
