package monitor

import (
	"fmt"
	"time"

	"ratchet/internal/research"
	"ratchet/study"
)

// Reading is a value that a rule looks at: of the rule's subject, which is a
// disk, a device, an attempt, or "" where there is only one.
type Reading struct {
	Rule    string
	Subject string
	Value   float64
	Text    string // for a person, with the value in it
}

// Rule raises an alert when its readings have been at or above a threshold
// for a while, and resolves it when they have been below another for as long.
type Rule struct {
	Name      string
	Severity  string
	Threshold float64
	// Clear is below Threshold, so that a value that swings between them
	// raises nothing twice.
	Clear float64
	For   time.Duration
}

// Alerts raises and resolves. The zero value has raised nothing.
type Alerts struct {
	rules  map[string]Rule
	since  map[string]time.Time // over its threshold without a break, by rule and subject
	under  map[string]time.Time // below its clear value without a break, while raised
	raised map[string]research.AlertRaised
}

// NewAlerts goes on from the alerts that are raised already; those of other
// rules are resolved elsewhere.
func NewAlerts(rules []Rule, open []research.AlertRaised) *Alerts {
	a := &Alerts{rules: map[string]Rule{}, since: map[string]time.Time{}, under: map[string]time.Time{}, raised: map[string]research.AlertRaised{}}
	for _, r := range rules {
		a.rules[r.Name] = r
	}
	for _, o := range open {
		if _, ours := a.rules[o.Rule]; ours {
			a.raised[o.Key()] = o
		}
	}
	return a
}

// Step takes readings at a time and gives the events that follow. A raised
// alert without a reading any more is resolved like one below its clear value.
func (a *Alerts) Step(now time.Time, readings []Reading) []research.Payload {
	var out []research.Payload
	over := map[string]bool{} // at or above the clear value now
	for _, r := range readings {
		rule, ok := a.rules[r.Rule]
		if !ok {
			continue
		}
		raise := research.AlertRaised{Rule: r.Rule, Subject: r.Subject, Severity: rule.Severity, Text: research.Printable(r.Text, 500), Value: r.Value, Threshold: rule.Threshold}
		key := raise.Key()
		if r.Value >= rule.Clear {
			over[key] = true
		}
		if r.Value < rule.Threshold {
			delete(a.since, key)
			continue
		}
		if _, there := a.since[key]; !there {
			a.since[key] = now
		}
		if _, open := a.raised[key]; !open && now.Sub(a.since[key]) >= rule.For {
			a.raised[key] = raise
			out = append(out, raise)
		}
	}
	for key, r := range a.raised {
		if over[key] {
			delete(a.under, key)
			continue
		}
		if _, there := a.under[key]; !there {
			a.under[key] = now
		}
		if now.Sub(a.under[key]) >= a.rules[r.Rule].For {
			delete(a.raised, key)
			delete(a.under, key)
			out = append(out, research.AlertResolved{Rule: r.Rule, Subject: r.Subject})
		}
	}
	for key := range a.since {
		if !over[key] {
			delete(a.since, key)
		}
	}
	return out
}

// Rules are the alerts of a run whose machine has these limits.
func Rules(l Limits) []Rule {
	below := func(v float64) float64 { return v - 0.05 }
	rules := []Rule{
		{"memory", research.Warning, l.Memory, below(l.Memory), time.Minute},
		{"processors", research.Info, l.CPU, below(l.CPU), 10 * time.Minute},
		{"disk", research.Warning, l.Disk, l.Disk - 0.02, 10 * time.Second},
		{"disk full", research.Grave, 0.99, 0.97, 10 * time.Second},
		{"gpu memory", research.Warning, l.GPUMemory, below(l.GPUMemory), time.Minute},
		{"gpu temperature", research.Warning, 90, 85, time.Minute},
		{"gpu errors", research.Grave, 1, 1, 0},
		{"memory pressure", research.Warning, 0.2, 0.1, 30 * time.Second},
		{"disk pressure", research.Warning, 0.6, 0.3, time.Minute},
		{"stalled attempt", research.Warning, 1, 1, 0},
		{"failing attempts", research.Warning, 0.2, 0.1, 0},
		{"dependency", research.Warning, 1, 1, time.Minute},
		{"backup overdue", research.Warning, 2, 1.5, 0},
		{"disk forecast", research.Warning, 1, 1, time.Minute},
		{"memory forecast", research.Info, 1, 1, 10 * time.Second},
		{"likely failure", research.Info, 1, 1, 0},
		{"slow recovery", research.Warning, 10, 10, 0}, // minutes
		{"engine leak", research.Warning, 1, 1, 0},
		{"critical", research.Grave, 1, 1, 30 * time.Second},
	}
	out := rules[:0]
	for _, r := range rules {
		if r.Threshold > 0 {
			out = append(out, r)
		}
	}
	return out
}

// Readings are what the rules look at, of facts and their judgement.
func Readings(f Facts, h Health) []Reading {
	var out []Reading
	add := func(rule, subject string, value float64, format string, args ...any) {
		out = append(out, Reading{rule, subject, value, fmt.Sprintf(format, args...)})
	}
	yes := map[bool]float64{true: 1}
	s := f.Sample
	if s.Memory != nil {
		add("memory", "", s.Memory.Share(), "%.0f %% of the machine's memory is used, %s are available", 100*s.Memory.Share(), study.Bytes(s.Memory.Available))
	}
	if s.CPU != nil {
		add("processors", "", *s.CPU, "the processors are %.0f %% busy", 100**s.CPU)
	}
	for _, d := range s.Disks {
		for _, rule := range []string{"disk", "disk full"} {
			add(rule, d.What, d.Share(), "the disk of the %s (%s) is %.0f %% full, %s are free", d.What, d.Path, 100*d.Share(), study.Bytes(d.Free))
		}
	}
	if p := s.Pressure; p != nil {
		add("memory pressure", "", p.Memory, "for %.0f %% of the time something waited for memory", 100*p.Memory)
		add("disk pressure", "", p.IOFull, "for %.0f %% of the time everything waited for disks", 100*p.IOFull)
	}
	for _, g := range s.GPUs {
		subject := fmt.Sprintf("GPU %d", g.Index)
		if g.MemoryUsed != nil && g.MemoryTotal != nil && *g.MemoryTotal > 0 {
			share := float64(*g.MemoryUsed) / float64(*g.MemoryTotal)
			add("gpu memory", subject, share, "%.0f %% of the memory of GPU %d is used", 100*share, g.Index)
		}
		if g.Temperature != nil {
			add("gpu temperature", subject, *g.Temperature, "GPU %d is at %.0f °C", g.Index, *g.Temperature)
		}
		if g.ECCErrors != nil {
			add("gpu errors", subject, float64(*g.ECCErrors), "GPU %d had %d uncorrected memory errors", g.Index, *g.ECCErrors)
		}
	}
	for _, a := range s.Attempts {
		if f.StallAfter > 0 {
			add("stalled attempt", a.ID, yes[a.Quiet(f.Now) > f.StallAfter], "attempt %s has shown no sign of life for %s", a.ID, a.Quiet(f.Now).Round(time.Second))
		}
	}
	if n := len(f.Outcomes); n >= 10 {
		bad := 1 - share(f.Outcomes)
		add("failing attempts", "", bad, "%.0f %% of the last %d attempts failed", 100*bad, n)
	}
	for _, d := range f.Dependencies {
		add("dependency", d.Name, 1, "%s does not answer: %s", d.Name, d.Why)
	}
	if f.BackupEvery > 0 && !f.LastBackup.IsZero() {
		age := f.Now.Sub(f.LastBackup)
		add("backup overdue", "", float64(age)/float64(f.BackupEvery), "the last backup is %s old, one is due every %s", age.Round(time.Minute), f.BackupEvery)
	}
	if f.Leak != "" {
		add("engine leak", "", 1, "%s", f.Leak)
	}
	if h.State == Critical && len(h.Reasons) > 0 {
		add("critical", "", 1, "the run's health is critical, %d of 100: %s", h.Score, h.Reasons[0].Why)
	}
	return out
}
