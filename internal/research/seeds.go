package research

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// DrawnByHMAC is the way of this release to draw seeds and to name trials. A run
// whose first event has none (release 0.2 and before) counts seeds up from its own
// and names trials after them.
const DrawnByHMAC = "hmac-sha256"

// freshOffset separated, up to release 0.2, the seeds of validation from those of
// the search, which number at most 1,000.
const freshOffset = 1000

// draw draws the seeds of the search and the fresh ones of validation: from the
// stream of HMAC-SHA256 keyed by the run's seed, 31 bits each, no two alike. Runs
// with other seeds share none but by chance, and a seed does not say which kind it
// is. More fresh ones begin with the same.
func (c *RunCreated) draw(search, fresh int) (forSearch, forValidation []int64) {
	if c.Draw == "" {
		for i := range search {
			forSearch = append(forSearch, c.Seed+int64(i))
		}
		for i := range fresh {
			forValidation = append(forValidation, c.Seed+freshOffset+int64(i))
		}
		return forSearch, forValidation
	}
	seen := map[int64]bool{}
	var all []int64
	for i := 0; len(all) < search+fresh; i++ {
		seed := c.stream("seed ", i)
		if !seen[seed] {
			seen[seed] = true
			all = append(all, seed)
		}
	}
	return all[:search:search], all[search:]
}

// stream is the i-th number of a stream of seeds.
func (c *RunCreated) stream(name string, i int) int64 {
	return int64(binary.BigEndian.Uint32(c.mac(fmt.Sprint(name, i))) >> 1)
}

// SearchSeeds are the seeds of the search of a run whose own seed is known.
func SearchSeeds(run int64, n int) []int64 {
	seeds, _ := (&RunCreated{Seed: run, Draw: DrawnByHMAC}).draw(n, 0)
	return seeds
}

func (c *RunCreated) mac(text string) []byte {
	m := hmac.New(sha256.New, binary.BigEndian.AppendUint64(nil, uint64(c.Seed)))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// TrialID names the trial of an experiment with a seed. The program sees the name:
// it says neither what the trial is for nor which seed it has, so that a repetition
// cannot be told from what it repeats.
func (s *State) TrialID(experiment string, seed int64) string {
	if s.Created.Draw == "" {
		return fmt.Sprintf("%s-s%d", experiment, seed)
	}
	return s.trialName(experiment, fmt.Sprint("trial ", experiment, " ", seed))
}

// againID names the repetition of a trial.
func (s *State) againID(t *Trial) string {
	if s.Created.Draw == "" {
		return t.ID + "-again"
	}
	return s.trialName(t.Experiment, "again "+t.ID)
}

func (s *State) trialName(experiment, text string) string {
	return experiment + "-" + hex.EncodeToString(s.Created.mac(text)[:5])
}

// AttemptID names an attempt of a trial by its number, from 1.
func AttemptID(trial string, number int) string { return fmt.Sprintf("%s-a%d", trial, number) }

// TrialOf is the trial that an attempt's id has; "" where it is not an attempt's.
func TrialOf(attempt string) string {
	i := strings.LastIndex(attempt, "-a")
	if i <= 0 {
		return ""
	}
	return attempt[:i]
}
