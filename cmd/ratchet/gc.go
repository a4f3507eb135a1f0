package main

import (
	"github.com/spf13/cobra"
)

func (a *app) gcCommand() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "Remove what no run needs any more",
		Long: `Removes objects that no record of any run speaks of, the folders and processes
of attempts that nobody waits for, and what complete trials kept for a next
attempt. Nothing that a record, a report or a rollback needs is touched.`,
		RunE: func(c *cobra.Command, _ []string) error {
			e, err := a.open(false)
			if err != nil {
				return err
			}
			defer e.Close()
			g, err := e.GC(c.Context(), dry)
			if err != nil {
				return err
			}
			if a.json {
				a.printJSON(g)
				return nil
			}
			for _, l := range []struct {
				what  string
				names []string
			}{{"attempt", g.Attempts}, {"checkpoint", g.Checkpoints}, {"folder", g.Folders}, {"left alone:", g.Left}} {
				for _, name := range l.names {
					a.printf("%s %s\n", l.what, name)
				}
			}
			a.printf("%s %d objects and %d folders, %s\n", map[bool]string{true: "would remove", false: "removed"}[dry], g.Objects, len(g.Attempts)+len(g.Checkpoints)+len(g.Folders), amount(g.Bytes))
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "remove nothing, and say what would be")
	return c
}
