package view

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"ratchet/internal/engine"
	"ratchet/internal/telemetry"
)

// Metrics gathers the metrics of runs, of all if none is named, for Prometheus. Each
// time they are as the runs stand then.
func Metrics(ctx context.Context, e *engine.Engine, runs []string) prometheus.Gatherer {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&telemetry.Collector{Runs: func() ([]telemetry.Run, error) { return measured(ctx, e, runs) }})
	return registry
}

func measured(ctx context.Context, e *engine.Engine, runs []string) (out []telemetry.Run, err error) {
	if len(runs) == 0 {
		if runs, err = e.Runs(ctx); err != nil {
			return nil, err
		}
	}
	for _, run := range runs {
		s, _, err := e.Load(ctx, run)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", run, err)
		}
		d := StatusOf(e, s)
		r := telemetry.Run{State: s, Driven: d.Driven != nil, Health: d.Health}
		if s.Created.Study.Models != nil {
			calls, err := e.Calls(ctx, run)
			if err != nil {
				return nil, err
			}
			r.Calls, r.Refused = calls.Calls(), calls.Refused()
		}
		out = append(out, r)
	}
	return out, nil
}
