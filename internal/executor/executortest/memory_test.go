package executortest

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/study"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	Run(t, func(t *testing.T) *Place {
		store, err := objects.Open(filepath.Join(t.TempDir(), "objects"))
		if err != nil {
			t.Fatal(err)
		}
		m := &Memory{Store: store, Play: func(job executor.Job) Played {
			switch job.Command[0] {
			case Fails:
				return Played{Exit: 3}
			case Waits:
				return Played{Waits: true}
			}
			return Played{Score: 1, Prints: "hello\n", Takes: time.Millisecond}
		}}
		n := 0
		return &Place{Executor: m, Other: m, Store: store, Executions: m.Executions, Lose: m.LoseNode, Job: func(kind string) executor.Job {
			n++
			return executor.Job{ID: fmt.Sprint("j", n), Command: []string{kind}, Limits: study.AttemptLimits{Time: study.Duration(time.Minute)}}
		}}
	})
}
