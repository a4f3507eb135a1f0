package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ratchet"
	"ratchet/internal/report"
	"ratchet/internal/research"
	"ratchet/study"
)

func (a *app) openCommand() *cobra.Command {
	var o ratchet.RunOptions
	var isolation string
	c := &cobra.Command{
		Use:   "open STUDY.yaml",
		Short: "Make a run that waits for proposals, and measure its start in the background",
		Long: `Makes a run of a study with "search: {method: open}". Its start, the program as it
is, is measured in the background; then the run waits for proposals: "ratchet ask" says
what is known, "ratchet tell" proposes, "ratchet close" validates what was found.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			level, err := ratchet.ParseIsolation(isolation)
			if err != nil {
				return usageError{err}
			}
			o.Isolation = level
			file, data, err := readStudy(args[0])
			if err != nil {
				return err
			}
			st, err := ratchet.Check(file, data, o)
			if err != nil {
				return err
			}
			if !st.Open() {
				return usageError{fmt.Errorf("the study's search proposes on its own; write `search: {method: %s}`, or use `ratchet run`", study.Open)}
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
			if err := a.whileDriven(c.Context(), e, run, func(ask ratchet.Ask) bool { return ask.Taking == "" }); err != nil {
				return err
			}
			return a.said(run, "open", "run %s is open; its start is being measured\nask    ratchet ask %s\ntell   ratchet tell %s --why TEXT --code DIR\nclose  ratchet close %s\n", run, run, run, run)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Output, "output-dir", "", "folder of the report (default results/RUN)")
	f.IntVar(&o.Parallel, "parallel", 0, "attempts at the same time (default: as the study says)")
	f.Int64Var(&o.Seed, "seed", 1, "seed of the trials")
	f.StringVar(&isolation, "isolation", "strict", "walls around attempts: strict, or process for limits only")
	f.StringArrayVar(&o.AllowInputs, "allow-input", nil, "input with keys in it that programs are to see all the same")
	f.StringArrayVar(&o.Env, "env", nil, "variable that programs get: NAME=VALUE, or NAME for what your environment has")
	return c
}

// wakeEvery is how often what waits for a run looks whether anybody drives it.
const wakeEvery = 500 * time.Millisecond

// mostBegun is how often an engine is begun before something else must be wrong.
const mostBegun = 20

// whileDriven waits until something holds of an open run, and has it driven meanwhile: where
// its engine is gone, another begins in the background. A run that stopped is an error.
func (a *app) whileDriven(ctx context.Context, e *ratchet.Engine, run string, holds func(ratchet.Ask) bool) error {
	changed, stop := context.WithCancel(ctx)
	defer stop()
	news := make(chan error, 1)
	tell := func(err error) {
		select {
		case news <- err:
		default:
		}
	}
	status, err := e.Status(ctx, run)
	if err != nil {
		return err
	}
	from := status.Seq + 1
	go func() {
		for _, err := range e.Subscribe(changed, run, from) {
			tell(err)
			if err != nil {
				return
			}
		}
	}()
	clock := time.NewTicker(wakeEvery)
	defer clock.Stop()
	begun := 0
	for {
		ask, err := e.Ask(ctx, run)
		if err != nil {
			return err
		}
		if holds(ask) {
			return nil
		}
		if status, err = e.Status(ctx, run); err != nil {
			return err
		}
		switch {
		case status.Ended():
			return fmt.Errorf("run %s has ended: %s%s", run, status.Status, inBrackets(status.Why))
		case status.Status == string(ratchet.Paused):
			return fmt.Errorf("run %s is paused%s; `ratchet resume %s` goes on", run, inBrackets(status.Why), run)
		case status.Driven == nil:
			_, log, err := a.background(e, run)
			if err != nil {
				return err
			}
			if begun++; begun > mostBegun {
				return fmt.Errorf("the engine of run %s ends as soon as it begins; it says why in %s", run, log)
			}
		}
		select {
		case err := <-news:
			if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				return err
			}
		case <-clock.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askBudget is about how many tokens what "ask" says may have, unless it is said.
const askBudget = 8000

func (a *app) askCommand() *cobra.Command {
	var budget int
	var wait bool
	var since int64
	c := &cobra.Command{
		Use:   "ask [RUN]",
		Short: "Say what is known in an open run: rules, budget, what was tried, and what it gave",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				ask, err := e.Ask(ctx, run)
				if err != nil {
					return err
				}
				if wait {
					known := func(ask ratchet.Ask) int {
						n := len(ask.Notes)
						for _, t := range ask.Experiments {
							if t.Verdict != ratchet.Pending {
								n++
							}
						}
						return n
					}
					before := known(ask)
					if since > 0 && since < ask.Seq {
						before = -1
					}
					if err := a.whileDriven(ctx, e, run, func(now ratchet.Ask) bool {
						ask = now
						return known(now) > before
					}); err != nil {
						return err
					}
				}
				if a.json {
					a.printJSON(ask)
					return nil
				}
				a.printf("%s", ask.Text(budget))
				return nil
			})
		},
	}
	f := c.Flags()
	f.IntVar(&budget, "budget", askBudget, "about how many tokens of a language model the text may have")
	f.BoolVar(&wait, "wait", false, "wait until there is a new verdict or note")
	f.Int64Var(&since, "since", 0, "with --wait: answer at once if there are records after this one")
	return c
}

func (a *app) tellCommand() *cobra.Command {
	var p ratchet.Proposal
	var patch, parameters string
	var wait bool
	c := &cobra.Command{
		Use:   "tell [RUN] --why TEXT",
		Short: "Propose an experiment to an open run",
		Long: `Proposes an experiment: code as a folder or as a patch, parameters, or both. What the
study does not let proposals change is refused at once, with the place. What was proposed
before is answered with the earlier experiment, at no cost: so it is safe to repeat.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if patch != "" {
				if p.Patch, err = readPatch(patch); err != nil {
					return err
				}
			}
			if parameters != "" {
				if err := json.Unmarshal([]byte(parameters), &p.Parameters); err != nil {
					return usageError{fmt.Errorf("--parameters is no JSON object: %w; write it like '{\"lr\": 0.01}'", err)}
				}
			}
			if p.Who == "" {
				p.Who = me()
			}
			return a.with(c, args, active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				told, err := e.Tell(ctx, run, p)
				if err != nil {
					return err
				}
				if err := a.awake(ctx, e, run); err != nil {
					return err
				}
				if wait {
					if err := a.whileDriven(ctx, e, run, func(ask ratchet.Ask) bool { return decided(ask, told.Experiment) }); err != nil {
						return err
					}
				}
				answer, err := e.Answer(ctx, run, told.Experiment)
				if err != nil {
					return err
				}
				answer.Again = told.Again
				a.printAnswer(answer)
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&p.Why, "why", "", "what it changes, and what that should bring (needed)")
	f.StringVar(&p.Parent, "parent", "", "the experiment that it changes (default: the best so far)")
	f.StringVar(&p.Code, "code", "", "folder with the program's files as proposed")
	f.StringVar(&patch, "patch", "", "file with a unified diff against the parent's code; - for standard input")
	f.StringVar(&parameters, "parameters", "", "parameters that differ from the parent's, as a JSON object")
	f.StringVar(&p.Hypothesis, "hypothesis", "", "a claim that the run judges on fresh seeds if the experiment is kept")
	f.StringVar(&p.Who, "by", "", "who proposes (default: your user name)")
	f.BoolVar(&wait, "wait", false, "wait for the verdict")
	return c
}

// decided reports whether an experiment has a verdict.
func decided(ask ratchet.Ask, experiment string) bool {
	for _, t := range ask.Experiments {
		if t.Experiment == experiment {
			return t.Verdict != ratchet.Pending
		}
	}
	return false
}

// awake has a run driven that is not paused.
func (a *app) awake(ctx context.Context, e *ratchet.Engine, run string) error {
	s, err := e.Status(ctx, run)
	if err != nil || s.Driven != nil || s.Ended() || s.Status == string(ratchet.Paused) {
		return err
	}
	_, _, err = a.background(e, run)
	return err
}

// mostPatch bounds a patch, in bytes.
const mostPatch = 8 << 20

func readPatch(name string) ([]byte, error) {
	var from io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name) //nolint:forbidigo // a person names it
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	return io.ReadAll(io.LimitReader(from, mostPatch))
}

func (a *app) printAnswer(t ratchet.Answer) {
	if a.json {
		a.printJSON(t)
		return
	}
	again := ""
	if t.Again {
		again = ", proposed before"
	}
	a.printf("%s  %s%s\n", t.Experiment, t.Verdict, again)
	if t.Difference != nil {
		text := report.Number(*t.Difference)
		if t.Interval != nil {
			text += fmt.Sprintf(" [%s, %s]", report.Number(t.Interval[0]), report.Number(t.Interval[1]))
		}
		a.printf("gain   %s over %s, on %s\n", text, t.Against, research.Counted(t.N, "seed"))
	}
	a.printf("why    %s\n", research.Printable(t.Why, 500))
	for line := range strings.Lines(t.Words) {
		a.printf("said   %s\n", research.Printable(strings.TrimRight(line, "\n"), 300))
	}
	if t.Best != "" {
		a.printf("best   %s\n", t.Best)
	}
}

func (a *app) noteCommand() *cobra.Command {
	var n ratchet.NoteMade
	c := &cobra.Command{
		Use:   "note RUN TEXT",
		Short: "Leave a word for whoever proposes next to an open run",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args[:1], active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if n.Text = args[1]; n.By == "" {
					n.By = me()
				}
				if err := e.Request(ctx, run, n); err != nil {
					return err
				}
				return a.said(run, "noted", "noted in run %s\n", run)
			})
		},
	}
	c.Flags().StringVar(&n.Experiment, "on", "", "the experiment that it is about")
	c.Flags().StringVar(&n.By, "by", "", "who says so (default: your user name)")
	return c
}

func (a *app) vetoCommand() *cobra.Command {
	var v ratchet.ExperimentVetoed
	c := &cobra.Command{
		Use:   "veto RUN EXPERIMENT",
		Short: "Take an experiment of an open run out of what may be the best",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args[:1], active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				v.Experiment, v.By = args[1], me()
				if err := e.Request(ctx, run, v); err != nil {
					return err
				}
				return a.said(run, "vetoed", "%s of run %s will not be the best; what comes after it is weighed against what was best before\n", args[1], run)
			})
		},
	}
	c.Flags().StringVar(&v.Why, "why", "", "why not, for the record and whoever proposes next")
	return c
}

func (a *app) closeCommand() *cobra.Command {
	var detach bool
	c := &cobra.Command{
		Use:   "close [RUN]",
		Short: "End proposing to an open run: validate on fresh seeds, judge, report",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, args, active, func(ctx context.Context, e *ratchet.Engine, run string) error {
				if err := e.Request(ctx, run, ratchet.CloseRequested{By: me()}); err != nil {
					return err
				}
				if detach {
					if err := a.awake(ctx, e, run); err != nil {
						return err
					}
					return a.said(run, "close requested", "run %s validates what was found; `ratchet status %s` shows how far it is\n", run, run)
				}
				return a.drive(ctx, e, run, ratchet.DriveOptions{OnInterrupt: ratchet.Leave})
			})
		},
	}
	c.Flags().BoolVar(&detach, "detach", false, "do not wait for it")
	return c
}
