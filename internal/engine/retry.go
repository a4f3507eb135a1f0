package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ratchet/internal/history"
	"ratchet/internal/research"
)

// RetryOptions say which failed trials are to be tried again, and why.
type RetryOptions struct {
	// Names are experiments, or trials by how their ids begin; empty: all that failed.
	Names []string
	Why   string
	By    string
	// AcceptInputs has them tried with inputs that are not as recorded any more.
	AcceptInputs bool
}

// mostRetried is how many trials are in one event at most.
const mostRetried = 1000

// Retry opens trials of a run that failed, since what made them fail is mended, and
// returns their ids. The run goes on with them when it is driven: what depends on them
// is concluded anew. It is durable on return. A name of no failed trial is a
// history.PositionError. A run that a process drives is left alone: the error is a
// DrivenError.
func (e *Engine) Retry(ctx context.Context, run string, o RetryOptions) ([]string, error) {
	unlock, err := e.LockRun(run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, head, err := e.Load(ctx, run)
	if err != nil {
		return nil, err
	}
	if s.Status == research.Cancelled {
		return nil, &history.PositionError{Why: fmt.Sprintf("run %s was cancelled, and does not go on; `ratchet rollback` or `ratchet fork` does from an earlier position", run)}
	}
	trials, err := chosen(s, o.Names)
	if err != nil {
		return nil, err
	}
	record, what := "", ""
	if o.AcceptInputs {
		if record, what, err = e.newInputs(s.Created); err != nil {
			return nil, err
		}
	} else if _, err := e.checkInputs(s.Created); err != nil {
		var changed *InputsError
		if errors.As(err, &changed) {
			changed.retry = true
		}
		return nil, err
	}
	if record != "" { // what they kept may be of the other inputs
		jobs := e.executor(run)
		defer jobs.Close()
		if err := jobs.Forget(func(trial string) bool { return slices.Contains(trials, trial) }); err != nil {
			return nil, err
		}
	}
	var events []research.Payload
	for part := range slices.Chunk(trials, mostRetried) {
		events = append(events, research.TrialsRetried{Trials: part, By: o.By, Why: o.Why, Inputs: record, What: what})
	}
	if err := e.AppendTo(ctx, run, head, s.Time, events...); err != nil {
		return nil, fmt.Errorf("having trials tried again: %w", err)
	}
	return trials, nil
}

// chosen are the failed trials of a run that names mean.
func chosen(s *research.State, names []string) (ids []string, err error) {
	failed := s.Failed()
	if len(failed) == 0 {
		return nil, &history.PositionError{Why: fmt.Sprintf("no trial of run %s has failed", s.Created.Run)}
	}
	meant := map[string]bool{}
	for _, t := range failed {
		for _, name := range names {
			if t.Experiment == name || strings.HasPrefix(t.ID, name) && len(name) > len(t.Experiment) {
				meant[name] = true
				ids = append(ids, t.ID)
				break
			}
		}
		if len(names) == 0 {
			ids = append(ids, t.ID)
		}
	}
	for _, name := range names {
		if !meant[name] {
			return nil, &history.PositionError{Why: fmt.Sprintf("run %s has no failed trial %q; `ratchet show %s` lists experiments, and `ratchet show %s EXPERIMENT` their trials", s.Created.Run, name, s.Created.Run, s.Created.Run)}
		}
	}
	return ids, nil
}
