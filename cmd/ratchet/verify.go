package main

import (
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [RUN]",
		Short: "Prove that journal, objects and results are what was written",
		Long: `Checks every record's hash and place in the chain, folds every run, reads every
object that a run speaks of, and compares results.json with the journal. Every
damage is listed; the exit status is 6 if there is any.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.open(false)
			if err != nil {
				return err
			}
			defer e.Close()
			var runs []string
			if len(args) > 0 {
				run, err := e.Find(c.Context(), args[0], nil)
				if err != nil {
					return err
				}
				runs = []string{run}
			}
			v, err := e.Verify(c.Context(), runs)
			if err != nil {
				return err
			}
			if len(v.Damages) > 0 {
				a.status = exitDamaged
			}
			if a.json {
				a.printJSON(v)
				return nil
			}
			for _, d := range v.Damages {
				a.printf("%s\n", d)
			}
			a.printf("%d runs, %d records, %d objects checked: %s\n", v.Runs, v.Records, v.Objects, map[bool]string{true: "all whole", false: number(len(v.Damages)) + " damaged"}[len(v.Damages) == 0])
			return nil
		},
	}
}
