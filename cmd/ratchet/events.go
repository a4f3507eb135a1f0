package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/internal/journal"
	"ratchet/internal/report"
	"ratchet/internal/research"
)

func (a *app) eventsCommand() *cobra.Command {
	var from int64
	c := &cobra.Command{
		Use:   "events [RUN]",
		Short: "Print a run's journal, one record a line",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, nil, func(ctx context.Context, e *ratchet.Engine, run string) error {
				records := []journal.Record{}
				for r, err := range e.Journal().Read(ctx, run, from) {
					if err != nil {
						return err
					}
					if a.json {
						records = append(records, r)
						continue
					}
					a.printf("%6d  %s  %-22s %s\n", r.Seq, r.Time.Format("2006-01-02 15:04:05.000000"), r.Type, brief(r.Payload))
				}
				if a.json {
					a.printJSON(records)
				}
				return nil
			})
		},
	}
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

func (a *app) checkpointsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoints [RUN]",
		Short: "List the named positions in a run's journal",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, nil, func(ctx context.Context, e *ratchet.Engine, run string) error {
				r, err := e.Results(ctx, run)
				if err != nil {
					return err
				}
				points := report.Checkpoints(r)
				if a.json {
					a.printJSON(points)
					return nil
				}
				for _, p := range points {
					a.printf("%6d  %s  %s\n", p.Seq, p.Time.Local().Format("2006-01-02 15:04:05"), p.Name)
				}
				return nil
			})
		},
	}
}
