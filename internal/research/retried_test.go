package research_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ratchet/internal/research"
)

// TestRetriedTrials draws runs in which failed trials are tried again, on the way and
// after the end: they get attempts of their own, and the run ends as if their failures
// had not been.
func TestRetriedTrials(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawStudy(t))
		w.run()
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			failed := w.s.Failed()
			if len(failed) == 0 {
				return
			}
			before := map[string]int{}
			var ids []string
			for _, trial := range failed {
				if len(ids) == 0 || rapid.Bool().Draw(t, "again") {
					ids = append(ids, trial.ID)
					before[trial.ID] = len(trial.Attempts)
				}
			}
			w.append(research.TrialsRetried{Trials: ids, By: "somebody", Why: "the disk is mended"})
			if w.s.Ended() || len(w.s.Gates) > 0 || w.s.Again != nil {
				t.Fatalf("a run with trials to be tried again is %s in %s", w.s.Status, w.s.Stage)
			}
			w.run()
			for _, id := range ids {
				trial := w.s.Trial(id)
				cut := slices.ContainsFunc(w.s.StageRecord, func(r research.StageRecord) bool { return r.Cut != "" })
				if more := len(trial.Attempts) - before[id]; !cut && (more < 1 || trial.Outcome == "") || more > w.s.Created.Study.Retries.Max+1 {
					t.Fatalf("trial %s, which was to be tried again, had %d more attempts and is %q", id, more, trial.Outcome)
				}
			}
		}
		tally := research.Tally{}
		for _, x := range w.s.Experiments {
			complete := true
			for _, trial := range x.Trials {
				switch trial.Outcome {
				case "":
					complete = false
				case research.Succeeded:
					tally.Succeeded++
				default:
					tally.Failed++
					complete = complete && trial.Purpose != research.ForSearch
				}
			}
			if complete && x.Value == nil {
				t.Errorf("%s has no value, though its trials succeeded", x.Experiment)
			}
		}
		if tally.Succeeded != w.s.Tally.Succeeded || tally.Failed != w.s.Tally.Failed || tally.Succeeded+tally.Failed != w.s.Tally.Trials {
			t.Errorf("the tally is %+v, counted are %+v", w.s.Tally, tally)
		}
		checkFolds(t, w)
	})
}
