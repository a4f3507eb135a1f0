package research

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"ratchet/study"
)

// retry says whether a trial gets another attempt after the ones it had, and
// if not, why its last one counts.
func retry(r study.Retries, t *Trial) (bool, string) {
	last := t.Last()
	if last.Class == Succeeded {
		return false, ""
	}
	again, why := true, ""
	switch last.Class {
	case Security, InvalidStudy, Internal, Quota, Auth:
		again, why = false, "not a failure that another attempt can cure"
	case Timeout, InvalidOutput, Resource:
		if sameClass(t.Attempts) >= 2 {
			again, why = false, "the same after one retry"
		}
	case ProgramFault:
		if deterministic(t.Attempts) {
			again, why = false, "two attempts failed in the same way"
		}
	}
	if again && len(t.Attempts) > r.Max {
		again, why = false, fmt.Sprintf("%d attempts failed and retries.max is %d", len(t.Attempts), r.Max)
	}
	return again, why
}

// sameClass counts the attempts at the end that have the last one's class.
func sameClass(attempts []Attempt) int {
	n, last := 0, attempts[len(attempts)-1].Class
	for i := len(attempts) - 1; i >= 0 && attempts[i].Class == last; i-- {
		n++
	}
	return n
}

// deterministic reports whether the last two attempts failed alike and said
// the same. An attempt that said nothing gives no evidence either way.
func deterministic(attempts []Attempt) bool {
	n := len(attempts)
	if n < 2 {
		return false
	}
	a, b := attempts[n-1], attempts[n-2]
	return a.Class == b.Class && a.Exit == b.Exit && a.Signal == b.Signal && a.Message == b.Message && len(a.Notes) == len(b.Notes) && said(a)
}

func said(a Attempt) bool { return a.Message != "" && a.Message != SilentFailure(a.Exit) }

// SilentFailure is the message of an attempt that failed without a word.
func SilentFailure(exit int) string { return fmt.Sprintf("exit status %d, without a message", exit) }

// backoff is how long the n-th failure is waited out: exponential with full
// jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
// 2015), from 1 s to at most 60 s, where waiting can help at all. The jitter
// comes from the run's seed and the action, so that it is the same after a
// crash.
func backoff(seed int64, action string, class Class, n int) time.Duration {
	if class != Transient && class != RateLimited {
		return 0
	}
	ceiling := time.Second << min(n-1, 6)
	ceiling = min(ceiling, time.Minute)
	h := sha256.Sum256(fmt.Appendf(nil, "backoff %d %s", seed, action))
	share := float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
	return time.Duration(share * float64(ceiling))
}
