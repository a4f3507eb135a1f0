package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"ratchet/internal/research"

	"ratchet"

	"github.com/spf13/cobra"
)

// backupFlags are those of every command about backups.
type backupFlags struct {
	place      string
	identity   string
	recipients []string
}

func (b *backupFlags) add(c *cobra.Command, name string) {
	c.Flags().StringVar(&b.place, name, "", "where backups are: a folder, or a URL like s3://BUCKET, gs://BUCKET, azblob://CONTAINER (default backup.to of the settings)")
	c.Flags().StringVar(&b.identity, "identity", "", "file with the age identity that opens encrypted backups")
}

// backups is what the settings say of backups.
func (a *app) backups() (ratchet.BackupPolicy, error) {
	set, err := a.settings()
	if err != nil {
		return ratchet.BackupPolicy{}, err
	}
	return set.Backups()
}

// place is where the flags and the settings say that backups are.
func (a *app) place(b backupFlags) (ratchet.BackupPlace, error) {
	p, err := a.backups()
	if err != nil {
		return p.BackupPlace, err
	}
	out := p.BackupPlace
	out.To, out.Identity = cmp.Or(b.place, out.To), cmp.Or(b.identity, out.Identity)
	if len(b.recipients) > 0 {
		out.Recipients = b.recipients
	}
	if out.To == "" {
		return out, usageError{errors.New("where are the backups? --to or --from names a folder or a URL, and so does backup.to in the settings")}
	}
	return out, nil
}

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup",
		Short: "Make, list, check, restore and remove backups",
		Long: `Keeps verified copies of journals and objects in a folder or a bucket. Backups
are incremental and can be made while runs go on; "backup:" in the settings
(config.yaml in the home) makes them automatic.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.backupCreateCommand(), a.backupListCommand(), a.backupVerifyCommand(), a.backupRestoreCommand(), a.backupPruneCommand())
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
	return c
}

func (a *app) backupCreateCommand() *cobra.Command {
	var flags backupFlags
	c := &cobra.Command{
		Use:   "create [--to DEST] [RUN…]",
		Short: "Make a backup of all runs, or of some",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			place, err := a.place(flags)
			if err != nil {
				return err
			}
			e, err := a.open(false)
			if err != nil {
				return err
			}
			defer e.Close()
			var runs []string
			for _, name := range args {
				run, err := e.Find(c.Context(), name, nil)
				if err != nil {
					return err
				}
				runs = append(runs, run)
			}
			ctx, done := a.interruptible(c.Context())
			defer done()
			m, err := e.Backup(ctx, place, runs...)
			if err != nil {
				return backupError(ctx, err)
			}
			if len(m.Damaged) > 0 {
				a.status = exitDamaged
			}
			if a.json {
				a.printJSON(m)
				return nil
			}
			for _, d := range m.Damaged {
				a.printf("not backed up: %s\n", d)
			}
			a.printf("backup %s: %s, %s, %s\n", m.ID, research.Counted(m.OwnRuns(), "run"), research.Counted(m.Objects, "new object"), amount(m.Bytes))
			return nil
		},
	}
	flags.add(c, "to")
	c.Flags().StringArrayVar(&flags.recipients, "recipient", nil, "encrypt for this age recipient (age1…)")
	return c
}

// backupError tells an interrupt from a failure.
func backupError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: earlier backups are as they were", ratchet.ErrInterrupted)
	}
	return err
}

func records(n int64) string { return research.Counted(int(n), "record") }

// repository opens the place for commands that do not need a home.
func (a *app) repository(ctx context.Context, flags backupFlags) (*ratchet.Backups, error) {
	place, err := a.place(flags)
	if err != nil {
		return nil, err
	}
	return ratchet.OpenBackups(ctx, place)
}

func (a *app) backupListCommand() *cobra.Command {
	var flags backupFlags
	c := &cobra.Command{
		Use:   "list [--to DEST]",
		Short: "List the backups in a place",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.repository(c.Context(), flags)
			if err != nil {
				return err
			}
			defer r.Close()
			all, bad := r.List(c.Context())
			if len(all) == 0 && len(bad) > 0 && errors.Is(bad[0], ratchet.ErrBackupLocked) {
				return bad[0]
			}
			for _, err := range bad {
				a.log.Error("a backup cannot be read", "error", err)
				a.status = exitDamaged
			}
			if a.json {
				if all == nil {
					all = []*ratchet.BackupManifest{}
				}
				a.printJSON(all)
				return nil
			}
			if len(all) == 0 && len(bad) == 0 {
				a.printf("no backups yet\n")
				return nil
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "BACKUP\tTIME\tRUNS\tRECORDS\tADDED\tHOME")
			now := time.Now()
			for _, m := range all {
				var records int64
				for _, run := range m.Runs {
					records += run.Seq
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s on %s\n", m.ID, ago(m.Time, now), m.OwnRuns(), records, amount(m.Bytes), m.Home, m.Host)
			}
			return w.Flush()
		},
	}
	flags.add(c, "to")
	c.Flags().StringVar(&flags.place, "from", "", "the same as --to")
	return c
}

func (a *app) backupVerifyCommand() *cobra.Command {
	var flags backupFlags
	c := &cobra.Command{
		Use:   "verify [ID]",
		Short: "Read a backup, or all of them, to the last byte and check it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.repository(c.Context(), flags)
			if err != nil {
				return err
			}
			defer r.Close()
			v, err := r.Verify(c.Context(), args...)
			if err != nil {
				return err
			}
			a.verified(v, research.Counted(v.Backups, "backup"), v.Records, v.Objects, v.Damages)
			return nil
		},
	}
	flags.add(c, "to")
	c.Flags().StringVar(&flags.place, "from", "", "the same as --to")
	return c
}

func (a *app) backupRestoreCommand() *cobra.Command {
	var flags backupFlags
	var o ratchet.RestoreOptions
	var to string
	c := &cobra.Command{
		Use:   "restore ID [RUN…] [--from DEST] [--to HOME]",
		Short: "Bring runs back from a backup",
		Long: `Brings the runs of a backup, or some of them, back into this home or another.
All of it is read and checked before anything is touched. A run that is newer
here is left alone; --force replaces it, and keeps its records aside.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			place, err := a.place(flags)
			if err != nil {
				return err
			}
			if to != "" {
				a.home = to
			}
			e, err := a.open(true)
			if err != nil {
				return err
			}
			defer e.Close()
			o.Backup, o.Runs = args[0], args[1:]
			ctx, done := a.interruptible(c.Context())
			defer done()
			out, err := e.Restore(ctx, place, o)
			if err != nil {
				return backupError(ctx, err)
			}
			if a.json {
				a.printJSON(out)
				return nil
			}
			a.printRestored(e, out)
			return nil
		},
	}
	flags.add(c, "from")
	c.Flags().StringVar(&to, "to", "", "the home to restore into (default: this one)")
	c.Flags().StringVar(&o.Output, "output-dir", "", "folder for the reports of restored runs, each in a folder of its name (default results)")
	c.Flags().StringVar(&o.At, "at", "", "restore up to a record's number, a checkpoint or a time")
	c.Flags().BoolVar(&o.Force, "force", false, "replace runs that have gone on since; their records are kept aside")
	return c
}

func (a *app) printRestored(e *ratchet.Engine, out *ratchet.Restored) {
	runs := 0
	for _, r := range out.Runs {
		if r.Calls != "" {
			a.printf("run %s: its model calls, %s\n", r.Calls, records(r.Seq))
			continue
		}
		runs++
		switch {
		case r.Aside != "":
			a.printf("run %s: replaced, %s; the %d that were here are kept in %s\n", r.Run, records(r.Seq), r.Was, shorter(r.Aside))
		case r.Was == r.Seq:
			a.printf("run %s: %s, as here\n", r.Run, records(r.Seq))
		case r.Was > 0:
			a.printf("run %s: %s, %d of them new\n", r.Run, records(r.Seq), r.Seq-r.Was)
		default:
			a.printf("run %s: %s\n", r.Run, records(r.Seq))
		}
		if r.Output != "" {
			a.printf("  its report goes to %s\n", shorter(r.Output))
		}
	}
	a.printf("restored %s and %s from backup %s into %s\n", research.Counted(runs, "run"), research.Counted(out.Objects, "object"), out.Backup, shorter(e.Folder()))
}

func (a *app) backupPruneCommand() *cobra.Command {
	var flags backupFlags
	var keep ratchet.BackupKeep
	c := &cobra.Command{
		Use:   "prune --keep-last N --keep-daily N --keep-weekly N",
		Short: "Remove old backups, and what only they needed",
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := a.backups()
			if err != nil {
				return err
			}
			if keep == (ratchet.BackupKeep{}) {
				keep = p.Keep
			}
			if keep.Last <= 0 && keep.Daily <= 0 && keep.Weekly <= 0 {
				return usageError{errors.New("how many backups stay? --keep-last, --keep-daily and --keep-weekly say so, and so does backup.keep in the settings")}
			}
			r, err := a.repository(c.Context(), flags)
			if err != nil {
				return err
			}
			defer r.Close()
			out, err := r.Prune(c.Context(), keep)
			if err != nil {
				return err
			}
			if a.json {
				a.printJSON(out)
				return nil
			}
			for _, id := range out.Removed {
				a.printf("removed %s\n", id)
			}
			a.printf("%s left, %s freed\n", research.Counted(len(out.Kept), "backup"), amount(out.Bytes))
			return nil
		},
	}
	flags.add(c, "to")
	c.Flags().StringVar(&flags.place, "from", "", "the same as --to")
	c.Flags().IntVar(&keep.Last, "keep-last", 0, "keep this many of the newest")
	c.Flags().IntVar(&keep.Daily, "keep-daily", 0, "keep the newest of each of this many days")
	c.Flags().IntVar(&keep.Weekly, "keep-weekly", 0, "keep the newest of each of this many weeks")
	return c
}
