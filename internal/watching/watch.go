// Package watching watches a run while it is driven: samples, health, forecasts,
// alerts, and who is told.
package watching

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ratchet/internal/breaker"
	"ratchet/internal/diskspace"
	"ratchet/internal/forecast"
	"ratchet/internal/monitor"
	"ratchet/internal/node"
	"ratchet/internal/notify"
	"ratchet/internal/research"
	"ratchet/study"
)

// Options say how a run is watched while it is driven.
type Options struct {
	Every  time.Duration // between samples; 0: one second
	Health time.Duration // between judgements; 0: ten seconds
	// AlertTo are targets as shoutrrr writes them; AlertFrom is the least
	// severity that they are told of; empty: research.Warning.
	AlertTo   []string
	AlertFrom string
}

// Observation is how a run goes, as the process that drives it saw it last.
type Observation struct {
	Run          string                    `json:"run"`
	PID          int                       `json:"pid"`
	Health       monitor.Health            `json:"health"`
	Sample       monitor.Sample            `json:"sample"`
	Limits       monitor.Limits            `json:"limits"`
	Dependencies []breaker.DependencyState `json:"dependencies"`
	Forecasts    []Forecast                `json:"forecasts"`
	Risk         *forecast.Risk            `json:"risk,omitempty"`
	WaitingFor   string                    `json:"waiting_for,omitempty"`
	LastBackup   *time.Time                `json:"last_backup,omitempty"`
	// Recovery is how long it took, after an engine that did not stop on
	// purpose, until the run was driven again, in seconds; 0: it never happened
	// to this engine.
	Recovery float64 `json:"recovery_s,omitempty"`
}

// Run is a run that is watched, and what the watcher asks of the process that drives it.
type Run struct {
	Name   string
	Folder string // its own, in the home
	Output string // the folder of its report
	State  *research.State
	Node   *node.Node
	Deps   *breaker.Dependencies
	Warn   func(error) // of what failed without harm to the run
	// Using is what the attempts that run use.
	Using func() []monitor.Attempt
	// LastBackup is when the last backup was made, and how often one is to be; nil:
	// none are made.
	LastBackup func() (made time.Time, every time.Duration)
	// Raise journals alerts.
	Raise func(events []research.Payload)
}

// Watcher watches a run while it is driven. A nil Watcher watches nothing.
type Watcher struct {
	run     Run
	options Options
	rates   monitor.Rates
	output  string // the folder of the report, if it is on another disk
	record  *monitor.SampleLog
	alerts  *monitor.Alerts
	notify  *notify.Notifier

	trace trace
	last  Observation

	mu       sync.Mutex
	seen     seen
	held     map[string]int64 // bytes of a device, at most, by attempt that has it alone
	slowest  time.Duration    // append since the last sample
	recovery time.Duration
}

// seen is what a watcher knows of the run's state.
type seen struct {
	recent   []bool
	inFlight int
	last     time.Time
	blocked  string
	waits    bool // for proposals
	silent   map[string]time.Time
	progress progress
	risk     *forecast.Risk
	fitted   int // trials that the risk was learned from
	stall    time.Duration
	attempts map[string]study.Params // in flight
}

// New returns the watcher of a run.
func New(run Run, o Options) (*Watcher, error) {
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.Health == 0 {
		o.Health = 10 * time.Second
	}
	if o.AlertFrom == "" {
		o.AlertFrom = research.Warning
	}
	w := &Watcher{run: run, options: o}
	if !diskspace.Same(run.Folder, run.Output) {
		w.output = run.Output
	}
	var open []research.AlertRaised
	for _, a := range run.State.Alerts {
		open = append(open, a.AlertRaised)
	}
	w.alerts = monitor.NewAlerts(monitor.Rules(run.Node.Limits()), open)
	var err error
	w.notify, err = notify.New(o.AlertTo, run.Deps, run.Warn)
	return w, err
}

// Close ends what is left to tell, at once.
func (w *Watcher) Close() {
	if w != nil {
		w.notify.Close(0)
	}
}

// Recovered notes how long it took until a run was driven again.
func (w *Watcher) Recovered(after time.Duration) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recovery = after
}

// Committed is called with the state after every step, in the driver's goroutine.
func (w *Watcher) Committed(s *research.State, events []research.Payload) {
	if w == nil {
		return
	}
	w.mu.Lock()
	now := &w.seen
	now.recent = append([]bool(nil), s.Tally.Recent...)
	now.inFlight, now.last, now.blocked, now.silent = len(s.Pending), s.Time, s.Blocked, s.Silent
	now.waits = s.Waits()
	now.progress = progressOf(s)
	now.stall = time.Duration(s.Created.Study.Limits.Attempt.Stall) / 2
	if now.stall == 0 {
		now.stall = 15 * time.Minute
	}
	if s.Tally.Trials >= now.fitted+max(5, now.fitted/5) {
		now.risk, now.fitted = forecast.Fit(s), s.Tally.Trials
	}
	now.attempts = map[string]study.Params{}
	for _, a := range s.Pending {
		if x := s.Experiment(a.Experiment); a.Kind == research.Try && x != nil {
			now.attempts[a.ID] = x.Parameters
		}
	}
	w.mu.Unlock()
	for _, p := range events {
		w.send(s, p)
	}
}

// send sends notifications of what is durable now.
func (w *Watcher) send(s *research.State, p research.Payload) {
	title := "run " + s.Created.Run
	switch e := p.(type) {
	case research.AlertRaised:
		if slices.Index(research.Severities, e.Severity) >= slices.Index(research.Severities, w.options.AlertFrom) && !s.Silenced(e.Rule, s.Time) {
			w.notify.Send(notify.Message{Title: e.Severity + ": " + title, Text: e.Text})
		}
	case research.AlertResolved:
		if !s.Silenced(e.Rule, s.Time) {
			w.notify.Send(notify.Message{Title: "resolved: " + title, Text: "over: " + subject(e.Rule, e.Subject)})
		}
	case research.RunCompleted:
		w.notify.Send(notify.Message{Title: title, Text: fmt.Sprintf("%s after %s: %d trials, %d of them failed", e.Status, study.Duration(s.Driven.Round(time.Second)), s.Tally.Trials, s.Tally.Failed)})
	}
}

func subject(rule, of string) string {
	if of == "" {
		return rule
	}
	return rule + " (" + of + ")"
}

// Appended is called with how long an append took.
func (w *Watcher) Appended(took time.Duration) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slowest = max(w.slowest, took)
}

// Risk is the chance that an attempt fails, as far as the run has learned it.
func (w *Watcher) Risk(p study.Params) float64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen.risk.Tells() {
		return 0
	}
	return w.seen.risk.Chance(p)
}

// Run samples and judges until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	defer w.notify.Close(10 * time.Second)
	dir := Samples(w.run.Folder)
	record, err := monitor.NewRecord(dir)
	if err != nil {
		w.run.Warn(err)
	}
	w.record = record
	samples, health := time.NewTicker(w.options.Every), time.NewTicker(w.options.Health)
	defer samples.Stop()
	defer health.Stop()
	slowest := time.Duration(0)
	w.sample(ctx)
	w.judge(0)
	for {
		select {
		case <-ctx.Done():
			w.last.Health.State, w.last.Dependencies = monitor.ShuttingDown, w.run.Deps.States()
			w.write()
			if w.record != nil {
				_ = w.record.Close() // what is left of the last minute is a minute
			}
			return
		case <-samples.C:
			slowest = max(slowest, w.sample(ctx))
		case <-health.C:
			if events := w.judge(slowest); len(events) > 0 {
				w.run.Raise(events)
			}
			slowest = 0
		}
	}
}

// sample takes one sample, and returns the slowest append since the last.
func (w *Watcher) sample(ctx context.Context) time.Duration {
	s := w.run.Node.Sample(ctx, w.options.Every)
	s.Attempts = w.rates.Of(w.run.Using())
	if w.output != "" {
		if d, ok := monitor.DiskOf(ctx, "output", w.output); ok {
			s.Disks = append(slices.Clone(s.Disks), d)
		}
	}
	w.mu.Lock()
	slowest := w.slowest
	w.slowest = 0
	w.noteDeviceMemory(s)
	w.mu.Unlock()
	s.JournalMS = float64(slowest.Microseconds()) / 1000
	s.Waiting, w.last.WaitingFor, s.Parallel = w.run.Node.Standing()
	w.last.Sample = s
	w.trace.add(s)
	if w.record != nil && ctx.Err() == nil {
		// A full disk costs the record, and nothing else.
		_ = w.run.Deps.Of("the monitor's record").Do(ctx, 0, func(context.Context) error { return w.record.Add(s) })
	}
	return slowest
}

// noteDeviceMemory notes what attempts that have a device alone hold of it.
func (w *Watcher) noteDeviceMemory(s monitor.Sample) {
	users := map[int]int{}
	held := map[string]int64{}
	for _, a := range s.Attempts {
		for _, g := range a.GPUs {
			users[g]++
		}
	}
	for id, bytes := range w.held {
		if _, pending := w.seen.attempts[id]; pending { // its outcome is not there yet
			held[id] = bytes
		}
	}
	for _, a := range s.Attempts {
		for _, g := range s.GPUs {
			if slices.Contains(a.GPUs, g.Index) && users[g.Index] == 1 && g.MemoryUsed != nil {
				held[a.ID] = max(held[a.ID], *g.MemoryUsed)
			}
		}
	}
	w.held = held
}

// GPUMemory is what an attempt held of a device at most; 0: unknown.
func (w *Watcher) GPUMemory(attempt string) int64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[attempt]
}

// judge assesses the run's health and gives the alerts that follow.
func (w *Watcher) judge(slowest time.Duration) []research.Payload {
	w.mu.Lock()
	seen, recovery := w.seen, w.recovery
	w.mu.Unlock()
	w.last.Run, w.last.PID, w.last.Limits, w.last.Risk = w.run.Name, os.Getpid(), w.run.Node.Limits(), seen.risk
	w.last.Dependencies, w.last.Recovery = w.run.Deps.States(), recovery.Seconds()
	f := monitor.Facts{
		Now: w.last.Sample.Time, Limits: w.run.Node.Limits(), Sample: w.last.Sample, Outcomes: seen.recent, SlowestAppend: slowest, StallAfter: seen.stall,
		LastEvent: seen.last, InFlight: seen.inFlight, Leak: w.trace.leak(), Blocked: seen.blocked, Waits: seen.waits,
	}
	if w.run.LastBackup != nil {
		var last time.Time
		if last, f.BackupEvery = w.run.LastBackup(); !last.IsZero() {
			f.LastBackup, w.last.LastBackup = last, &last
		}
	}
	for _, d := range w.last.Dependencies {
		if d.Failures > 0 {
			f.Dependencies = append(f.Dependencies, monitor.Dependency{Name: d.Name, Open: d.Breaker != "closed", Why: d.Why})
		}
	}
	w.run.Node.Press(w.options.Health)
	first := w.last.Health.Time.IsZero()
	health := monitor.Track(w.last.Health, monitor.Assess(f))
	if first {
		health.State, health.Since = monitor.Initialising, health.Time
	}
	w.last.Health = health
	w.last.Forecasts = append(w.trace.forecasts(w.last.Sample), seen.progress.forecasts(f.Now)...)
	w.write()
	if first {
		return nil
	}
	readings := monitor.Readings(f, health)
	for _, c := range w.last.Forecasts {
		if c.rule != "" {
			readings = append(readings, monitor.Reading{Rule: c.rule, Subject: c.Subject, Value: 1, Text: c.Text})
		}
	}
	if recovery > 0 {
		readings = append(readings, monitor.Reading{Rule: "slow recovery", Value: recovery.Minutes(), Text: fmt.Sprintf("it took %s until the run was driven again", recovery.Round(time.Second))})
	}
	if seen.risk.Tells() {
		for id, p := range seen.attempts {
			if c := seen.risk.Chance(p); c > 0.5 {
				readings = append(readings, monitor.Reading{Rule: "likely failure", Subject: id, Value: 1, Text: fmt.Sprintf("attempt %s fails with a chance of %.0f %%, by what its parameters did before", id, 100*c)})
			}
		}
	}
	slices.SortStableFunc(readings, func(a, b monitor.Reading) int { return strings.Compare(a.Rule+a.Subject, b.Rule+b.Subject) })
	return w.alerts.Step(f.Now, readings)
}

// write leaves the last judgement where other processes find it.
func (w *Watcher) write() {
	b, err := json.Marshal(w.last)
	if err == nil {
		path := file(w.run.Folder)
		if err = os.WriteFile(path+".new", b, 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil {
		_ = w.run.Deps.Of("the monitor's record").Do(context.Background(), 0, func(context.Context) error { return err })
	}
}

func file(folder string) string { return filepath.Join(folder, "health.json") }

// Read is how the run in a folder goes, as the process that drives it saw it last; nil if
// ever did.
func Read(folder string) (*Observation, error) {
	b, err := os.ReadFile(file(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var w Observation
	if err == nil {
		err = json.Unmarshal(b, &w)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the health of the run in %s: %w", folder, err)
	}
	return &w, nil
}

// Samples is the folder with what was sampled while the run in a folder was driven;
// see package monitor.
func Samples(folder string) string { return filepath.Join(folder, "monitor") }

// alertRules are the names of all rules.
func alertRules() []string {
	out := []string{research.RulePaused, research.RuleSecurity, research.RuleFailed}
	for _, r := range monitor.Rules(monitor.Limits{CPU: 1, Memory: 1, Disk: 1, GPUMemory: 1}) {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}

// UnknownRuleError says that there is no alert rule of a name.
type UnknownRuleError struct{ Rule string }

func (u *UnknownRuleError) Error() string {
	return fmt.Sprintf("there is no rule %q; it is * or one of: %s", u.Rule, strings.Join(alertRules(), ", "))
}

// CheckRule refuses, with an UnknownRuleError, the name of a rule that there is not;
// "*" is all of them.
func CheckRule(name string) error {
	if name == "*" || slices.Contains(alertRules(), name) {
		return nil
	}
	return &UnknownRuleError{name}
}
