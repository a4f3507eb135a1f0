package main

import (
	"fmt"
	"log/slog"
)

// setLogging makes the logger that --log-level asks for. Logs go to stderr;
// stdout is for results.
func (a *app) setLogging() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usageError{fmt.Errorf("--log-level is %q; it is debug, info, warn or error", a.logLevel)}
	}
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(a.err, options)
	if a.json {
		h = slog.NewJSONHandler(a.err, options)
	}
	a.log = slog.New(h)
	return nil
}
