package main

import (
	"fmt"
	"strings"

	"ratchet/internal/research"
)

// audit says in words what an event means to a reader who asks who did what, when
// and why; "": it is the run's daily work.
func audit(p research.Payload) string {
	switch d := p.(type) {
	case research.RunCreated:
		return fmt.Sprintf("the run was created from %s, study %.12s, program %.12s, seed %d, isolation %s, release %s", d.Folder, d.StudyFile, d.Snapshot, d.Seed, d.Isolation, d.Release)
	case research.RunForked:
		return fmt.Sprintf("%s forked it from run %s at record %d%s", d.By, d.Origin.Run, d.Origin.Seq, inBrackets(strings.Join(d.Changes, ", ")))
	case research.RolledBack:
		return fmt.Sprintf("%s rolled it back to record %d", d.By, d.To)
	case research.CheckpointMade:
		return fmt.Sprintf("%s named this position %s", d.By, d.Name)
	case research.EngineStarted:
		return fmt.Sprintf("engine %s began to drive it: process %d on %s, release %s", d.Engine, d.PID, d.Host, d.Release)
	case research.EngineStopped:
		return fmt.Sprintf("engine %s left it: %s", d.Engine, d.Reason)
	case research.PauseRequested:
		return d.By + " asked to pause"
	case research.CancelRequested:
		return d.By + " asked to cancel"
	case research.RunPaused:
		return "it paused: " + d.Reason
	case research.RunResumed:
		if d.MoreTime > 0 {
			return "it was resumed with " + d.MoreTime.String() + " more"
		}
		return "it was resumed"
	case research.RunCompleted:
		return "it ended: " + string(d.Status) + inBrackets(d.Why)
	case research.AlertsSilenced:
		return fmt.Sprintf("%s silenced %s until %s", d.By, d.Rule, d.Until.UTC().Format("2006-01-02 15:04:05"))
	case research.AlertRaised:
		return fmt.Sprintf("%s: %s", d.Severity, d.Text)
	case research.AlertResolved:
		return "over: " + d.Rule + inBrackets(d.Subject)
	case research.AttemptEnded:
		if d.Attempt.Class == research.Security {
			return fmt.Sprintf("attempt %s on %s: %s", d.Attempt.ID, d.Attempt.Host, d.Attempt.Message)
		}
	case research.GateEvaluated:
		return fmt.Sprintf("gate %s: %s", d.Gate, map[bool]string{true: "passed", false: "not passed"}[d.Passed])
	}
	return ""
}
