package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"ratchet/internal/journal"
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
			return a.withAt(c, args, nil, &at, func(ctx context.Context, e *opened, run string, at int64) error {
				superseded, err := e.Superseded(ctx, run, at)
				if err != nil {
					return err
				}
				records := []eventDocument{}
				for r, err := range e.Journal.Read(ctx, journal.Of(run), from) {
					if err != nil {
						return err
					}
					if at > 0 && r.Seq > at {
						break
					}
					d := eventDocument{Record: r, Superseded: superseded(r.Seq)}
					if audited {
						p, err := research.Decode(r.Type, r.Version, r.Payload)
						if err != nil {
							return err
						}
						if d.Text = research.Printable(audit(p), 1000); d.Text == "" {
							continue
						}
					}
					if a.json {
						records = append(records, d)
						continue
					}
					if audited {
						a.printf("%6d  %s  %s%s\n", r.Seq, r.Time.Format("2006-01-02 15:04:05"), map[bool]string{true: "superseded  "}[d.Superseded], d.Text)
						continue
					}
					a.printf("%6d  %s  %-22s %s%s\n", r.Seq, r.Time.Format("2006-01-02 15:04:05.000000"), r.Type, map[bool]string{true: "superseded  "}[d.Superseded], brief(r.Payload))
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

// eventDocument is a record in `ratchet events --json`.
type eventDocument struct {
	journal.Record
	Superseded bool   `json:"superseded,omitempty"` // the run was rolled back behind it
	Text       string `json:"text,omitempty"`       // with --audit: what it says
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
