package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/study"
)

// wrapOptions are the flags of wrap.
type wrapOptions struct {
	ratchet.Wrap
	isolation, output, interrupt string
	env                          []string
	pricing
	seed   int64
	detach bool
}

func (a *app) wrapCommand() *cobra.Command {
	var o wrapOptions
	c := &cobra.Command{
		Use:   "wrap [flags] -- COMMAND…",
		Short: "Run any program, unmodified, as a run: contained, watched, its model calls recorded and capped",
		Long: `Wrap runs a program as a run of its own: in a sandbox, within limits, started
again when it crashes. Its model calls go through the gateway, which journals
each before it is sent; a program that was started again gets the answers it
has paid for out of the record. The program works on a copy of the files of the
working folder, and what it leaves there is in results/RUN/files at the end.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("which command? `ratchet wrap -- python agent.py`")}
			}
			return a.wrap(c.Context(), o, args)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVar(&o.Name, "name", "", "name of the run (default: the program's)")
	f.StringVar(&o.Budget, "budget", "", "what model calls may cost in all, like 5USD")
	f.Int64Var(&o.Tokens, "tokens", 0, "how many tokens model calls may use in all")
	f.Int64Var(&o.Calls, "calls", 0, "how many model calls may be made in all")
	f.StringVar(&o.Checkpoint, "checkpoint", "", "folder of the working folder that survives a crash")
	f.StringVar(&o.isolation, "isolation", "strict", "walls around the program: strict, or process for limits only")
	f.StringSliceVar(&o.Hosts, "allow-network", nil, "hosts that the program may reach through a proxy, besides models: HOST (ports 80 and 443), HOST:PORT, or an address of this machine or its network (127.0.0.1:8000); '*' opens the machine's whole network")
	f.BoolVar(&o.Tools, "tools", false, "record what the program fetches from those hosts, and what it asks of model providers at their own addresses")
	f.StringSliceVar(&o.Inputs, "input", nil, "file or folder, seen read-only in the working folder instead of being copied: PATH or NAME=PATH")
	f.StringVar(&o.Environment, "environment", "", "Python environment of the program (default $VIRTUAL_ENV, $CONDA_PREFIX or .venv)")
	f.StringSliceVar(&o.Models, "allow-model", nil, "models that may be called, like openai/gpt-4o or anthropic/* (default: all)")
	f.StringVar(&o.Replay, "replay", "resume", "what becomes of calls that are on record: resume, strict-replay (nothing new is sent) or off")
	f.StringArrayVar(&o.Ignore, "ignore", nil, "parts of texts, as a regular expression, that do not make a request another one")
	o.flags(c)
	f.StringArrayVar(&o.env, "env", nil, "variable that the program gets: NAME=VALUE, or NAME for what your environment has (secrets by name only)")
	f.StringVar(&o.output, "output-dir", "", "folder of the report and of what the program leaves (default results/RUN)")
	f.DurationVar(&o.Time, "time", 48*time.Hour, "how long the program may run")
	f.StringVar(&o.Memory, "memory", "", "memory that it may use, like 16GiB (default three quarters of the machine's)")
	f.StringVar(&o.Disk, "disk", "20GiB", "disk that it may use")
	f.Float64Var(&o.GPUs, "gpus", 0, "GPUs that it needs")
	f.Int64Var(&o.seed, "seed", 0, "$RATCHET_SEED, with which Python's random begins in every attempt (default another for each run)")
	f.IntVar(&o.Retries, "retries", 100, "how often it is started again after a crash")
	f.BoolVar(&o.detach, "detach", false, "go on in the background")
	f.StringVar(&o.interrupt, "on-interrupt", ratchet.Leave, "what an interrupt does to the program: leave it, to be picked up by resume, or stop it")
	return c
}

func (a *app) wrap(ctx context.Context, o wrapOptions, command []string) error {
	level, err := ratchet.ParseIsolation(o.isolation)
	if err != nil {
		return usageError{err}
	}
	o.Isolation = level
	if o.interrupt != ratchet.Leave && o.interrupt != ratchet.Stop {
		return usageError{fmt.Errorf("--on-interrupt is %q; it is leave or stop", o.interrupt)}
	}
	if o.Budget != "" {
		if _, err := study.ParseMoney(o.Budget); err != nil {
			return usageError{fmt.Errorf("--budget: %w", err)}
		}
	}
	for flag, size := range map[string]string{"--memory": o.Memory, "--disk": o.Disk} {
		if size == "" {
			continue
		}
		if _, err := study.ParseBytes(size); err != nil {
			return usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	if o.Tools && slices.Contains(o.Hosts, "*") {
		return usageError{errors.New("--tools records what goes through the gateway, and --allow-network '*' leads round it; name the hosts, like --allow-network api.semanticscholar.org")}
	}
	prices, err := o.read()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	inputs := o.InputsOf(dir)
	data, err := o.Study(dir, inputs, command)
	if err != nil {
		return usageError{err}
	}
	options := ratchet.RunOptions{AllowInputs: slices.Collect(maps.Values(inputs)), Seed: cmp.Or(o.seed, 1+rand.Int64N(9999)), Output: o.output, Isolation: level, Env: o.env, Pricing: prices}
	file := filepath.Join(dir, "the command line")
	if _, err := ratchet.Check(file, data, options); err != nil {
		return err
	}
	e, err := a.open(true)
	if err != nil {
		return err
	}
	defer e.Close()
	run, err := e.Create(ctx, file, data, options)
	if err != nil {
		return err
	}
	if o.detach {
		return a.detach(e, run)
	}
	return a.drive(ctx, e, run, ratchet.DriveOptions{OnInterrupt: o.interrupt})
}
