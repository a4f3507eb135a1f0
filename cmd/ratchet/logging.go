package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"ratchet"

	"gopkg.in/natefinch/lumberjack.v2"

	"ratchet/internal/redact"
	"ratchet/internal/research"
	"ratchet/study"
)

// setLogging makes the logger that --log-level and log.format ask for. Logs go
// to stderr; stdout is for results. Secrets are in none of them.
func (a *app) setLogging() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usageError{fmt.Errorf("--log-level is %q; it is debug, info, warn or error", a.logLevel)}
	}
	asJSON := a.json
	if !a.homeless {
		set, err := a.settings()
		if err != nil {
			return err
		}
		asJSON = asJSON || set.Get("log.format") == "json"
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact.OfEnvironment(os.Environ()).Attribute}
	a.stderr = slog.NewTextHandler(a.err, options)
	if asJSON {
		a.stderr = slog.NewJSONHandler(a.err, options)
	}
	a.log = slog.New(a.stderr)
	return nil
}

// logToFile has a home's engine log, in JSON, beside stderr. When it is full
// another is begun, and the oldest goes.
func (a *app) logToFile(e *ratchet.Engine) (done func(), err error) {
	set, err := a.settings()
	if err != nil {
		return nil, err
	}
	file := &lumberjack.Logger{Filename: filepath.Join(e.Folder(), "logs", "engine.log"), MaxSize: 10, MaxBackups: 5}
	if v := set.Get("log.size"); v != "" {
		n, err := study.ParseBytes(v)
		if err != nil {
			return nil, err
		}
		file.MaxSize = max(1, int(n>>20)) // MiB
	}
	if v := set.Get("log.keep"); v != "" {
		if file.MaxBackups, err = strconv.Atoi(v); err != nil {
			return nil, err
		}
	}
	h := slog.NewJSONHandler(file, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: redact.OfEnvironment(os.Environ()).Attribute})
	a.log, a.file = slog.New(slog.NewMultiHandler(a.stderr, h)), slog.New(h)
	return func() {
		_ = file.Close() // what it could not write is lost: the journal has what matters
		a.log, a.file = slog.New(a.stderr), nil
	}, nil
}

// logEvent logs what is worth a line; on a terminal the progress says it in
// words. What concerns security says so, for tools that collect such events.
func (a *app) logEvent(step ratchet.Progress, p ratchet.Payload) {
	if a.log == nil || a.file == nil {
		return
	}
	log := a.file
	if a.stderr.Enabled(context.Background(), slog.LevelInfo) {
		log = a.log
	}
	log = log.With("run", step.Status.Run, "event", p.Type())
	switch e := p.(type) {
	case research.AlertRaised:
		level := map[string]slog.Level{research.Info: slog.LevelInfo, research.Warning: slog.LevelWarn, research.Grave: slog.LevelError}[e.Severity]
		log.Log(context.Background(), level, e.Text, "rule", e.Rule, "subject", e.Subject, "security", e.Rule == research.RuleSecurity)
	case research.TrialCompleted:
		if e.Outcome != research.Succeeded {
			log.Info("a trial failed", "trial", e.Trial, "outcome", e.Outcome, "why", e.Why, "message", step.Messages[e.Trial])
		}
	case research.AttemptEnded:
		log.Debug("an attempt ended", "attempt", e.Attempt.ID, "class", e.Attempt.Class, "message", e.Attempt.Message)
	default:
		if text := audit(p); text != "" {
			log.Info(text)
			return
		}
		log.Debug("journaled")
	}
}
