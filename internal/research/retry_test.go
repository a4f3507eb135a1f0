package research

import (
	"testing"
	"time"

	"ratchet/study"
)

func TestRetry(t *testing.T) {
	fail := func(c Class, message string) Attempt { return Attempt{Class: c, Message: message, Exit: 1} }
	for _, c := range []struct {
		name     string
		attempts []Attempt
		again    bool
	}{
		{"success needs none", []Attempt{{Class: Succeeded}}, false},
		{"a lost node is tried again", []Attempt{fail(Transient, "lost")}, true},
		{"up to the study's bound", []Attempt{fail(Transient, "a"), fail(Transient, "a"), fail(Transient, "a"), fail(Transient, "a")}, false},
		{"a program's failure is tried again", []Attempt{fail(ProgramFault, "boom")}, true},
		{"the same twice over is not", []Attempt{fail(ProgramFault, "boom"), fail(ProgramFault, "boom")}, false},
		{"another failure is", []Attempt{fail(ProgramFault, "boom"), fail(ProgramFault, "bang")}, true},
		{"silence proves nothing", []Attempt{fail(ProgramFault, SilentFailure(1)), fail(ProgramFault, SilentFailure(1))}, true},
		{"a timeout once", []Attempt{fail(Timeout, "late")}, true},
		{"not twice", []Attempt{fail(Timeout, "late"), fail(Timeout, "late")}, false},
		{"bad output once", []Attempt{fail(InvalidOutput, "NaN")}, true},
		{"not twice", []Attempt{fail(InvalidOutput, "NaN"), fail(InvalidOutput, "none")}, false},
		{"memory once", []Attempt{fail(Resource, "oom")}, true},
		{"security never", []Attempt{fail(Security, "escape")}, false},
		{"a missing program never", []Attempt{fail(InvalidStudy, "no such file")}, false},
		{"quota never", []Attempt{fail(Quota, "spent")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			again, why := retry(study.Retries{Max: 3}, &Trial{Attempts: c.attempts})
			if again != c.again {
				t.Errorf("again %v (%s), want %v", again, why, c.again)
			}
			if !again && why == "" && c.attempts[0].Class != Succeeded {
				t.Error("nobody says why")
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	for n := 1; n < 20; n++ {
		ceiling := min(time.Second<<min(n-1, 6), time.Minute)
		wait := backoff(1, "e0001-s1-a2", Transient, n)
		if wait < 0 || wait > ceiling {
			t.Errorf("failure %d waits %s, at most %s", n, wait, ceiling)
		}
		if again := backoff(1, "e0001-s1-a2", Transient, n); again != wait {
			t.Errorf("failure %d waits %s, and after a crash %s", n, wait, again)
		}
	}
	if backoff(1, "a", Transient, 7) == backoff(1, "b", Transient, 7) {
		t.Error("two actions wait equally long: there is no jitter")
	}
	if wait := backoff(1, "a", ProgramFault, 1); wait != 0 {
		t.Errorf("a program's failure waits %s for nothing", wait)
	}
}
