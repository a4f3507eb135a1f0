package view

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"ratchet/internal/engine"
	"ratchet/internal/research"
	"ratchet/internal/stats"
	"ratchet/study"
)

// Ask is what a researcher who proposes to an open run needs to know: `ratchet ask --json`.
// All of it is derived from the run's record.
type Ask struct {
	Run      string          `json:"run"`
	Seq      int64           `json:"seq"` // of the last record that it knows
	Question string          `json:"question,omitempty"`
	Goal     study.Objective `json:"goal"`
	Rules    AskRules        `json:"rules"`
	// Taking says why no proposal is taken now; empty: they are.
	Taking string    `json:"not_taking,omitempty"`
	Budget AskBudget `json:"budget"`
	// Noise is the standard deviation of the start between seeds; nil: it is not known yet.
	Noise *float64 `json:"noise"`
	// Best is the best so far, and Gain by how much it is better than the start, over the seeds
	// that both have, with the interval at 95 %.
	Best         string      `json:"best,omitempty"`
	Gain         *float64    `json:"gain_over_start"`
	GainInterval *[2]float64 `json:"gain_interval"`
	Experiments  []AskTried  `json:"experiments"`
	Failures     []AskFail   `json:"failures"`
	Lessons      []AskLesson `json:"lessons"`
	Notes        []AskNote   `json:"notes"`
	// Since is how many experiments in a row were not kept, and Recent what the last ten that
	// have a verdict gained each, those that were not kept nothing.
	Since  int      `json:"not_kept_in_a_row"`
	Recent *float64 `json:"recent_gain_per_experiment"`
	// Untried are the files and parameters that no proposal has changed.
	Untried []string `json:"untried"`
}

// AskRules say what may be proposed, and when it is kept.
type AskRules struct {
	Command     []string           `json:"command"`
	Editable    []string           `json:"editable"`
	Parameters  []study.Parameter  `json:"parameters"`
	Constraints []study.Constraint `json:"constraints,omitempty"`
	Keep        study.Keep         `json:"keep"`
	Time        study.Duration     `json:"time"` // of an attempt
	Memory      study.Bytes        `json:"memory"`
	Evaluated   bool               `json:"evaluated_apart"` // only what an evaluation measures counts
}

// AskBudget is what is left.
type AskBudget struct {
	Experiments int `json:"experiments"`
	// Time is what of limits.run.time is left; nil: it is not limited.
	Time *study.Duration `json:"time"`
	// Cost is what of limits.run.cost is left, in US dollars; nil: it is not limited.
	Cost *float64 `json:"cost"`
}

// AskTried is an experiment as it stands.
type AskTried struct {
	Experiment string             `json:"experiment"`
	Parent     string             `json:"parent,omitempty"`
	Verdict    string             `json:"verdict"` // kept, reverted, failed or pending
	Why        string             `json:"why,omitempty"`
	Hypothesis string             `json:"hypothesis,omitempty"`
	Who        string             `json:"who,omitempty"`
	Value      *float64           `json:"value"` // mean of the objective over the search's seeds
	Against    string             `json:"against,omitempty"`
	N          int                `json:"n"`
	Gain       *float64           `json:"gain"`
	Interval   *[2]float64        `json:"interval"`
	Because    string             `json:"because,omitempty"` // of the verdict
	Changes    []research.Change  `json:"changes,omitempty"`
	Parameters map[string]any     `json:"parameters_changed,omitempty"`
	Words      string             `json:"last_words,omitempty"` // of one that failed
	Metrics    map[string]float64 `json:"metrics,omitempty"`    // means of others
	index      int
}

// AskFail are experiments that failed alike.
type AskFail struct {
	Class       string   `json:"class"`
	Experiments []string `json:"experiments"`
	Words       string   `json:"last_words"`
}

// AskLesson is how often changes to something were kept.
type AskLesson struct {
	What string `json:"what"` // a file, a parameter, or a word of the reasons given
	Kept int    `json:"kept"`
	Of   int    `json:"of"`
}

// AskNote is a word of a person or an agent.
type AskNote struct {
	By         string    `json:"by"`
	Time       time.Time `json:"time"`
	Text       string    `json:"text"`
	Experiment string    `json:"experiment,omitempty"`
}

// Pending is the verdict of an experiment that has none yet.
const Pending = "pending"

// AskOf is what a run tells whoever proposes.
func AskOf(ctx context.Context, e *engine.Engine, run string) (Ask, error) {
	s, _, err := e.Load(ctx, run)
	if err != nil {
		return Ask{}, err
	}
	return askOf(s, e.Now()), nil
}

func askOf(s *research.State, now time.Time) Ask {
	st := s.Created.Study
	a := Ask{
		Run: s.Created.Run, Seq: s.Seq, Question: st.Question, Goal: st.Objective, Taking: s.Taking(),
		Rules: AskRules{
			Command: st.Program.Command, Editable: append([]string{}, st.Program.Editable...), Parameters: append([]study.Parameter{}, st.Parameters...),
			Constraints: st.Constraints, Time: st.Limits.Attempt.Time, Memory: st.Limits.Attempt.Memory, Evaluated: st.Evaluation != nil,
		},
		Experiments: []AskTried{}, Failures: []AskFail{}, Lessons: []AskLesson{}, Notes: []AskNote{}, Untried: []string{},
	}
	if st.Keep != nil {
		a.Rules.Keep = *st.Keep
	}
	if s.Plan != nil {
		a.Budget.Experiments = max(0, s.Plan.Experiments-len(s.Experiments))
	}
	if limit := s.TimeLimit(); limit > 0 {
		driven := s.Driven + s.RolledBack
		if s.Status == research.Running && s.Engine.Engine != "" {
			driven += max(0, now.Sub(s.Time))
		}
		left := study.Duration(max(0, limit-driven))
		a.Budget.Time = &left
	}
	if limit := s.SpendLimit().Cost; limit > 0 {
		left := max(0, float64(limit)/1e6-s.Tally.Models.USD)
		a.Budget.Cost = &left
	}
	for _, x := range s.Experiments {
		a.Experiments = append(a.Experiments, tried(s, x))
	}
	a.best(s)
	a.failures()
	a.progress()
	a.lessons(st)
	for _, n := range s.Notes {
		a.Notes = append(a.Notes, AskNote{n.By, n.Time, n.Text, n.Experiment})
	}
	for _, x := range s.Experiments {
		if v := x.Vetoed; v != nil {
			a.Notes = append(a.Notes, AskNote{By: v.By, Text: "vetoed: " + cmp.Or(v.Why, "no reason given"), Experiment: x.Experiment})
		}
	}
	return a
}

func tried(s *research.State, x *research.Experiment) AskTried {
	t := AskTried{
		Experiment: x.Experiment, Parent: x.Parent, Verdict: cmp.Or(x.Verdict(), Pending), Why: x.Why, Hypothesis: x.Hypothesis, Who: x.Who, Value: x.Value,
		Changes: x.Changes, index: x.Index,
	}
	for name, v := range x.Means {
		if name != s.Created.Study.Objective.Metric {
			if t.Metrics == nil {
				t.Metrics = map[string]float64{}
			}
			t.Metrics[name] = v
		}
	}
	if p := s.Experiment(x.Parent); p != nil {
		for name, v := range x.Parameters {
			if was, ok := p.Parameters[name]; !ok || was != v {
				if t.Parameters == nil {
					t.Parameters = map[string]any{}
				}
				t.Parameters[name] = v
			}
		}
	}
	if w := x.Weighing; w != nil {
		t.Against, t.N, t.Gain, t.Interval, t.Because = w.Against, w.N, w.Gain, w.Interval, w.Why
		if x.Vetoed != nil {
			t.Because = "vetoed by " + x.Vetoed.By
		}
	}
	for _, trial := range x.Trials {
		if last := trial.Last(); trial.Retriable() && last != nil {
			t.Words = cmp.Or(last.Words, last.Message)
			break
		}
	}
	return t
}

// best compares the best with the start.
func (a *Ask) best(s *research.State) {
	if len(s.Experiments) == 0 {
		return
	}
	start, best := s.Experiments[0], s.Standing()
	values := func(x *research.Experiment) map[int64]float64 {
		out := map[int64]float64{}
		for _, t := range x.Trials {
			if v, ok := t.Metrics()[a.Goal.Metric]; ok && t.Purpose == research.ForSearch {
				out[t.Seed] = v
			}
		}
		return out
	}
	first := values(start)
	var floor []float64
	for _, seed := range s.Plan.Seeds {
		if v, ok := first[seed]; ok {
			floor = append(floor, v)
		}
	}
	if sample := stats.NewSample(floor); len(floor) > 1 && stats.Finite(sample.SD) {
		a.Noise = &sample.SD
	}
	if best == nil {
		return
	}
	if a.Best = best.Experiment; best == start {
		return
	}
	var d []float64
	for _, seed := range s.Plan.Seeds {
		x, okX := values(best)[seed]
		y, okY := first[seed]
		if okX && okY {
			if d = append(d, x-y); a.Goal.Goal == study.Minimize {
				d[len(d)-1] = y - x
			}
		}
	}
	if sample := stats.NewSample(d); len(d) > 0 && stats.Finite(sample.Mean) {
		a.Gain = &sample.Mean
		if low, high := sample.Interval(0.95); sample.Varies() && stats.Finite(low, high) {
			a.GainInterval = &[2]float64{low, high}
		}
	}
}

func (a *Ask) failures() {
	at := map[string]int{}
	for _, t := range a.Experiments {
		if t.Verdict != research.FailedVerdict {
			continue
		}
		class, _, _ := strings.Cut(t.Because, ":")
		i, ok := at[class]
		if !ok {
			i = len(a.Failures)
			at[class] = i
			a.Failures = append(a.Failures, AskFail{Class: class})
		}
		a.Failures[i].Experiments = append(a.Failures[i].Experiments, t.Experiment)
		a.Failures[i].Words = t.Words // of the newest
	}
}

// recent is over how many experiments the gain of each is shown.
const recent = 10

func (a *Ask) progress() {
	sum, n := 0.0, 0
	counting := true
	for i := len(a.Experiments) - 1; i > 0; i-- {
		t := a.Experiments[i]
		if t.Verdict == Pending {
			continue
		}
		if counting = counting && t.Verdict != research.Kept; counting {
			a.Since++
		}
		if n < recent {
			if n++; t.Verdict == research.Kept && t.Gain != nil {
				sum += *t.Gain
			}
		}
	}
	if n > 0 {
		sum /= float64(n)
		a.Recent = &sum
	}
}

// mostLessons bounds the lessons, and leastSeen how often something must have been changed.
const (
	mostLessons = 12
	leastSeen   = 2
)

// lessons count what went with gains: files, parameters, and words of the reasons given.
func (a *Ask) lessons(st *study.Study) {
	counts := map[string]*AskLesson{}
	changed := map[string]bool{}
	for _, t := range a.Experiments[min(1, len(a.Experiments)):] {
		if t.Verdict == Pending {
			continue
		}
		seen := map[string]bool{}
		for _, c := range t.Changes {
			seen["file "+c.File] = true
			changed[c.File] = true
		}
		for name := range t.Parameters {
			seen["parameter "+name] = true
			changed["parameter "+name] = true
		}
		for _, word := range strings.FieldsFunc(strings.ToLower(t.Why+" "+t.Hypothesis), func(r rune) bool { return !unicode.IsLetter(r) }) {
			if len(word) > 4 {
				seen["word "+word] = true
			}
		}
		for what := range seen {
			l := counts[what]
			if l == nil {
				l = &AskLesson{What: what}
				counts[what] = l
			}
			if l.Of++; t.Verdict == research.Kept {
				l.Kept++
			}
		}
	}
	for _, l := range counts {
		if l.Of >= leastSeen {
			a.Lessons = append(a.Lessons, *l)
		}
	}
	slices.SortFunc(a.Lessons, func(x, y AskLesson) int {
		return cmp.Or(cmp.Compare(y.Kept, x.Kept), cmp.Compare(y.Of, x.Of), strings.Compare(x.What, y.What))
	})
	a.Lessons = a.Lessons[:min(len(a.Lessons), mostLessons)]
	for _, f := range st.Program.Editable {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(changed)), func(c string) bool { return c == f || strings.HasPrefix(c, f+"/") }) {
			a.Untried = append(a.Untried, f)
		}
	}
	for _, d := range st.Parameters {
		if !changed["parameter "+d.Name] {
			a.Untried = append(a.Untried, fmt.Sprintf("parameter %s", d.Name))
		}
	}
}
