package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"ratchet/internal/report"
)

// coloured reports whether stdout is a terminal that wants colours.
func (a *app) coloured() bool {
	return !a.noColor && os.Getenv("NO_COLOR") == "" && terminal(a.out) != nil
}

func (a *app) good(s string) string { return a.paint(s, 32) }
func (a *app) bad(s string) string  { return a.paint(s, 31) }

func (a *app) paint(s string, colour int) string {
	if !a.coloured() {
		return s
	}
	return own(fmt.Sprintf("\x1b[%dm", colour)) + s + own("\x1b[0m")
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

// amount writes a number of bytes for a person, with three digits at most.
func amount(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v /= 1000; v < 999.5 {
			break
		}
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}
