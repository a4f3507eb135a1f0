package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate STUDY.yaml",
		Short: "Check a study file and list every mistake",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, data, err := readStudy(args[0])
			if err != nil {
				return err
			}
			s, err := study.Load(file, filepath.Dir(file), data)
			if err != nil {
				return err
			}
			x := ratchet.ExposureOf(s, filepath.Dir(file))
			if a.json {
				a.printJSON(map[string]any{"problems": []study.Problem{}, "warnings": append([]string{}, s.Warnings()...), "study": s, "outside": x.Outside})
				return nil
			}
			a.printf("%s is a valid study: %s, %d %s, at most %s with %s each\n", file, research.Counted(len(s.Parameters), "parameter"),
				len(s.Hypotheses), map[bool]string{true: "hypothesis", false: "hypotheses"}[len(s.Hypotheses) == 1], research.Counted(s.Search.Experiments, "experiment"), research.Counted(s.Search.Seeds, "seed"))
			for _, w := range s.Warnings() {
				a.printf("warning: %s\n", w)
			}
			for _, name := range s.Program.Wanted() {
				a.printf("its programs get the variable %s of your environment, if you add --env %s\n", name, name)
			}
			if x.Open != "" {
				a.printf("%s\n", x.Open)
			}
			for _, o := range x.Outside {
				a.printf("%s\n", shown(o))
				if o.Keys != "" {
					a.printf("  `ratchet run` refuses that without --allow-input %s\n", research.Printable(o.Path, 500))
				}
			}
			return nil
		},
	}
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [study|results|ask|tell]",
		Short:     "Print the JSON Schema of the study file, of results.json, or of what ask and tell print",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"study", "results", "ask", "tell"},
		RunE: func(_ *cobra.Command, args []string) error {
			schema := study.JSONSchema
			if len(args) > 0 && args[0] == "results" {
				schema = report.JSONSchema
			}
			if len(args) > 0 && proposalSchemas[args[0]] != nil {
				var err error
				if schema, err = proposalSchemas[args[0]](); err != nil {
					return err
				}
			}
			_, err := a.out.Write(schema)
			return err
		},
	}
}

// readStudy reads a study file, or the study.yaml of a folder.
func readStudy(path string) (file string, data []byte, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file := filepath.Join(path, "study.yaml")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return "", nil, usageError{fmt.Errorf("%s is a folder without a study.yaml; name the study file, or write one with `ratchet init %s`", path, path)}
		}
		path = file
	}
	if data, err = os.ReadFile(path); err != nil {
		return "", nil, usageError{fmt.Errorf("reading the study: %w", err)}
	}
	return path, data, nil
}

func (a *app) initCommand() *cobra.Command {
	var force, noTry bool
	longest := 5 * time.Minute
	c := &cobra.Command{
		Use:   "init [DIR] [-- COMMAND…]",
		Short: "Write a first study file, or one for a command that works already",
		Long: `Writes a commented study.yaml. With a command behind --, flags with values become
parameters with a range around them, and a seed flag becomes {seed}:

  ratchet init -- python3 train.py --lr 0.1 --seed 1

The command is tried once, in a sandbox without a network, on copies of the files that
it needs: what it prints gives candidates for metrics, files that it does not find
become the program's or inputs, its time and memory become limits, and --help gives
the values of flags.`,
		Args: func(c *cobra.Command, args []string) error {
			if at := c.ArgsLenAtDash(); at > 1 || at < 0 && len(args) > 1 {
				return fmt.Errorf("init takes one folder; put the command behind --")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir, command := ".", []string(nil)
			if at := c.ArgsLenAtDash(); at >= 0 {
				command, args = args[at:], args[:at]
			}
			if len(args) > 0 {
				dir = args[0]
			}
			path := filepath.Join(dir, "study.yaml")
			if _, err := os.Stat(path); err == nil && !force {
				return usageError{fmt.Errorf("%s is there already; --force replaces it", path)}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			files, tried := ratchet.FirstStudy(), ""
			if len(command) > 0 {
				d := ratchet.NewDraft(dir, command)
				if !noTry {
					if err := a.try(c.Context(), d, longest); err != nil {
						return err
					}
					tried = d.Summary()
				}
				files = []ratchet.DraftFile{{Name: "study.yaml", Content: d.Study()}}
			}
			for _, f := range files {
				if _, err := os.Stat(filepath.Join(dir, f.Name)); err == nil && f.Name != "study.yaml" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Content, 0o644); err != nil {
					return err
				}
			}
			if a.json {
				a.printJSON(map[string]any{"study": path, "tried": tried})
				return nil
			}
			if tried != "" {
				a.printf("%s\n", tried)
			}
			a.printf("wrote %s; read it, then `ratchet run %s`\n", path, path)
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace a study.yaml that is there")
	c.Flags().BoolVar(&noTry, "no-try", false, "do not run the command")
	c.Flags().DurationVar(&longest, "try-for", longest, "how long the command is tried at most")
	return c
}

// try tries a command, unless it is interrupted.
func (a *app) try(ctx context.Context, d *ratchet.Draft, longest time.Duration) error {
	ctx, done := a.interruptible(ctx)
	defer done()
	if !a.quiet && !a.json {
		fmt.Fprintf(a.err, "trying the command in a sandbox, for %s at most (--no-try leaves it)\n", study.Duration(longest))
	}
	err := d.Try(ctx, longest)
	if ctx.Err() != nil {
		fmt.Fprintln(a.err, "interrupted; nothing was written")
		return silentError{exitInterrupted}
	}
	if err != nil { // a machine without walls, say: the command line says enough for a study
		fmt.Fprintf(a.err, "the command could not be tried: %v\n", err)
	}
	return nil
}
