package main

import (
	"context"
	"fmt"
	"strings"

	"ratchet/internal/environment"
	"ratchet/internal/gateway"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/study"
)

// begin prints which run is driven. What stands open to its programs is said in
// that first line, however quiet the rest is to be.
func (a *app) begin(ctx context.Context, e *opened, run string) error {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return err
	}
	c := s.Created
	outside := e.Outside(s)
	quiet := a.quiet || a.json
	if open := exposed(c.Study, c.Isolation, outside); open != "" {
		fmt.Fprintf(a.err, "run %s: %s\n", run, open)
	} else if !quiet {
		fmt.Fprintf(a.err, "run %s\n", run)
	}
	for _, o := range outside {
		if !quiet {
			fmt.Fprintln(a.err, shown(o))
		}
	}
	return nil
}

// exposed says in one line what a study's programs can reach that they cannot by
// default.
func exposed(st *study.Study, isolation string, outside []environment.Outside) string {
	switch {
	case isolation != string(sandbox.Strict) && st.Evaluation != nil:
		return fmt.Sprintf("no walls (isolation %s): its programs can read and change all that you can, what they are measured by included", isolation)
	case isolation != string(sandbox.Strict):
		return fmt.Sprintf("no walls (isolation %s): its programs can read and change all that you can", isolation)
	case st.Limits.Attempt.Network == study.NetworkHost && len(outside) > 0:
		return "its programs have the machine's network, and see files from outside the study's folder, which they can send anywhere"
	case st.Limits.Attempt.Network == study.NetworkHost:
		return "its programs have the machine's network"
	}
	var private []string
	var hosts []string
	if st.Tools != nil {
		hosts = st.Tools.Hosts
	}
	for _, host := range hosts {
		if gateway.NamesPrivate(host) {
			private = append(private, research.Printable(host, 100))
		}
	}
	if len(private) > 0 {
		return "its programs can reach " + strings.Join(private, ", ") + ", which is this machine or its network"
	}
	return ""
}

// shown is one line on what a program sees from outside.
func shown(o environment.Outside) string {
	line := fmt.Sprintf("its programs see %s (%s)", research.Printable(o.Path, 500), research.Printable(o.Name, 200))
	if o.Keys != "" {
		line += ", " + o.Keys
	}
	return line
}
