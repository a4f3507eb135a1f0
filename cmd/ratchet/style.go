package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/term"

	"ratchet/internal/report"
)

// coloured reports whether stdout is a terminal that wants colours.
func (a *app) coloured() bool {
	f, ok := a.out.(*os.File)
	return ok && !a.noColor && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}

func (a *app) good(s string) string { return a.paint(s, 32) }
func (a *app) bad(s string) string  { return a.paint(s, 31) }

func (a *app) paint(s string, colour int) string {
	if !a.coloured() {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, s)
}

func number(n int) string { return strconv.Itoa(n) }

// ago writes a time for a person: how long ago, and when.
func ago(t, now time.Time) string {
	d := now.Sub(t).Seconds()
	when := t.Local().Format("2006-01-02 15:04:05")
	if d < 1 {
		return "now (" + when + ")"
	}
	return report.Span(d) + " ago (" + when + ")"
}

// shorter writes a path relative to the working folder where that is shorter.
func shorter(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}
