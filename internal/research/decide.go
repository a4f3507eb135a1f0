package research

import (
	"fmt"
	"slices"
	"time"

	"ratchet/study"
)

// Decide says what follows from the state at the time now: the events to be
// journaled next. None means that the run waits, for pending actions, for the
// end of a back-off (see Wake) or for a person, or that it has ended. After
// its events are folded, Decide is asked again.
//
// The same state and time always give the same events, and no event asks for
// an action that was decided before.
func Decide(s *State, now time.Time) []Payload {
	switch {
	case s.Seq == 0 || s.Ended() || s.Status == Paused:
		return nil
	case s.Cancel != "":
		if len(s.Pending) > 0 {
			return nil
		}
		return []Payload{RunCompleted{Status: Cancelled, Why: "cancelled by " + s.Cancel}}
	case s.WantPause != "":
		return s.pause("paused by " + s.WantPause)
	case s.Blocked != "":
		return s.pause(s.Blocked, AlertRaised{Rule: RulePaused, Severity: Grave, Text: s.Blocked})
	}
	if why := s.doubt(); why != "" {
		return s.pause(why, AlertRaised{Rule: RulePaused, Subject: subjectAlike, Severity: Grave, Text: why})
	}
	if spent, limit := s.Driven+s.RolledBack+max(0, now.Sub(s.Time)), s.TimeLimit(); limit > 0 && spent >= limit && s.Stage != Reporting {
		why := fmt.Sprintf("the run's time is spent: %s of %s; go on with `ratchet resume --more-time 1h`",
			study.Duration(spent.Round(time.Second)), study.Duration(limit))
		return s.pause(why, AlertRaised{Rule: RulePaused, Severity: Warning, Text: why})
	}
	if s.Stage == "" {
		return []Payload{StageStarted{Stage: Ideation}}
	}
	if last := s.StageRecord[len(s.StageRecord)-1]; !last.Ended.IsZero() {
		next := slices.Index(Stages, s.Stage) + 1
		if next < len(Stages) {
			return []Payload{StageStarted{Stage: Stages[next]}}
		}
		return s.conclude()
	}
	switch s.Stage {
	case Ideation:
		return s.ideate()
	case Planning:
		return s.plan()
	case Experimentation:
		if s.Created.Study.Open() {
			return s.openSearch(now)
		}
		return s.experiment(now)
	case Validation:
		return s.validate(now)
	default:
		return s.report()
	}
}

// TimeLimit is limits.run.time and what was added to it; 0: none.
func (s *State) TimeLimit() time.Duration {
	if s.Created.Study.Limits.Run.Time == 0 {
		return 0
	}
	return time.Duration(s.Created.Study.Limits.Run.Time) + s.MoreTime
}

// pause waits for what is in flight, then pauses, with what a person should
// know of it.
func (s *State) pause(reason string, alerts ...Payload) []Payload {
	if len(s.Pending) > 0 && !s.Idle {
		return nil
	}
	return append(alerts, RunPaused{Reason: reason})
}

// Wake is the earliest time at which a pending action's back-off ends or a
// time limit is reached; zero: no such time.
func (s *State) Wake(now time.Time) time.Time {
	var wake time.Time
	earliest := func(t time.Time) {
		if t.After(now) && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	if limit := s.TimeLimit(); limit > 0 {
		earliest(s.Time.Add(limit - s.Driven - s.RolledBack))
	}
	if limit := time.Duration(s.Created.Study.Limits.Stage.Time); limit > 0 && len(s.StageRecord) > 0 {
		earliest(s.Time.Add(limit - s.inStage(s.Time)))
	}
	return wake
}

func (s *State) stageOver(now time.Time) string {
	limit := time.Duration(s.Created.Study.Limits.Stage.Time)
	if limit > 0 && s.inStage(now) >= limit {
		return fmt.Sprintf("limits.stage.time, %s, is spent", study.Duration(limit))
	}
	return ""
}

// inStage is how long an engine has driven the stage that the run is in.
func (s *State) inStage(now time.Time) time.Duration {
	return s.Driven - s.StageRecord[len(s.StageRecord)-1].Driven + max(0, now.Sub(s.Time))
}

// ideate states the hypotheses: the study's own, or one for each parameter
// with a few values.
func (s *State) ideate() []Payload {
	var out []Payload
	st := s.Created.Study
	for _, h := range st.Hypotheses[min(len(s.Hypotheses), len(st.Hypotheses)):] {
		out = append(out, HypothesisStated{Hypothesis: h})
	}
	if len(st.Hypotheses) == 0 && !st.Open() {
		for _, d := range st.Parameters {
			stated := slices.ContainsFunc(s.Hypotheses, func(h *Hypothesis) bool { return h.Derived == d.Name })
			if d.Kind != study.Categorical || len(d.Values) < 2 || stated {
				continue
			}
			expect := study.Greater
			if st.Objective.Goal == study.Minimize {
				expect = study.Less
			}
			out = append(out, HypothesisStated{Derived: d.Name, Hypothesis: study.Hypothesis{
				ID:     "derived-" + idOf(d.Name),
				Claim:  fmt.Sprintf("The best value of %s gives a better %s than the next best", d.Name, st.Objective.Metric),
				Expect: expect,
			}})
		}
	}
	return append(out, StageCompleted{Stage: Ideation})
}

// idOf makes an id of a parameter's name.
func idOf(name string) string {
	b := []byte(name)
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c - 'A' + 'a'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		default:
			b[i] = '-'
		}
	}
	return string(b)
}

// plan makes the design, and builds the program where it must be built.
func (s *State) plan() []Payload {
	if s.Plan == nil {
		return []Payload{PlanMade{Plan: design(s.Created, s.Hypotheses)}}
	}
	if s.Plan.Refused != "" {
		return s.fail("the plan cannot be carried out: " + s.Plan.Refused)
	}
	if len(s.Created.Study.Program.Build) > 0 && s.Snapshot == s.Created.Snapshot {
		switch {
		case len(s.Pending) > 0:
			return nil
		case s.BuildFailed != "":
			return s.fail("the program could not be built: " + s.BuildFailed)
		}
		return []Payload{ActionDecided{Action: Action{ID: "build", Kind: Build}}}
	}
	if s.Created.Study.Evaluation != nil {
		switch {
		case len(s.Pending) > 0:
			return nil
		case s.NullTests == nil:
			return []Payload{ActionDecided{Action: Action{ID: string(CheckEvaluation), Kind: CheckEvaluation}}}
		case s.NullTests.Refused != "":
			return s.fail("the evaluation measures nothing: " + s.NullTests.Refused)
		}
	}
	return []Payload{StageCompleted{Stage: Planning}}
}

// experiment keeps as many attempts in flight as the study allows and asks
// for the next configuration as soon as the outcomes that it may depend on
// are complete.
func (s *State) experiment(now time.Time) []Payload {
	if out := s.advance(); len(out) > 0 {
		return out
	}
	cut := s.stageOver(now)
	if cut == "" {
		parallel := s.Created.Study.Parallel
		next := len(s.Experiments)
		proposing := slices.ContainsFunc(s.Pending, func(a Action) bool { return a.Kind == Propose })
		if !s.Exhausted && !proposing && next < s.Plan.Experiments && next-s.Frontier < parallel {
			return []Payload{ActionDecided{Action: Action{ID: fmt.Sprintf("propose-%d", next+1), Kind: Propose, Index: next}}}
		}
		if out, _ := s.schedule(); len(out) > 0 {
			return out
		}
	}
	if len(s.Pending) > 0 || cut == "" && len(s.Open) > 0 {
		return nil
	}
	if s.Chosen == nil && (s.Created.Study.Several() || s.SearchMethod() == study.GP && (len(s.Plan.Seeds) > 1 || len(s.repeats) > 0)) {
		return []Payload{ActionDecided{Action: Action{ID: "choose", Kind: Choose}}}
	}
	return []Payload{StageCompleted{Stage: Experimentation, Cut: cut}}
}

// advance completes the trials whose last attempt settles them.
func (s *State) advance() []Payload {
	var out []Payload
	for _, t := range s.Open {
		if len(t.Attempts) == 0 || len(t.Attempts) < t.Tries {
			continue
		}
		if again, why := s.remedy(t); again == nil {
			out = append(out, TrialCompleted{Trial: t.ID, Outcome: t.Last().Class, Why: why})
			if last := t.Last(); last.Class == Security {
				out = append(out, AlertRaised{Rule: RuleSecurity, Subject: last.ID, Severity: Grave, Text: fmt.Sprintf("attempt %s: %s", last.ID, last.Message)})
			}
		}
	}
	return out
}

// schedule decides attempts of open trials, up to the parallelism, and gives
// how many more may begin. One that is to be alone waits until nothing flies,
// and meanwhile nothing else begins.
func (s *State) schedule() (out []Payload, room int) {
	flying := 0
	for _, a := range s.Pending {
		if a.Kind != Try {
			continue
		}
		if flying++; a.alone() {
			return nil, 0
		}
	}
	for _, t := range s.Open {
		if flying >= s.Created.Study.Parallel {
			break
		}
		if len(t.Attempts) < t.Tries {
			continue // in flight
		}
		a := s.try(t)
		if a.alone() && flying > 0 {
			return out, 0
		}
		out = append(out, ActionDecided{Action: a})
		if flying++; a.alone() {
			return out, 0
		}
	}
	return out, s.Created.Study.Parallel - flying
}

func (a Action) alone() bool { return a.Remedy != nil && a.Remedy.Name == Alone }

func (s *State) try(t *Trial) Action {
	a := Action{
		ID: AttemptID(t.ID, t.Tries+1), Kind: Try, Attempt: t.Tries + 1,
		Experiment: t.Experiment, Trial: t.ID, Seed: t.Seed, Purpose: t.Purpose,
	}
	last := t.Last()
	if last == nil {
		return a
	}
	a.Remedy, _ = s.remedy(t) // there is one: advance has completed the others
	if n := len(t.Attempts) - t.Renewed; n == 0 {
		// What made it fail is mended.
	} else if wait := waits(s.Created.Seed, a.ID, *last, n); wait > 0 {
		a.NotBefore = s.Time.Add(wait)
	}
	// What was lessened stays so: the trial ran out once.
	a.Parameters, a.Limits = t.Parameters, t.Limits
	if a.Remedy != nil && a.Remedy.Name == Less {
		if p, l, ok := s.lessened(t); ok {
			a.Parameters, a.Limits = p, l
		}
	}
	return a
}
