package sim

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"

	"ratchet/internal/executor"
	"ratchet/internal/executor/executortest"
	"ratchet/internal/objects"
)

// TestContract: what the simulation takes for an executor is one.
func TestContract(t *testing.T) {
	for name, test := range executortest.Tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := objects.Open(filepath.Join(t.TempDir(), "objects"))
				if err != nil {
					t.Fatal(err)
				}
				w := &world{seed: 1, decided: map[string]bool{}, ended: map[string]bool{}, complete: map[string]int{}}
				c := &cluster{w: w, jobs: map[string]*job{}, runs: map[string]int{}}
				w.cluster = c
				n := 0
				test(t, &executortest.Place{
					Executor: access{c, store}, Other: access{c, store}, Store: store,
					Job: func(kind string) executor.Job {
						for { // until one is drawn that ends so
							n++
							j := executor.Job{ID: fmt.Sprint("t", n, "-a1"), Trial: fmt.Sprint("t", n), Experiment: fmt.Sprint("e", n), Attempt: 2, Seed: 1}
							undisturbed := w.chance("node lost", j.ID, 0) >= 0.02 && w.chance("start fails", j.ID, w.boots) >= 0.01
							end := c.plan(j, 0)
							if undisturbed && (end.Exit == 3) == (kind == executortest.Fails) && (kind != executortest.Succeeds || w.score(j.Experiment, j.Seed) == 1) {
								return j
							}
						}
					},
					Executions: func(id string) int {
						c.mu.Lock()
						defer c.mu.Unlock()
						return c.runs[id]
					},
					Lose: func(string) { c.cut() },
				})
				for _, b := range w.broken {
					t.Error(b)
				}
			})
		})
	}
}
