package research

import (
	"fmt"
	"strings"
	"unicode"
)

// enoughAlike is how many different configurations must have failed alike, and
// nothing succeeded, for a run to ask whether it can work at all.
const enoughAlike = 3

// subjectAlike is of the alert with which a run pauses for that, once.
const subjectAlike = "alike"

// doubt says why the study seems not to work at all; "": it may. That is so where
// the first trials to be complete, of different configurations, have all failed
// alike, in a way that will not go away by itself.
func (s *State) doubt() string {
	if s.Created.Study.Open() {
		return "" // whoever proposes is told
	}
	if s.Doubted || s.Tally.Succeeded > 0 || s.Tally.Failed < enoughAlike {
		return ""
	}
	var first *Trial
	alike := 0
	for _, x := range s.Experiments {
		failed := false
		for _, t := range x.Trials {
			if t.Outcome == "" {
				continue
			}
			last := t.Last()
			if last == nil || last.Class != ProgramFault && last.Class != InvalidOutput && last.Class != InvalidStudy {
				return ""
			}
			if first == nil {
				first = t
			}
			if f := first.Last(); f.Class != last.Class || shape(f.Message) != shape(last.Message) {
				return ""
			}
			failed = true
		}
		if failed {
			alike++
		}
	}
	if alike < enoughAlike {
		return ""
	}
	last := first.Last()
	why := fmt.Sprintf("the first %d configurations all failed alike, so the study may not work at all: %s: %s", alike, last.Class, last.Message)
	st := s.Created.Study
	if x, there := st.Metrics[st.Objective.Metric]; there && last.Class == InvalidOutput {
		if x.Stdout != "" {
			why += fmt.Sprintf("; metrics.%s.stdout, %s, matched nothing that it printed", st.Objective.Metric, x.Stdout)
		} else {
			why += fmt.Sprintf("; metrics.%s.file is %s, key %s", st.Objective.Metric, x.File, x.Key)
		}
	}
	if words := strings.TrimSpace(last.Words); words != "" {
		why += "; the last it printed: " + strings.ReplaceAll(words, "\n", " / ")
	}
	return why + ". `ratchet resume` goes on all the same"
}

// shape is a message without its numbers, in which attempts differ that failed
// alike.
func shape(message string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, message)
}
