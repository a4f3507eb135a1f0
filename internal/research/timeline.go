package research

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"ratchet/study"
)

// RolledBack says that the run goes on from an earlier position, or from one
// that was rolled back itself. What lies between stays in the journal and is
// superseded.
type RolledBack struct {
	v1
	To int64  `json:"to"` // seq of the last event that counts
	By string `json:"by"`
	// Driven is the time during which an engine drove the run before this, all
	// that is superseded included.
	Driven study.Duration `json:"driven,omitempty"`
}

// RunForked says that the events before it are another run's, up to a
// position, and what of the study is different from here on.
type RunForked struct {
	v1
	Origin  Origin   `json:"origin"`
	By      string   `json:"by"`
	Changes []string `json:"changes,omitempty"` // as they were asked for, key=value
	// Study and StudyFile replace the origin's; nil and empty: unchanged.
	Study     *study.Study `json:"study,omitempty"`
	StudyFile string       `json:"study_file,omitempty"` // digest
}

// Origin is where a fork comes from.
type Origin struct {
	Run  string `json:"run"`
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // of that record
}

// Rollback is a RolledBack in its place.
type Rollback struct{ Seq, To int64 }

// Span is a range of events by their numbers, both ends included.
type Span struct{ First, Last int64 }

// Timeline is which events make the state at a position: all up to it, less
// what the rollbacks before it, in their order, have superseded. A position
// that was superseded later has its timeline still.
func Timeline(rollbacks []Rollback, at int64) []Span {
	var out []Span
	for i := len(rollbacks) - 1; i >= 0; i-- {
		if b := rollbacks[i]; b.Seq <= at {
			out = append(out, Span{b.Seq, at})
			at = b.To
		}
	}
	if at > 0 {
		out = append(out, Span{1, at})
	}
	slices.Reverse(out)
	return out
}

// rollBack folds a rollback into the state at the position that it goes back
// to.
func (s *State) rollBack(e Event, d RolledBack) error {
	if s.Seq == 0 || d.To != s.Seq || e.Seq <= s.Seq {
		return fmt.Errorf("event %d goes back to event %d and follows event %d", e.Seq, d.To, s.Seq)
	}
	s.RolledBack = max(s.RolledBack, time.Duration(d.Driven)-s.Driven)
	s.branch()
	s.Seq, s.Time = e.Seq, e.Time
	return nil
}

// branch leaves behind what concerned the run as it went on before.
func (s *State) branch() { s.Engine, s.WantPause, s.Cancel, s.Blocked = EngineStarted{}, "", "", "" }

// fork folds what a fork changes into the state.
func (s *State) fork(seq int64, d RunForked) {
	s.branch()
	s.Origin = &d.Origin
	if d.StudyFile != "" {
		s.Created.StudyFile = d.StudyFile
	}
	if d.Study == nil {
		return
	}
	s.Created.Study = d.Study
	for _, x := range s.Experiments {
		_, why := d.Study.Fit(x.Parameters)
		x.Outside, x.sum = why != "", nil
	}
	if s.Stage != "" && s.Stage != Ideation { // there the study's are stated
		for _, h := range d.Study.Hypotheses {
			if !slices.ContainsFunc(s.Hypotheses, func(x *Hypothesis) bool { return x.ID == h.ID }) {
				s.Hypotheses = append(s.Hypotheses, &Hypothesis{Hypothesis: h, Added: seq})
			}
		}
	}
	if s.Plan != nil {
		p := design(s.Created, s.Hypotheses)
		s.Plan = &p
	}
}

// Amend says whether a run can go on from this state with another study, or
// why not: nothing that happened may become untrue. It changes nothing.
func (s *State) Amend(next *study.Study) error {
	now := s.Created.Study
	searched, designed := s.over(Experimentation), s.Designed != nil
	switch {
	case next.Search.Experiments != now.Search.Experiments && searched:
		return fmt.Errorf("search.experiments cannot change at record %d: the search was over; fork at an earlier position", s.Seq)
	case searched && difference(&study.Study{Parameters: now.Parameters}, &study.Study{Parameters: next.Parameters}) != "":
		return fmt.Errorf("parameters cannot change at record %d: the search was over; fork at an earlier position", s.Seq)
	case next.Search.Experiments < len(s.Experiments):
		return fmt.Errorf("search.experiments cannot be %d: %d experiments were begun by record %d", next.Search.Experiments, len(s.Experiments), s.Seq)
	case next.Validation != now.Validation && designed:
		return fmt.Errorf("validation cannot change at record %d: it was designed; fork at an earlier position", s.Seq)
	case len(next.Hypotheses) != len(now.Hypotheses) && designed:
		return fmt.Errorf("a hypothesis cannot be added at record %d: validation was designed; fork at an earlier position", s.Seq)
	case !slices.Equal(next.Gates, now.Gates) && len(s.Gates) > 0:
		return fmt.Errorf("gates cannot change at record %d: they were evaluated; fork at an earlier position", s.Seq)
	}
	for _, h := range s.Hypotheses {
		if len(next.Hypotheses) > 0 && h.Derived == "" && !slices.ContainsFunc(next.Hypotheses, func(n study.Hypothesis) bool { return n.ID == h.ID }) {
			return fmt.Errorf("the hypothesis %s cannot be taken away: it was stated", h.ID)
		}
	}
	same := *next
	same.Limits.Run, same.Limits.Stage, same.Limits.Model, same.Parallel, same.Retries, same.OnResource = now.Limits.Run, now.Limits.Stage, now.Limits.Model, now.Parallel, now.Retries, now.OnResource
	if sameNames(now.Parameters, next.Parameters) {
		same.Parameters = now.Parameters
	}
	same.Search.Enough = now.Search.Enough
	same.Search.Experiments, same.Validation, same.Gates, same.Checkpoints = now.Search.Experiments, now.Validation, now.Gates, now.Checkpoints
	if n := len(now.Hypotheses); len(next.Hypotheses) >= n {
		same.Hypotheses = next.Hypotheses[:n:n]
		if n == 0 {
			same.Hypotheses = now.Hypotheses
		}
	}
	if key := difference(now, &same); key != "" {
		return fmt.Errorf("%s cannot change: results that the fork shares would no longer be what it says; start a new run for that", key)
	}
	after := *s
	after.Created.Study = next
	if s.Plan != nil {
		if p := design(after.Created, s.Hypotheses); p.Refused != "" {
			return fmt.Errorf("the plan could not be carried out: %s", p.Refused)
		}
	}
	return nil
}

// sameNames reports whether the parameters are the same but for their ranges: what was
// measured within those that it has now still counts.
func sameNames(a, b []study.Parameter) bool {
	return slices.EqualFunc(a, b, func(a, b study.Parameter) bool {
		return a.Name == b.Name && a.Kind == b.Kind && maps.EqualFunc(a.When, b.When, slices.Equal)
	})
}

// over reports whether a stage has ended.
func (s *State) over(stage string) bool {
	return slices.ContainsFunc(s.StageRecord, func(r StageRecord) bool { return r.Name == stage && !r.Ended.IsZero() })
}

// difference names a key in which two studies differ; empty: none.
func difference(a, b *study.Study) string {
	fields := func(s *study.Study) map[string]any {
		var m map[string]any
		text, err := json.Marshal(s)
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil {
			panic(fmt.Sprintf("research: studies that Parse lets through always marshal: %v", err))
		}
		return m
	}
	return differs("", fields(a), fields(b))
}

func differs(path string, a, b map[string]any) string {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	sorted := make([]string, 0, len(keys))
	for k := range keys {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	for _, k := range sorted {
		x, mapX := a[k].(map[string]any)
		y, mapY := b[k].(map[string]any)
		if mapX && mapY {
			if key := differs(path+k+".", x, y); key != "" {
				return key
			}
			continue
		}
		p, _ := json.Marshal(a[k]) // they were JSON a moment ago
		q, _ := json.Marshal(b[k])
		if string(p) != string(q) {
			return path + k
		}
	}
	return ""
}
