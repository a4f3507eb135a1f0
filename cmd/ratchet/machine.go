package main

import (
	"cmp"
	"fmt"
	"runtime"
	"text/tabwriter"

	"ratchet/internal/research"

	"github.com/spf13/cobra"

	"ratchet"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do",
		RunE: func(*cobra.Command, []string) error {
			home, _, err := a.homeFolder()
			if err != nil {
				return err
			}
			abilities := ratchet.Abilities(home)
			if !abilities[0].Has {
				a.status = exitInternal
			}
			if a.json {
				a.printJSON(map[string]any{"release": ratchet.Release, "os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": runtime.NumCPU(), "abilities": abilities})
				return nil
			}
			a.printf("ratchet %s on %s/%s, %s\n\n", ratchet.Release, runtime.GOOS, runtime.GOARCH, research.Counted(runtime.NumCPU(), "processor"))
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, b := range abilities {
				fmt.Fprintf(w, "%s\t%s\t%s\n", b.Name, map[bool]string{true: "yes", false: "no"}[b.Has], b.Detail)
			}
			return w.Flush()
		},
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the release",
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				a.printJSON(map[string]string{"release": ratchet.Release, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
				return nil
			}
			a.printf("ratchet %s %s/%s\n", ratchet.Release, runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the effective settings of the engine, with where each came from",
		RunE: func(c *cobra.Command, _ []string) error {
			effective, err := a.effective(c)
			if err != nil {
				return err
			}
			if a.json {
				a.printJSON(effective)
				return nil
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, s := range effective {
				fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, cmp.Or(s.Value, "none"), s.Source)
			}
			if a.stranger != nil {
				defer fmt.Fprintf(a.err, "\nnot applied: %v\n", a.stranger)
			}
			return w.Flush()
		},
	}
}
