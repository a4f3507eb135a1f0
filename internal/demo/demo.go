// Package demo shows on real processes, with real faults, what the engine
// withstands.
package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/internal/view"
	"ratchet/internal/watching"
)

//go:embed study.yaml
var studyFile string

//go:embed work.sh
var program []byte

// Options say what is shown.
type Options struct {
	Dir string // where everything happens; it is empty
	// Self is the program that has the command line, to be started and killed.
	Self string
	// Say is told what happens, in words. Observe is told of every step.
	Say     func(format string, args ...any)
	Observe func(view.Progress)
}

// Result is what came of a scenario.
type Result struct {
	Scenario int     `json:"scenario"`
	Name     string  `json:"name"`
	Rows     []Row   `json:"faults"`
	Checks   []Check `json:"checks"`
	Run      string  `json:"run"`
	Took     float64 `json:"took_s"`
}

// Row is a kind of fault: how often it was injected, as what it was detected,
// how often the work went on, and after how long.
type Row struct {
	Fault     string    `json:"fault"`
	Injected  int       `json:"injected"`
	Detected  int       `json:"detected"`
	As        string    `json:"as"`
	Recovered int       `json:"recovered"`
	Lost      int       `json:"lost"`
	Recovery  []float64 `json:"recovery_s"` // seconds from the failure until the work went on
}

// Check is something that must hold.
type Check struct {
	What string `json:"what"`
	Held bool   `json:"held"`
	Said string `json:"said,omitempty"`
}

// Held reports whether all went as it must: every fault was detected and
// recovered from, nothing was lost, every check held.
func (r *Result) Held() bool {
	for _, row := range r.Rows {
		if row.Detected < row.Injected || row.Recovered < row.Injected || row.Lost > 0 {
			return false
		}
	}
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Held })
}

// Median and Worst are over a row's recoveries, in seconds.
func (r Row) Median() float64 {
	if len(r.Recovery) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r.Recovery))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Worst is the longest recovery, in seconds.
func (r Row) Worst() float64 {
	if len(r.Recovery) == 0 {
		return 0
	}
	return slices.Max(r.Recovery)
}

// Names are the scenarios, the first first.
var Names = []string{
	"a study runs from its question to its report",
	"errors and recovery",
	"resources and health",
	"checkpoint, backup, damage, restore",
	"all at once, while the engine itself is killed",
}

// expected is as what each fault must be detected.
var expected = map[string]research.Class{
	"crash": research.ProgramFault, "kill": research.Transient, "network": research.Transient, "busy": research.RateLimited,
	"hang": research.Timeout, "silent": research.InvalidOutput, "memory": research.Resource, "disk": research.Resource, "forks": research.Resource,
}

var (
	errorFaults    = []string{"crash", "kill", "network", "busy", "hang", "silent"}
	resourceFaults = []string{"memory", "disk", "forks"}
)

// Run shows a scenario, from 1.
func Run(ctx context.Context, scenario int, o Options) (*Result, error) {
	began := time.Now()
	d := &demo{o: o, result: &Result{Scenario: scenario, Name: Names[scenario-1], Rows: []Row{}, Checks: []Check{}}}
	err := []func(context.Context) error{d.basic, d.errors, d.resources, d.restore, d.everything}[scenario-1](ctx)
	d.result.Took = time.Since(began).Seconds()
	return d.result, err
}

// demo is one scenario under way.
type demo struct {
	o      Options
	result *Result
}

func (d *demo) check(what string, held bool, format string, args ...any) {
	d.result.Checks = append(d.result.Checks, Check{what, held, fmt.Sprintf(format, args...)})
}

// create makes a home in a folder below the demo's, and a run with faults.
func (d *demo) create(ctx context.Context, name string, faults []string) (*engine.Engine, string, error) {
	dir := filepath.Join(d.o.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "study.yaml")
	text := strings.Replace(studyFile, "FAULTS", strings.Join(append([]string{"none"}, faults...), ", "), 1)
	const seed = 1
	work := bytes.ReplaceAll(program, []byte("SEARCH_SEED"), strconv.AppendInt(nil, research.SearchSeeds(seed, 1)[0], 10))
	err := errors.Join(os.WriteFile(file, []byte(text), 0o644), os.WriteFile(filepath.Join(dir, "work.sh"), work, 0o644))
	if err != nil {
		return nil, "", err
	}
	e, err := engine.Open(filepath.Join(dir, "home"), engine.Options{})
	if err != nil {
		return nil, "", err
	}
	run, err := e.Create(ctx, file, []byte(text), engine.RunOptions{Seed: seed, Output: filepath.Join(dir, "report")})
	if err != nil {
		return nil, "", errors.Join(err, e.Close())
	}
	d.result.Run = run
	return e, run, nil
}

// observe reports every step of a run.
func (d *demo) observe(e *engine.Engine) func(*research.State, []research.Payload) {
	return func(s *research.State, events []research.Payload) {
		if d.o.Observe != nil {
			d.o.Observe(view.ProgressOf(e, s, events))
		}
	}
}

func (d *demo) drive(ctx context.Context, e *engine.Engine, run string, w watching.Options) (*research.State, error) {
	return e.Drive(ctx, run, engine.DriveOptions{Observe: d.observe(e), Watch: w, OnInterrupt: engine.Stop})
}

// judge reads from a run's state what became of the faults.
func (d *demo) judge(s *research.State, faults []string) {
	for _, fault := range faults {
		row := Row{Fault: fault, As: string(expected[fault]), Recovery: []float64{}}
		for _, x := range s.Experiments {
			if x.Parameters["fault"] != fault {
				continue
			}
			for _, t := range x.Trials {
				if t.Purpose != research.ForSearch {
					continue
				}
				row.Injected++
				if len(t.Attempts) > 0 && t.Attempts[0].Class == expected[fault] {
					row.Detected++
				}
				if t.Outcome == research.Succeeded && len(t.Attempts) > 1 {
					row.Recovered++
					row.Recovery = append(row.Recovery, t.Attempts[1].Started.Sub(t.Attempts[0].Ended).Seconds())
				} else {
					row.Lost++
				}
			}
		}
		d.result.Rows = append(d.result.Rows, row)
	}
	verdict := "none"
	if len(s.Hypotheses) > 0 && s.Hypotheses[0].Judgment != nil {
		verdict = s.Hypotheses[0].Judgment.Verdict
	}
	d.check("the run came to its end", s.Status == research.Completed, "%s, %d trials, %d of them failed", s.Status, s.Tally.Trials, s.Tally.Failed)
	d.check("the claim that is true came out so", verdict == research.Supported, "%s", verdict)
	d.check("a trial was repeated from its record alone", s.Again != nil && s.Again.Reproduces, "%s", again(s))
}

func again(s *research.State) string {
	if s.Again == nil {
		return "not tried"
	}
	return s.Again.Why
}

func (d *demo) basic(ctx context.Context) error {
	d.o.Say("two methods, compared on fresh seeds; nothing goes wrong")
	return d.plain(ctx, nil, watching.Options{}, nil)
}

func (d *demo) errors(ctx context.Context) error {
	d.o.Say("first attempts crash, are killed, lose the network, are told to wait, hang, and say nothing")
	if err := d.plain(ctx, errorFaults, watching.Options{}, nil); err != nil {
		return err
	}
	return d.models(ctx, 0)
}

// plain runs the study with faults once, and asks then what more there is.
func (d *demo) plain(ctx context.Context, faults []string, w watching.Options, then func(e *engine.Engine, s *research.State) error) error {
	e, run, err := d.create(ctx, "study", faults)
	if err != nil {
		return err
	}
	defer e.Close()
	s, err := d.drive(ctx, e, run, w)
	if err != nil {
		return err
	}
	d.judge(s, faults)
	if then == nil {
		return nil
	}
	return then(e, s)
}

func (d *demo) resources(ctx context.Context) error {
	d.o.Say("first attempts eat memory, fill the disk and fork without end; the engine watches, and says when its limits are met")
	w := watching.Options{Every: 100 * time.Millisecond, Health: 200 * time.Millisecond}
	err := d.plain(ctx, resourceFaults, w, func(e *engine.Engine, s *research.State) error {
		watch, err := e.Watched(s.Created.Run)
		if err != nil {
			return err
		}
		worst := int64(0)
		for _, x := range s.Experiments {
			for _, t := range x.Trials {
				for _, a := range t.Attempts {
					worst = max(worst, a.Usage.Memory)
				}
			}
		}
		d.check("no attempt used much more memory than its limit", worst < 2*64<<20, "%d MiB at most, 64 are allowed", worst>>20)
		alerts, err := e.Alerts(ctx, s.Created.Run)
		if err != nil {
			return err
		}
		said := "none"
		if len(alerts) > 0 {
			said = alerts[0].Text
		}
		d.check("an alert was raised", len(alerts) > 0, "%s", said)
		d.check("the machine was watched", watch != nil && watch.Sample.Memory != nil && len(monitor.Recent(e.Samples(s.Created.Run))) > 0, "samples are kept, health %d of 100", watch.Health.Score)
		return nil
	})
	if err != nil {
		return err
	}
	return d.fullDisk(ctx)
}
