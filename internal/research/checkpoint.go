package research

import (
	"fmt"
	"time"

	"ratchet/study"
)

// Checkpoint is a named position in a run's journal: the state behind its
// event.
type Checkpoint struct {
	Name  string    `json:"name"`
	Seq   int64     `json:"seq"`
	Time  time.Time `json:"time"`
	Stage string    `json:"stage"` // empty: before the first
	Kind  string    `json:"kind"`
}

// The kinds of checkpoints.
const (
	AtStart      = "start"      // the run was created
	AtStage      = "stage"      // a stage ended, or the study's interval within it
	AtError      = "error"      // the first trial of a stage that failed, or a run that did
	AtRecovery   = "recovery"   // an engine took over from one that did not stop on purpose
	AtCompletion = "completion" // the run came to its end
	Manual       = "manual"     // a person named it
)

// CheckpointMade names its own position, by a person's wish.
type CheckpointMade struct {
	v1
	Name string `json:"name"`
	By   string `json:"by"`
}

// Marked is how far the automatic checkpoints have come.
type Marked struct {
	Frontier   int           // experiments done at the last one that they made
	Driven     time.Duration // time driven at the last one that it made
	Recoveries int
	Manual     int
}

// mark names the position behind an event where it is to have a name. driven
// says that an engine drove the run before it.
func (s *State) mark(p Payload, driven bool) {
	add := func(kind, name string) {
		s.Checkpoints = append(s.Checkpoints, Checkpoint{Name: name, Seq: s.Seq, Time: s.Time, Stage: s.Stage, Kind: kind})
	}
	switch d := p.(type) {
	case RunCreated:
		add(AtStart, "start")
	case StageCompleted:
		add(AtStage, "stage-"+d.Stage)
	case EngineStarted:
		if driven { // it did not stop on purpose
			s.Marked.Recoveries++
			add(AtRecovery, fmt.Sprintf("recovery-%d", s.Marked.Recoveries))
		}
	case TrialCompleted:
		if d.Outcome != Succeeded && !s.erred() {
			add(AtError, "error-"+d.Trial)
		}
	case RunCompleted:
		if d.Status == Failed {
			add(AtError, "failed")
		} else {
			add(AtCompletion, "completion")
		}
	case CheckpointMade:
		s.Marked.Manual++
		add(Manual, d.Name)
	}
	c := s.Created.Study.Checkpoints
	if c.Experiments > 0 && s.Frontier >= s.Marked.Frontier+c.Experiments {
		s.Marked.Frontier = s.Frontier / c.Experiments * c.Experiments
		add(AtStage, fmt.Sprintf("experiments-%d", s.Marked.Frontier))
	}
	if every := time.Duration(c.Every); every > 0 && s.Driven >= s.Marked.Driven+every {
		s.Marked.Driven = s.Driven.Truncate(every)
		add(AtStage, "time-"+study.Duration(s.Marked.Driven).String())
	}
}

// erred reports whether the stage has a checkpoint of its first failure.
func (s *State) erred() bool {
	for i := len(s.Checkpoints) - 1; i >= 0 && s.Checkpoints[i].Stage == s.Stage; i-- {
		if s.Checkpoints[i].Kind == AtError {
			return true
		}
	}
	return false
}
