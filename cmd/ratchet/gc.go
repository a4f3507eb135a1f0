package main

import (
	"iter"
	"strings"

	"ratchet/internal/research"

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
			g, err := e.RemoveGarbage(c.Context(), dry)
			if err != nil {
				return err
			}
			if a.json {
				a.printJSON(g)
				return nil
			}
			for run, n := range perRun(g.Attempts) {
				a.printf("%s of run %s\n", research.Counted(n, "attempt"), run)
			}
			for run, n := range perRun(g.Checkpoints) {
				a.printf("what %s of run %s kept for a next attempt\n", research.Counted(n, "trial"), run)
			}
			for _, name := range g.Folders {
				a.printf("the folder %s, of no run\n", name)
			}
			for _, why := range g.Left {
				a.printf("left alone: %s\n", why)
			}
			a.printf("%s %s and %s, %s\n", map[bool]string{true: "would remove", false: "removed"}[dry], research.Counted(g.Objects, "object"),
				research.Counted(len(g.Attempts)+len(g.Checkpoints)+len(g.Folders), "folder"), amount(g.Bytes))
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "remove nothing, and say what would be")
	return c
}

// perRun counts names like RUN/NAME by their runs, in their order.
func perRun(names []string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for len(names) > 0 {
			run, _, _ := strings.Cut(names[0], "/")
			n := 0
			for n < len(names) && strings.HasPrefix(names[n], run+"/") {
				n++
			}
			if !yield(run, n) {
				return
			}
			names = names[n:]
		}
	}
}
