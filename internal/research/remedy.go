package research

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"time"

	"ratchet/study"
)

// The remedies: what is different about the attempt after one that failed.
const (
	Retry    = "retry"      // nothing but the luck
	Backoff  = "backoff"    // it waits, longer each time
	Wait     = "wait"       // it waits as long as a server asked
	Alone    = "alone"      // no other attempt of the run runs meanwhile
	Less     = "resources"  // the study's on_resource is applied
	FromKept = "checkpoint" // it goes on from what the trial kept
	Renewed  = "renewed"    // a person has mended what made the trial fail
	Resumed  = "resumed"    // a person resumed the run that had paused for it
)

// Remedy is why and how a trial gets another attempt, with what the run has
// learned of it so far.
type Remedy struct {
	Name string `json:"name"`
	For  Class  `json:"for"` // of the attempt that failed
	RemedyStats
	// Chance is the mean of the posterior that this remedy helps.
	Chance float64 `json:"chance"`
}

// RemedyStats is how often a remedy helped, and how often the same class of failure
// came again.
type RemedyStats struct {
	Cured  int `json:"cured"`
	Failed int `json:"failed"`
}

// The prior of a remedy's chance is uniform. A remedy is hopeless once its
// chance is below a fifth, and useful once it is above one half, each with a
// posterior probability of nine tenths: ten failures in a row, and three
// successes, are enough.
const (
	hopelessBelow = 0.2
	usefulAbove   = 0.5
	sure          = 0.9
)

// chance is the posterior mean, under the uniform prior.
func (r RemedyStats) chance() float64 { return float64(r.Cured+1) / float64(r.Cured+r.Failed+2) }

func (r RemedyStats) hopeless() bool { return r.below(hopelessBelow) > sure }

func (r RemedyStats) useful() bool { return 1-r.below(usefulAbove) > sure }

// below is the posterior probability that the chance is below x: the
// regularised incomplete beta function I_x(a, b) with whole a and b, a
// binomial tail (DLMF 8.17.5).
func (r RemedyStats) below(x float64) float64 {
	a, b := r.Cured+1, r.Failed+1
	n := a + b - 1
	term := 1.0 // of k = 0: (1−x)^n
	for range n {
		term *= 1 - x
	}
	sum := 0.0
	for k := 0; k <= n; k++ {
		if k >= a {
			sum += term
		}
		term *= float64(n-k) / float64(k+1) * x / (1 - x)
	}
	return min(sum, 1)
}

func (r RemedyStats) String() string {
	return fmt.Sprintf("helped %d of %d times", r.Cured, r.Cured+r.Failed)
}

// Say is what a remedy is, for a person.
func (r *Remedy) Say() string {
	what := map[string]string{
		Retry: "tried again", Backoff: "tried again after a back-off", Wait: "tried again after the time that was asked for",
		Alone: "tried again, alone", Less: "tried again by on_resource", FromKept: "tried again from its own checkpoint", Resumed: "tried again when the run was resumed", Renewed: "tried again since somebody has mended what made it fail",
	}[r.Name]
	if r.Cured+r.Failed == 0 {
		return what
	}
	return fmt.Sprintf("%s; in this run that %s, a chance of %.0f %%", what, r.RemedyStats, 100*r.Chance)
}

// remedyKey names a remedy for a class in what is learned.
func remedyKey(class Class, remedy string) string { return string(class) + "/" + remedy }

// remedy says how a trial is tried again after the attempts that it had; nil,
// and why, if its last one counts.
func (s *State) remedy(t *Trial) (*Remedy, string) {
	last, attempts := t.Last(), t.Attempts[t.Renewed:]
	if len(attempts) == 0 {
		return &Remedy{Name: Renewed, For: last.Class}, ""
	}
	switch last.Class {
	case Succeeded:
		return nil, ""
	case Security, InvalidStudy, Internal:
		return nil, "not a failure that another attempt can cure"
	case Quota, Auth:
		return &Remedy{Name: Resumed, For: last.Class}, ""
	}
	counted := 0 // what a person had to mend is not the trial's fault
	for _, a := range attempts {
		if a.Class != Quota && a.Class != Auth {
			counted++
		}
	}
	if most := s.Created.Study.Retries.Max; counted > most {
		return nil, fmt.Sprintf("%d attempts failed and retries.max is %d", counted, most)
	}
	if last.Certain {
		return nil, "another attempt would fail in the same way"
	}
	if last.Class == ProgramFault && deterministic(attempts) {
		return nil, "two attempts failed in the same way"
	}
	r := &Remedy{Name: s.remedyName(t), For: last.Class}
	r.RemedyStats = s.learned(t)[remedyKey(r.For, r.Name)]
	r.Chance = r.chance()
	if r.hopeless() {
		return nil, fmt.Sprintf("%s after %s %s in this run", r.Name, r.For, r.RemedyStats)
	}
	switch last.Class {
	case Timeout, InvalidOutput, Resource:
		if r.Name != Less && sameClass(attempts) >= 2 && !r.useful() {
			return nil, "the same after one retry"
		}
	}
	return r, ""
}

func (s *State) remedyName(t *Trial) string {
	st, last := s.Created.Study, t.Last()
	switch last.Class {
	case Transient:
		return Backoff
	case RateLimited:
		return Wait
	case Timeout:
		if t.Checkpoint != "" {
			return FromKept
		}
	case Resource:
		if _, _, ok := s.lessened(t); ok {
			return Less
		}
		if st.Parallel > 1 {
			return Alone
		}
	}
	return Retry
}

// lessened is the configuration and the limits that the next attempt of a
// trial gets by the study's on_resource. A nil configuration is unchanged.
func (s *State) lessened(t *Trial) (study.Params, *study.AttemptLimits, bool) {
	st := s.Created.Study
	if st.OnResource == nil {
		return nil, nil, false
	}
	times := 1
	for _, a := range t.Attempts {
		if a.Remedy != nil && a.Remedy.Name == Less {
			times++
		}
	}
	limits := st.OnResource.Widen(st.Limits.Attempt)
	if len(st.OnResource.Parameters) == 0 {
		return nil, &limits, times == 1 // wider a second time they are not
	}
	p, ok := st.Lessen(s.experiments[t.Experiment].Parameters, times)
	return p, &limits, ok
}

// learned is what the remedies of this run have done, as far as the trial may
// know it: like a proposal, it depends only on experiments that are complete
// whatever finishes first, so that what is tried again does not depend on
// timing.
func (s *State) learned(t *Trial) map[string]RemedyStats {
	last := s.Frontier - 1
	if t.Purpose == ForSearch {
		last = s.experiments[t.Experiment].Index - s.Created.Study.Parallel
	}
	if last < 0 || last >= s.Frontier {
		return nil
	}
	return s.Experiments[last].Learned
}

// learn adds what the remedies of an experiment's search trials did to what
// was learned before it.
func (x *Experiment) learn(before map[string]RemedyStats) {
	x.Learned = before
	for _, t := range x.Trials {
		if t.Purpose != ForSearch {
			continue
		}
		for i, a := range t.Attempts {
			if i == 0 || a.Remedy == nil || a.Remedy.Name == Resumed || a.Remedy.Name == Renewed {
				continue
			}
			failed := t.Attempts[i-1].Class
			key := remedyKey(failed, a.Remedy.Name)
			r := x.Learned[key]
			switch a.Class {
			case Succeeded:
				r.Cured++
			case failed:
				r.Failed++
			default:
				continue // another failure says nothing of the remedy
			}
			next := maps.Clone(x.Learned) // the experiments before keep theirs
			if next == nil {
				next = map[string]RemedyStats{}
			}
			next[key] = r
			x.Learned = next
		}
	}
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

// mostWait is the longest that a server's wish to wait is followed.
const mostWait = 24 * time.Hour

// waits is how long the attempt after the n-th failure waits: exponential with
// full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture
// Blog, 2015), from 1 s to at most 60 s, where waiting can help at all; after
// what a server asked for, up to a tenth more. The jitter comes from the run's
// seed and the action, so that it is the same after a crash.
func waits(seed int64, action string, last Attempt, n int) time.Duration {
	h := sha256.Sum256(fmt.Appendf(nil, "backoff %d %s", seed, action))
	share := float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
	asked := time.Duration(min(max(last.Wait, 0), mostWait.Seconds()) * float64(time.Second))
	switch {
	case last.Lost, last.Class != Transient && last.Class != RateLimited:
		return 0 // after a crash of everything it has waited long enough
	case asked > 0:
		return asked + time.Duration(share*float64(asked)/10)
	}
	ceiling := min(time.Second<<min(n-1, 6), time.Minute)
	return time.Duration(share * float64(ceiling))
}
