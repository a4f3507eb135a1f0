package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"ratchet"

	"golang.org/x/term"

	"ratchet/internal/report"
	"ratchet/internal/research"
)

// progress shows how a run goes: on a terminal one line that is kept up to
// date, elsewhere a plain line when something has changed.
type progress struct {
	a        *app
	run      string
	terminal bool
	width    int

	mu      sync.Mutex
	line    string
	printed time.Time
	last    string
	began   time.Time
	first   int // trials that were complete when this began
	stage   string
}

// plainEvery is the least time between two lines where there is no terminal.
const plainEvery = 2 * time.Second

func (a *app) newProgress(run string) *progress {
	p := &progress{a: a, run: run, width: 100, began: time.Now(), first: -1}
	if f := terminal(a.err); f != nil && !a.quiet && !a.json {
		p.terminal = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = w
		}
	}
	return p
}

// observe is told of every step of the run.
func (p *progress) observe(step ratchet.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := step.Status
	for _, e := range step.Events {
		p.a.logEvent(step, e)
		if al, ok := e.(ratchet.AlertRaised); ok && al.Rule != research.RuleSecurity && al.Rule != research.RulePaused && al.Rule != research.RuleFailed {
			p.note(al.Severity + ": " + al.Text)
		}
		if t, ok := e.(ratchet.TrialCompleted); ok && t.Outcome != research.Succeeded {
			p.note(fmt.Sprintf("trial %s failed: %s: %s", t.Trial, t.Outcome, step.Messages[t.Trial]))
		}
	}
	if step.Outlook != "" && !p.a.quiet {
		p.note("outlook          " + step.Outlook)
	}
	if p.a.quiet || p.a.json {
		return
	}
	if p.first < 0 {
		p.first = s.Trials
	}
	line := p.describe(s)
	if line == p.last {
		return
	}
	switch {
	case p.terminal:
		p.last = line
		fmt.Fprint(p.a.err, own("\r\x1b[K")+clip(line, p.width-1))
		p.line = line
	case s.Stage != p.stage || time.Since(p.printed) >= plainEvery:
		p.last, p.stage, p.printed = line, s.Stage, time.Now()
		fmt.Fprintln(p.a.err, line)
	}
}

// note prints a line of its own.
func (p *progress) note(text string) {
	if p.a.json {
		return
	}
	if p.terminal && p.line != "" {
		fmt.Fprint(p.a.err, own("\r\x1b[K"))
	}
	fmt.Fprintln(p.a.err, text)
	if p.terminal && p.line != "" {
		fmt.Fprint(p.a.err, clip(p.line, p.width-1))
	}
}

// stop leaves the terminal as it was.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.line != "" {
		fmt.Fprint(p.a.err, own("\r\x1b[K"))
		p.line = ""
	}
}

// describe is the state of a run on one line.
func (p *progress) describe(s ratchet.Status) string {
	parts := []string{fmt.Sprintf("%-15s", s.Stage)}
	if s.Planned > 0 {
		parts = append(parts, fmt.Sprintf("experiments %d/%d", s.Completed, s.Planned), fmt.Sprintf("trials %d/%d", s.Trials, s.PlannedTrials))
	}
	if s.Failed > 0 {
		parts = append(parts, fmt.Sprintf("failed %d", s.Failed))
	}
	switch {
	case len(s.Front) > 0:
		parts = append(parts, fmt.Sprintf("on the front %d", len(s.Front)))
	case s.Best != nil:
		parts = append(parts, fmt.Sprintf("best %s %s", s.Objective, report.Number(*s.Best)))
	}
	if left := p.left(s); left != "" {
		parts = append(parts, left)
	}
	return strings.Join(parts, "  ")
}

// left estimates the time left from the pace since this process began.
func (p *progress) left(s ratchet.Status) string {
	done, rest := s.Trials-p.first, s.PlannedTrials-s.Trials
	if done < 2 || rest <= 0 || s.Ended() {
		return ""
	}
	pace := time.Since(p.began).Seconds() / float64(done)
	return "about " + report.Span(float64(int(pace*float64(rest))+1)) + " left"
}

func clip(s string, width int) string {
	if r := []rune(s); len(r) > width && width > 1 {
		return string(r[:width-1]) + "…"
	}
	return s
}
