package view

import (
	"context"
	"fmt"

	"ratchet/internal/engine"
	"ratchet/internal/home"
	"ratchet/internal/research"
	"ratchet/internal/watching"
)

// Health is how well a run goes: `ratchet health --json`.
type Health struct {
	*watching.Observation                   // as the process that drove the run saw it last
	Driven                *home.DrivenError `json:"driven_by"`
	Alerts                []research.Alert  `json:"alerts"`
	// Word is the run's status in a word; see Status.Word.
	Word string `json:"-"`
}

// NeverDrivenError says that a run has not been driven yet.
type NeverDrivenError struct{ Run string }

func (n *NeverDrivenError) Error() string {
	return fmt.Sprintf("run %s has not been driven yet; `ratchet resume` does that", n.Run)
}

// HealthOf is how well a run goes, as the process that drove it saw it last. Of a run that
// has not been driven yet, that is a NeverDrivenError.
func HealthOf(ctx context.Context, e *engine.Engine, run string) (Health, error) {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return Health{}, err
	}
	w, err := e.Watched(run)
	if err != nil {
		return Health{}, err
	}
	if w == nil {
		return Health{}, &NeverDrivenError{run}
	}
	if s.Ended() {
		w.Forecasts = nil // nothing is to come
	}
	d := Health{Observation: w, Driven: e.Driven(run), Alerts: append([]research.Alert{}, s.Alerts...)}
	d.Word = Status{Status: string(s.Status), Driven: d.Driven}.Word()
	return d, nil
}
