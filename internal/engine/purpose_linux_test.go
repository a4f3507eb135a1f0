package engine_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ratchet/internal/engine"
	"ratchet/internal/engine/enginetest"
	"ratchet/internal/research"
)

// asksAbout prints all that a program can learn of why it runs: its arguments and
// environment, its folders and how they are mounted, its process and control groups.
const asksAbout = `echo "$@"; env | sort; pwd; ls -la --time-style=+ . .. ../checkpoint ../output /tmp
cat /proc/self/mountinfo /proc/self/cgroup /proc/sys/kernel/hostname; cat "$RATCHET_PARAMS"; tr '\0' ' ' < /proc/1/cmdline; id; ulimit -a; nice
echo "{\"score\": $(($2 % 7))}" >> "$RATCHET_METRICS"
`

// TestNobodyKnowsTheTrialsPurpose: what a trial sees is the same whether it is for
// the search, for validation or the repetition of another, but for its name, which
// says nothing, and its seed, which a repetition has again.
func TestNobodyKnowsTheTrialsPurpose(t *testing.T) {
	t.Parallel()
	l := enginetest.New(t, enginetest.SmallStudy, asksAbout)
	e := l.Open(engine.Options{})
	run := l.Create(e)
	s := l.Drive(e, run)
	name := regexp.MustCompile(`e0001-[0-9a-f]{10}`)
	seen := map[string]string{} // by purpose
	best := s.Experiment("e0001")
	if s.Designed.Best != "e0001" {
		best = s.Experiment(s.Designed.Best)
		name = regexp.MustCompile(s.Designed.Best + `-[0-9a-f]{10}`)
	}
	var repeated int64
	for _, trial := range best.Trials {
		if trial.Purpose == research.ForReproduction {
			repeated = trial.Seed
		}
	}
	mount := regexp.MustCompile(`(?m)^\d+ \d+ \d+:\d+ `) // numbers that the kernel gives to mounts as they come
	for _, trial := range best.Trials {
		streams, err := e.Logs(s, trial.ID)
		if err != nil {
			t.Fatal(err)
		}
		text := enginetest.TextOf(t, streams)
		for _, word := range []string{"search", "validat", "reprod", "again", "fresh", "repeat", "halv"} {
			if strings.Contains(strings.ToLower(text), word) {
				t.Errorf("%s sees %q: %s", trial.Purpose, word, text)
			}
		}
		text = mount.ReplaceAllString(name.ReplaceAllString(text, "NAME"), "")
		if trial.Purpose != research.ForReproduction && trial.Seed != repeated {
			text = strings.ReplaceAll(text, strconv.FormatInt(trial.Seed, 10), strconv.FormatInt(repeated, 10))
		}
		if before, there := seen[trial.Purpose]; !there || len(before) == 0 {
			seen[trial.Purpose] = text
		}
	}
	if len(seen) != 3 {
		t.Fatalf("purposes %v", len(seen))
	}
	for _, other := range []string{research.ForSearch, research.ForValidation} {
		if lines := different(seen[other], seen[research.ForReproduction]); len(lines) > 0 {
			t.Errorf("a trial for %s and a repetition see different things:\n%s", other, strings.Join(lines, "\n"))
		}
	}
}

// different are the lines that only one of two texts has.
func different(a, b string) (out []string) {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]++
	}
	for line := range strings.Lines(b) {
		count[line]--
	}
	for line, n := range count {
		if n != 0 {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}
