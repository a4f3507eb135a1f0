package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"ratchet/internal/research"

	"ratchet"

	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var repair bool
	var heads []string
	var flags backupFlags
	c := &cobra.Command{
		Use:   "verify [RUN]",
		Short: "Check that journal, objects and results are intact, and that records whose hash you kept are still there",
		Long: `Checks every record's hash and place in the chain, folds every run, reads every
object that a run speaks of, and compares results.json with the journal. Every
damage is listed; the exit status is 6 if there is any.

This finds what was damaged. Whoever can write to the home could write all of it
anew, every hash included, and nothing in it would tell. What tells is a hash
that somebody kept elsewhere: results.json, the report, a backup and the last
line of a run have the hash of a last record, and --head HASH checks that this
record, and so all before it, is still the one that it was.

--repair mends what can be mended, with what a backup has (--from, or backup.to
of the settings): objects that are damaged or missing, and the journal up to its
last good record and beyond it as far as the backup goes. It says what could not
be saved, and keeps the damaged originals aside.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if repair {
				if len(args) > 0 {
					return usageError{errors.New("--repair mends the whole home; name no run")}
				}
				return a.repair(c.Context(), flags)
			}
			if flags.place != "" {
				return usageError{errors.New("--from says what to repair with; add --repair")}
			}
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
			for _, h := range heads {
				if len(h) < 16 || strings.Trim(h, "0123456789abcdef") != "" {
					return usageError{fmt.Errorf("--head is %q; it is the hash of a record, or 16 digits of its beginning or more", h)}
				}
			}
			v, err := e.Verify(c.Context(), ratchet.VerifyOptions{Runs: runs, Heads: heads})
			if err != nil {
				return err
			}
			if !a.json {
				for _, h := range v.Heads {
					a.printf("run %s has record %d, %s\n", h.Run, h.Seq, h.Hash)
				}
			}
			a.verified(v, research.Counted(v.Runs, "run"), v.Records, v.Objects, v.Damages)
			return nil
		},
	}
	c.Flags().BoolVar(&repair, "repair", false, "mend what can be mended")
	c.Flags().StringArrayVar(&heads, "head", nil, "hash of a record that was kept elsewhere; the record must still be there")
	flags.add(c, "from")
	return c
}

// verified prints what a verification, v, found, and sets the exit status.
func (a *app) verified(v any, what string, n int64, objects int, damages []string) {
	summary := "all whole"
	if len(damages) > 0 {
		a.status, summary = exitDamaged, number(len(damages))+" damaged"
	}
	if a.json {
		a.printJSON(v)
		return
	}
	for _, d := range damages {
		a.printf("%s\n", d)
	}
	a.printf("%s, %s, %s checked: %s\n", what, records(n), research.Counted(objects, "object"), summary)
}

func (a *app) repair(ctx context.Context, flags backupFlags) error {
	folder, _, err := a.homeFolder()
	if err != nil {
		return err
	}
	if _, err := os.Stat(folder); err != nil {
		return &ratchet.UnknownRunError{}
	}
	p, err := a.backups()
	if err != nil {
		return err
	}
	place := p.BackupPlace
	place.To, place.Identity = cmp.Or(flags.place, place.To), cmp.Or(flags.identity, place.Identity)
	r, err := ratchet.Repair(ctx, folder, place)
	if err != nil {
		return err
	}
	if len(r.Lost) > 0 {
		a.status = exitDamaged
	}
	if a.json {
		a.printJSON(r)
		return nil
	}
	for _, m := range r.Mended {
		a.printf("mended: %s\n", m)
	}
	for _, l := range r.Lost {
		a.printf("lost: %s\n", l)
	}
	switch {
	case len(r.Mended)+len(r.Lost) == 0:
		a.printf("nothing is damaged\n")
	case place.To == "" && len(r.Lost) > 0:
		a.printf("no backup was named: --from says where there is one\n")
	}
	if r.Aside != "" {
		a.printf("the damaged originals are in %s\n", shorter(r.Aside))
	}
	return nil
}
