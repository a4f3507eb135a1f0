package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ratchet"

	"github.com/spf13/cobra"

	"ratchet/study"
)

func (a *app) runCommand() *cobra.Command {
	var o ratchet.RunOptions
	var prices pricing
	var isolation, topic, interrupt string
	var detach bool
	monitoring, checkpoints := true, true
	c := &cobra.Command{
		Use:   "run STUDY.yaml",
		Short: "Start a run of a study and follow it to its report",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case !monitoring || !checkpoints:
				return usageError{errors.New("monitoring and checkpoints are always on; remove the flag")}
			case topic != "":
				return usageError{errors.New("a topic needs a language model, which this release has none of; `ratchet init` writes a first study file to fill in")}
			case len(args) == 0:
				return usageError{errors.New("which study? `ratchet run STUDY.yaml`; `ratchet init` writes a first one")}
			}
			level, err := ratchet.ParseIsolation(isolation)
			if err != nil {
				return usageError{err}
			}
			if interrupt != ratchet.Leave && interrupt != ratchet.Stop {
				return usageError{fmt.Errorf("--on-interrupt is %q; it is leave or stop", interrupt)}
			}
			o.Isolation = level
			if o.Pricing, err = prices.read(); err != nil {
				return err
			}
			file, data, err := readStudy(args[0])
			if err != nil {
				return err
			}
			// Asked before there is a home, so that a mistake leaves nothing behind.
			if _, err := ratchet.Check(file, data, o); err != nil {
				return err
			}
			e, err := a.open(true)
			if err != nil {
				return err
			}
			defer e.Close()
			run, err := e.Create(c.Context(), file, data, o)
			if err != nil {
				return err
			}
			if detach {
				return a.detach(e, run)
			}
			return a.drive(c.Context(), e, run, ratchet.DriveOptions{OnInterrupt: interrupt})
		},
	}
	f := c.Flags()
	f.StringVar(&topic, "topic", "", "a question in words, for the language-model scientist")
	f.StringVar(&o.Output, "output-dir", "", "folder of the report (default results/RUN)")
	f.IntVar(&o.MaxExperiments, "max-experiments", 0, "try at most this many configurations")
	f.IntVar(&o.Parallel, "parallel", 0, "attempts at the same time (default: as the study says)")
	f.Int64Var(&o.Seed, "seed", 1, "seed of the search and of the trials")
	f.StringVar(&o.Model, "model", "", "language model of the scientist")
	f.StringVar(&o.Executor, "executor", "", "where attempts run (default: as the study says)")
	f.StringVar(&isolation, "isolation", "strict", "walls around attempts: strict, or process for limits only")
	f.StringArrayVar(&o.AllowInputs, "allow-input", nil, "input with keys in it that programs are to see all the same")
	f.StringArrayVar(&o.Env, "env", nil, "variable that programs get: NAME=VALUE, or NAME for what your environment has (secrets by name only)")
	prices.flags(c)
	f.BoolVar(&detach, "detach", false, "go on in the background")
	f.StringVar(&interrupt, "on-interrupt", ratchet.Leave, "what an interrupt does to running attempts: leave them, to be picked up by resume, or stop them")
	f.BoolVar(&monitoring, "enable-monitoring", true, "always on; here for the command lines of earlier engines")
	f.BoolVar(&checkpoints, "enable-checkpoints", true, "always on; here for the command lines of earlier engines")
	return c
}

// detach goes on in the background, and says so.
func (a *app) detach(e *ratchet.Engine, run string) error {
	pid, log, err := a.background(e, run)
	if err != nil {
		return err
	}
	if a.json {
		a.printJSON(map[string]any{"run": run, "pid": pid, "log": log})
		return nil
	}
	a.printf("run %s goes on in process %d; `ratchet status %s` shows how far it is\n", run, pid, run)
	return nil
}

// background has a run driven by a process of its own session, and gives its number and the
// file that it writes to.
func (a *app) background(e *ratchet.Engine, run string) (pid int, name string, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, "", err
	}
	if err := os.MkdirAll(e.RunFolder(run), 0o700); err != nil {
		return 0, "", err
	}
	log, err := os.OpenFile(filepath.Join(e.RunFolder(run), "engine.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, "", err
	}
	defer log.Close()
	cmd := exec.Command(self, "resume", run, "--home", e.Folder())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, "", fmt.Errorf("going on in the background: %w", err)
	}
	pid = cmd.Process.Pid
	return pid, log.Name(), cmd.Process.Release()
}

func (a *app) resumeCommand() *cobra.Command {
	var more time.Duration
	var interrupt, budget, isolation string
	var allow, env []string
	var prices pricing
	var inputs bool
	var tokens, calls int64
	c := &cobra.Command{
		Use:   "resume [RUN]",
		Short: "Go on with a run that was interrupted, killed or paused",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if interrupt != ratchet.Leave && interrupt != ratchet.Stop {
				return usageError{fmt.Errorf("--on-interrupt is %q; it is leave or stop", interrupt)}
			}
			var cost study.Money
			if budget != "" {
				var err error
				if cost, err = study.ParseMoney(budget); err != nil {
					return usageError{fmt.Errorf("--budget: %w", err)}
				}
			}
			return a.with(c, args, likely, func(ctx context.Context, e *ratchet.Engine, run string) error {
				level, err := ratchet.ParseIsolation(isolation)
				if err != nil {
					return usageError{err}
				}
				priced, err := prices.read()
				if err != nil {
					return err
				}
				accepts := ""
				if inputs {
					accepts = me()
				}
				return a.drive(ctx, e, run, ratchet.DriveOptions{AcceptInputs: accepts, Isolation: level, AllowInputs: allow, Env: env, Pricing: priced, OnInterrupt: interrupt, MoreTime: more, Cost: cost, Tokens: tokens, Calls: calls})
			})
		},
	}
	c.Flags().StringVar(&isolation, "isolation", "strict", "of a run that was restored from a backup: process accepts that its programs have no walls")
	prices.flags(c)
	c.Flags().StringArrayVar(&env, "env", nil, "of a run that was restored from a backup: variable of your environment that its programs get, by its name")
	c.Flags().StringArrayVar(&allow, "allow-input", nil, "of a run that was restored from a backup: input with keys in it that its programs are to see")
	c.Flags().BoolVar(&inputs, "accept-inputs", false, "go on although inputs have changed; what was measured with the others is rolled back")
	c.Flags().DurationVar(&more, "more-time", 0, "add to limits.run.time of a run that has spent it")
	c.Flags().StringVar(&budget, "budget", "", "what model calls of the run may cost from now on in all, like 10USD")
	c.Flags().Int64Var(&tokens, "tokens", 0, "how many tokens model calls of the run may use in all")
	c.Flags().Int64Var(&calls, "calls", 0, "how many model calls the run may make in all")
	c.Flags().StringVar(&interrupt, "on-interrupt", ratchet.Leave, "what an interrupt does to running attempts: leave or stop")
	return c
}

// drive drives a run, shows how it goes, and prints what came of it.
func (a *app) drive(ctx context.Context, e *ratchet.Engine, run string, o ratchet.DriveOptions) error {
	ctx, done := a.interruptible(ctx)
	defer done()
	// A closed pipe does not end the run, which matters more than
	// who watches it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := a.begin(ctx, e, run); err != nil {
		return err
	}
	p := a.newProgress(run)
	o.Observe = p.observe
	o.Warn = func(err error) { a.log.Warn(err.Error()) }
	closed, err := a.logToFile(e)
	if err != nil {
		p.stop()
		return err
	}
	defer closed()
	r, err := e.Resume(ctx, run, o)
	p.stop()
	var driven *ratchet.DrivenError
	switch {
	case errors.As(err, &driven):
		return a.follow(ctx, e, run, driven, p)
	case errors.Is(err, ratchet.ErrInterrupted):
		fmt.Fprintf(a.err, "interrupted; nothing is lost. `ratchet resume %s` goes on", run)
		if o.OnInterrupt == ratchet.Leave {
			fmt.Fprint(a.err, ", and picks up attempts that still run")
		}
		fmt.Fprintln(a.err)
		return silentError{exitInterrupted}
	case errors.As(err, new(*ratchet.ArrivedError)):
		return err
	case err != nil:
		return fmt.Errorf("%w\nthe run has stopped safely; once that is mended, `ratchet resume %s` goes on", err, run)
	}
	return a.conclude(ctx, e, r)
}

// follow waits for a run that another process drives.
func (a *app) follow(ctx context.Context, e *ratchet.Engine, run string, driven *ratchet.DrivenError, p *progress) error {
	fmt.Fprintf(a.err, "%v; following it\n", driven)
	following, stop := context.WithCancel(ctx)
	defer stop()
	now, err := e.Status(context.WithoutCancel(ctx), run) // an interrupt is met below
	if err != nil {
		return err
	}
	written, failed := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		for _, err := range e.Subscribe(following, run, now.Seq) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case written <- struct{}{}:
			default: // what was written before was not looked at yet
			}
		}
	}()
	gone := time.NewTicker(200 * time.Millisecond) // a process that is killed writes nothing
	defer gone.Stop()
	for e.Driven(run) != nil {
		select {
		case err := <-failed:
			if ctx.Err() == nil {
				p.stop()
				return err
			}
		case <-written:
			s, err := e.Status(ctx, run)
			if err == nil {
				p.observe(ratchet.Progress{Status: s})
			} else if ctx.Err() == nil {
				p.stop()
				return err
			}
		case <-gone.C:
		case <-ctx.Done():
			p.stop()
			fmt.Fprintf(a.err, "no longer following; process %d drives run %s on\n", driven.PID, run)
			return silentError{exitInterrupted}
		}
	}
	p.stop()
	ctx = context.WithoutCancel(ctx) // there is nothing left to wait for
	r, err := e.Results(ctx, run)
	if err != nil {
		return err
	}
	if r.Status == ratchet.Running {
		fmt.Fprintf(a.err, "the process that drove run %s has left it; `ratchet resume %s` goes on\n", run, run)
		return silentError{exitInterrupted}
	}
	return a.conclude(ctx, e, r)
}

// conclude prints the results of a run and sets the exit status.
func (a *app) conclude(ctx context.Context, e *ratchet.Engine, r *ratchet.Results) error {
	a.status = statusOfRun(r)
	if a.json {
		a.printJSON(r)
		return nil
	}
	s, err := e.Status(ctx, r.Run)
	if err != nil {
		return err
	}
	a.printResults(r, s)
	return nil
}

func statusOfRun(r *ratchet.Results) int {
	switch {
	case r.Status == ratchet.Paused:
		return exitPaused
	case r.Status == ratchet.Failed, r.Status == ratchet.Cancelled:
		return exitFailed
	case r.Status == ratchet.Completed && !r.Passed():
		return exitGate
	}
	return exitDone
}
