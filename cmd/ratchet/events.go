package main

import (
	"context"
	"encoding/json"
	"fmt"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/research"
)

func (a *app) eventsCommand() *cobra.Command {
	var from int64
	var at string
	var audited bool
	c := &cobra.Command{
		Use:   "events [RUN]",
		Short: "Print a run's journal, one record a line",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAt(c, args, likely, &at, func(ctx context.Context, e *ratchet.Engine, run string, at int64) error {
				records := []ratchet.Record{}
				for r, err := range e.Records(ctx, run, from, at) {
					if err != nil {
						return err
					}
					if audited {
						p, err := ratchet.Decode(r)
						if err != nil {
							return err
						}
						if r.Text = research.Printable(audit(p), 1000); r.Text == "" {
							continue
						}
					}
					if a.json {
						records = append(records, r)
						continue
					}
					if audited {
						a.printf("%6d  %s  %s%s\n", r.Seq, r.Time.Format("2006-01-02 15:04:05"), map[bool]string{true: "superseded  "}[r.Superseded], r.Text)
						continue
					}
					a.printf("%6d  %s  %-22s %s%s\n", r.Seq, r.Time.Format("2006-01-02 15:04:05.000000"), r.Type, map[bool]string{true: "superseded  "}[r.Superseded], brief(r.Payload))
				}
				if a.json {
					a.printJSON(records)
				}
				return nil
			})
		},
	}
	atFlag(c, &at)
	c.Flags().BoolVar(&audited, "audit", false, "only who did what, when and why, in words")
	c.Flags().Int64Var(&from, "from", 1, "begin at this sequence number")
	return c
}

// brief is the beginning of a payload.
func brief(payload json.RawMessage) string {
	const most = 160
	s := research.Printable(string(payload), 64<<10)
	if len([]rune(s)) > most {
		return fmt.Sprintf("%s… (%d bytes)", string([]rune(s)[:most]), len(payload))
	}
	return s
}
