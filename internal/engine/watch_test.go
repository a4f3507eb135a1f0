package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/monitor"
	"ratchet/internal/node"
	"ratchet/internal/research"
	"ratchet/internal/watching"
)

// score is what a program reports that has nothing to say.
const score = enginetest.Score

// watchedStudy is a study of one configuration.
const watchedStudy = `version: 1
name: watched
program: {command: [sh, x.sh, "{batch}", "{seed}"], files: [x.sh]}
objective: {metric: score, goal: maximize}
parameters: {batch: {int: [1, 64]}}
search: {method: random, experiments: 1}
validation: {seeds: 2}
limits: {attempt: {time: 10m, memory: 64MiB, disk: 10MiB%s}}
parallel: 3
%s`

// TestQuotaPauses: a spent quota pauses the run, raises an alert, burns no
// retry, and resuming goes on where it was.
func TestQuotaPauses(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, fmt.Sprintf(watchedStudy, "", "retries: {max: 0}\n"), `if [ "$RATCHET_ATTEMPT" = 1 ]; then echo "{'error': {'code': 'insufficient_quota'}}" >&2; exit 1; fi
`+score)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	s := l.Drive(e, run)
	if s.Status != research.Paused || len(s.Alerts) != 1 || s.Alerts[0].Rule != research.RulePaused || !strings.Contains(s.Why, "insufficient_quota") {
		t.Fatalf("%s (%s): %+v", s.Status, s.Why, s.Alerts)
	}
	for range 4 {
		s = l.Drive(e, run)
	}
	if s.Status != research.Completed || s.Tally.Failed > 0 || len(s.Alerts) > 0 {
		t.Errorf("%s (%s), %+v", s.Status, s.Why, s.Tally)
	}
	list, err := e.Alerts(context.Background(), run)
	if err != nil || len(list) == 0 || list[0].Resolved == nil {
		t.Errorf("%+v (%v)", list, err)
	}
}

// TestOnResource: a program that runs out of memory gets half the batch until
// it fits, and the results say with what it ran.
func TestOnResource(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, fmt.Sprintf(watchedStudy, "", "on_resource: {parameters: {batch: batch / 2}}\nretries: {max: 9}\n"), `if [ "$1" -gt 2 ]; then echo "torch.OutOfMemoryError: CUDA out of memory." >&2; exit 1; fi
`+score)
	e := l.Open(engine.Options{})
	s := l.Drive(e, l.Create(e))
	trial := s.Trial(s.TrialID("e0001", s.Plan.Seeds[0]))
	batch := s.Experiment("e0001").Parameters["batch"].(float64)
	want := 1
	for b := batch; b > 2; b = float64(int(b / 2)) {
		want++
	}
	last := trial.Last()
	if trial.Outcome != research.Succeeded || len(trial.Attempts) != want || batch > 2 && (last.Parameters["batch"].(float64) > 2 || last.Remedy.Name != research.Less) {
		t.Errorf("batch %v: %d attempts, want %d; %s: %+v", batch, len(trial.Attempts), want, trial.Outcome, last)
	}
	r, err := e.Results(context.Background(), s.Created.Run)
	if err != nil || batch > 2 && r.Experiments[0].Trials[0].Parameters["batch"].(float64) > 2 {
		t.Errorf("%+v (%v)", r.Experiments[0].Trials[0], err)
	}
}

// TestGPUsAreAssigned: by a machine whose nvidia-smi knows two devices, no two
// attempts at the same time have the same one, and each is told which it has.
func TestGPUsAreAssigned(t *testing.T) {
	bin := t.TempDir()
	fake := `#!/bin/sh
case $1 in
--query-gpu=name*) printf 'NVIDIA H100 80GB HBM3, 550.1, 81559 MiB\nNVIDIA H100 80GB HBM3, 550.1, 81559 MiB\n' ;;
--query-gpu=*) printf '0, GPU-a, NVIDIA H100 80GB HBM3, 0, 4, 81559, 30, 70.1, 0\n3, GPU-b, NVIDIA H100 80GB HBM3, 0, 4, 81559, 30, 70.1, 0\n' ;;
esac
`
	if err := os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	l := enginetest.New(t, strings.Replace(fmt.Sprintf(watchedStudy, ", gpus: 1", ""), "experiments: 1", "experiments: 3", 1), `echo "device $CUDA_VISIBLE_DEVICES"; sleep 1.3
`+score)
	e := l.Open(engine.Options{})
	s, err := e.Drive(context.Background(), l.Create(e), engine.DriveOptions{Watch: watching.Options{Every: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Tally.GPUMemory; got != 4<<20 {
		t.Errorf("attempts held %d bytes of a device at most, nvidia-smi says 4 MiB", got)
	}
	var all []research.Attempt
	for _, x := range s.Experiments {
		for _, trial := range x.Trials {
			all = append(all, *trial.Last())
			streams, err := e.Logs(s, trial.ID)
			if err != nil || len(streams) == 0 {
				t.Fatal(err)
			}
		}
	}
	used := map[int]int{}
	for i, a := range all {
		if a.Class != research.Succeeded || len(a.GPUs) != 1 || !slices.Contains([]int{0, 3}, a.GPUs[0]) {
			t.Fatalf("%+v", a)
		}
		used[a.GPUs[0]]++
		for _, b := range all[:i] {
			if a.GPUs[0] == b.GPUs[0] && a.Started.Before(b.Ended) && b.Started.Before(a.Ended) {
				t.Errorf("%s and %s had device %d at the same time", a.ID, b.ID, a.GPUs[0])
			}
		}
	}
	if len(used) != 2 {
		t.Errorf("the devices were used %v", used)
	}
}

// TestWatched: the process that drives a run leaves what it saw, degraded where
// something does not answer, and alerts reach the journal.
func TestWatched(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, fmt.Sprintf(watchedStudy, "", ""), "sleep 0.5\n"+score)
	broken := func(context.Context) ([]monitor.GPU, error) { return nil, fmt.Errorf("nvidia-smi: the driver is gone") }
	e := l.Open(engine.Options{Node: node.Options{GPUs: broken, Limits: monitor.Limits{Disk: 1e-9}}})
	run := l.Create(e)
	states := map[string]bool{}
	s, err := e.Drive(context.Background(), run, engine.DriveOptions{
		Watch: watching.Options{Every: 20 * time.Millisecond, Health: 50 * time.Millisecond},
		Observe: func(*research.State, []research.Payload) {
			if w, err := e.Watched(run); err != nil {
				t.Error(err)
			} else if w != nil {
				states[w.Health.State] = true
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.Watched(run)
	if err != nil || w == nil {
		t.Fatal(err)
	}
	if len(w.Dependencies) == 0 || w.Sample.NoGPUs == "" || len(w.Sample.GPUs) != 0 || w.PID != os.Getpid() {
		t.Errorf("%+v", w)
	}
	found := false
	for _, d := range w.Dependencies {
		found = found || d.Name == "GPU metrics" && strings.Contains(d.Why, "driver is gone")
	}
	if !found || !states[monitor.Degraded] {
		t.Errorf("nobody says that the GPUs cannot be read: %v %+v", states, w.Dependencies)
	}
	if n := len(monitor.Recent(e.Samples(run))); n < 2 {
		t.Errorf("%d samples are kept", n)
	}
	if s.Status != research.Completed {
		t.Errorf("%s (%s)", s.Status, s.Why)
	}
}
