package executor

import "ratchet/internal/research"

// The jobs of a CheckEvaluation action: the command that does nothing, and what
// is evaluated.
const (
	NullFolder  = "null-folder"
	NullProgram = "null-program"
)

// EvaluationOf is the id of the job that evaluates what an action's job left.
func EvaluationOf(action string) string { return action + "-eval" }

// JobsOf are the ids of all jobs that an action may have.
func JobsOf(action string) []string {
	if action == string(research.CheckEvaluation) {
		return []string{NullProgram, EvaluationOf(NullProgram), EvaluationOf(NullFolder)}
	}
	return []string{action, EvaluationOf(action)}
}
