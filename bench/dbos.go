package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite" // its store
)

// The work that both do: so many runs at the same time, of so many steps each.
const workflowRuns, workflowSteps = 50, 20

// workflows compares journaled steps with those of DBOS Transact on SQLite,
// which does not sync each step.
func workflows(b *bench) ([]row, error) {
	got, err := turns(b.steps, b.dbosSteps)
	if err != nil {
		return nil, err
	}
	return []row{{
		"50 runs of 20 steps", fmt.Sprintf("%.0f steps/s, each synced", got[0]), fmt.Sprintf("DBOS Transact on SQLite %.0f steps/s: %.1f times", got[1], got[0]/got[1]),
		"5 times", got[0] >= 5*got[1],
	}}, nil
}

func (b *bench) steps() (float64, error) {
	return b.ours(workflowRuns, func(appended int, _ time.Duration) bool { return appended < workflowSteps })
}

func workflow(ctx dbos.Context, _ string) (int, error) {
	for range workflowSteps {
		if _, err := dbos.RunAsStep(ctx, func(context.Context) (string, error) { return string(payload), nil }); err != nil {
			return 0, err
		}
	}
	return workflowSteps, nil
}

func (b *bench) dbosSteps() (float64, error) {
	dir, err := os.MkdirTemp(b.dir, "dbos-")
	if err != nil {
		return 0, err
	}
	ctx, err := dbos.NewContext(context.Background(), dbos.Config{
		DatabaseURL: "sqlite:" + filepath.Join(dir, "dbos.db"), AppName: "bench", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return 0, err
	}
	dbos.RegisterWorkflow(ctx, workflow)
	if err := dbos.Launch(ctx); err != nil {
		return 0, err
	}
	defer dbos.Shutdown(ctx, 5*time.Second)
	began := time.Now()
	handles := make([]dbos.WorkflowHandle[int], workflowRuns)
	for i := range handles {
		if handles[i], err = dbos.RunWorkflow(ctx, workflow, ""); err != nil {
			return 0, err
		}
	}
	for _, h := range handles {
		if _, err := h.GetResult(); err != nil {
			return 0, err
		}
	}
	return workflowRuns * workflowSteps / time.Since(began).Seconds(), nil
}
