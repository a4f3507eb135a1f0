package research

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratchet/study"
)

// tried is a state with one open trial that had these attempts.
func tried(st *study.Study, attempts ...Attempt) (*State, *Trial) {
	s := New()
	s.Created.Study = st
	x := &Experiment{ExperimentProposed: ExperimentProposed{Experiment: "e0001", Parameters: study.Params{"batch": 64.0}}}
	s.experiments["e0001"], s.Experiments = x, []*Experiment{x}
	t := s.open(x, "e0001-s1", 1, ForSearch)
	t.Attempts, t.Tries = attempts, len(attempts)
	return s, t
}

func fail(c Class, message string) Attempt { return Attempt{Class: c, Message: message, Exit: 1} }

func TestRemedy(t *testing.T) {
	certain := fail(ProgramFault, "no module")
	certain.Certain = true
	for _, c := range []struct {
		name     string
		attempts []Attempt
		want     string // the remedy; empty: none
	}{
		{"success needs none", []Attempt{{Class: Succeeded}}, ""},
		{"a lost node is tried again", []Attempt{fail(Transient, "lost")}, Backoff},
		{"up to the study's bound", []Attempt{fail(Transient, "a"), fail(Transient, "a"), fail(Transient, "a"), fail(Transient, "a")}, ""},
		{"a busy server is waited for", []Attempt{fail(RateLimited, "429")}, Wait},
		{"a program's failure is tried again", []Attempt{fail(ProgramFault, "boom")}, Retry},
		{"the same twice over is not", []Attempt{fail(ProgramFault, "boom"), fail(ProgramFault, "boom")}, ""},
		{"another failure is", []Attempt{fail(ProgramFault, "boom"), fail(ProgramFault, "bang")}, Retry},
		{"silence proves nothing", []Attempt{fail(ProgramFault, SilentFailure(1)), fail(ProgramFault, SilentFailure(1))}, Retry},
		{"what is certain is not tried at all", []Attempt{certain}, ""},
		{"a timeout once", []Attempt{fail(Timeout, "late")}, Retry},
		{"not twice", []Attempt{fail(Timeout, "late"), fail(Timeout, "late")}, ""},
		{"bad output once", []Attempt{fail(InvalidOutput, "NaN")}, Retry},
		{"not twice", []Attempt{fail(InvalidOutput, "NaN"), fail(InvalidOutput, "none")}, ""},
		{"memory once, alone", []Attempt{fail(Resource, "oom")}, Alone},
		{"not twice", []Attempt{fail(Resource, "oom"), fail(Resource, "oom")}, ""},
		{"security never", []Attempt{fail(Security, "escape")}, ""},
		{"a missing program never", []Attempt{fail(InvalidStudy, "no such file")}, ""},
		{"a spent quota waits for a person", []Attempt{fail(Quota, "spent")}, Resumed},
		{"and costs no retry", []Attempt{fail(Quota, "a"), fail(Auth, "b"), fail(Quota, "c"), fail(Quota, "d"), fail(Quota, "e")}, Resumed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, trial := tried(&study.Study{Retries: study.Retries{Max: 3}, Parallel: 2}, c.attempts...)
			r, why := s.remedy(trial)
			if got := name(r); got != c.want {
				t.Errorf("the remedy is %q (%s), want %q", got, why, c.want)
			}
			if r == nil && why == "" && c.attempts[0].Class != Succeeded {
				t.Error("nobody says why")
			}
		})
	}
}

func name(r *Remedy) string {
	if r == nil {
		return ""
	}
	return r.Name
}

// TestLess: on_resource is applied once more each time, until it changes
// nothing or leaves the parameter's range.
func TestLess(t *testing.T) {
	st := &study.Study{
		Retries: study.Retries{Max: 9}, Parallel: 1,
		Parameters: []study.Parameter{{Name: "batch", Kind: study.Int, Low: 10, High: 64}},
		OnResource: &study.OnResource{Parameters: map[string]string{"batch": "batch / 2"}, Memory: 8 << 30},
	}
	var attempts []Attempt
	for _, want := range []float64{32, 16} {
		attempts = append(attempts, fail(Resource, "oom"))
		s, trial := tried(st, attempts...)
		a := s.try(trial)
		if a.Remedy == nil || a.Remedy.Name != Less || a.Parameters["batch"] != want || a.Limits.Memory != 8<<30 {
			t.Fatalf("after %d failures: %+v", len(attempts), a)
		}
		attempts[len(attempts)-1].Remedy = a.Remedy // of the next one
	}
	s, trial := tried(st, append(attempts, fail(Resource, "oom"))...)
	if r, why := s.remedy(trial); r != nil {
		t.Errorf("batch 8 is outside the range, and yet: %+v %s", r, why)
	}
}

// TestLearning: what never helps is given up early, what helps goes on, and
// only what is known whatever finishes first counts.
func TestLearning(t *testing.T) {
	st := &study.Study{Retries: study.Retries{Max: 5}, Parallel: 1}
	second := func(r RemedyStats, c Class, n int) (*Remedy, string) {
		s, trial := tried(st)
		for range n {
			trial.Attempts = append(trial.Attempts, fail(c, "x"))
		}
		before := &Experiment{Learned: map[string]RemedyStats{"timeout/retry": r}}
		s.Experiments = []*Experiment{before, s.Experiments[0]}
		s.Experiments[1].Index, s.Frontier = 1, 1
		return s.remedy(trial)
	}
	if r, why := second(RemedyStats{Failed: 9}, Timeout, 1); r == nil {
		t.Errorf("nine failures are too few to give up: %s", why)
	}
	r, why := second(RemedyStats{Failed: 10}, Timeout, 1)
	if r != nil || !strings.Contains(why, "helped 0 of 10 times") {
		t.Errorf("ten failures in a row: %+v %q", r, why)
	}
	if r, why := second(RemedyStats{Cured: 3}, Timeout, 3); r == nil || r.Chance != 0.8 {
		t.Errorf("three cures are enough to go on: %+v %q", r, why)
	}
	if r, _ := second(RemedyStats{Cured: 2, Failed: 2}, Timeout, 2); r != nil {
		t.Errorf("half of the time is not enough for a second retry: %+v", r)
	}
	s, trial := tried(st, fail(Timeout, "x"))
	s.Experiments[0].Learned = map[string]RemedyStats{"timeout/retry": {Failed: 99}}
	if r, why := s.remedy(trial); r == nil {
		t.Errorf("an experiment learns from itself: %s", why)
	}
}

// TestBeta: the posterior is the integral of its density.
func TestBeta(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := RemedyStats{rapid.IntRange(0, 40).Draw(t, "cured"), rapid.IntRange(0, 40).Draw(t, "failed")}
		x := rapid.Float64Range(0.01, 0.99).Draw(t, "x")
		const n = 20_000
		part, whole := 0.0, 0.0
		for i := range n {
			p := (float64(i) + 0.5) / n
			d := math.Exp(float64(r.Cured)*math.Log(p) + float64(r.Failed)*math.Log(1-p))
			if whole += d; p < x {
				part += d
			}
		}
		if got, want := r.below(x), part/whole; math.Abs(got-want) > 0.01 {
			t.Fatalf("%+v below %v: %v, want %v", r, x, got, want)
		}
	})
}

func TestWaits(t *testing.T) {
	lost := fail(Transient, "lost")
	for n := 1; n < 20; n++ {
		ceiling := min(time.Second<<min(n-1, 6), time.Minute)
		wait := waits(1, "e0001-s1-a2", lost, n)
		if wait < 0 || wait > ceiling {
			t.Errorf("failure %d waits %s, at most %s", n, wait, ceiling)
		}
		if again := waits(1, "e0001-s1-a2", lost, n); again != wait {
			t.Errorf("failure %d waits %s, and after a crash %s", n, wait, again)
		}
	}
	if waits(1, "a", lost, 7) == waits(1, "b", lost, 7) {
		t.Error("two actions wait equally long: there is no jitter")
	}
	if wait := waits(1, "a", fail(ProgramFault, "x"), 1); wait != 0 {
		t.Errorf("a program's failure waits %s for nothing", wait)
	}
	busy := fail(RateLimited, "429")
	busy.Wait = 100
	if wait := waits(1, "a", busy, 1); wait < 100*time.Second || wait > 110*time.Second {
		t.Errorf("a server that asked for 100 s gets %s", wait)
	}
}
