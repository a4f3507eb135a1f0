package ratchet

import (
	"context"

	"ratchet/internal/engine"
	"ratchet/internal/research"
	"ratchet/internal/view"
)

// Proposal is an experiment that somebody proposes to a run whose study has
// `search: {method: open}`.
type Proposal = engine.Proposal

// ProposalError says why a proposal, or a word on an open run, is refused, and what would be
// right. Nothing was changed.
type ProposalError = engine.ProposalError

// Told is what became of a proposal when it was told.
type Told = engine.Told

// Ask is what whoever proposes needs to know.
type Ask = view.Ask

// Tried is an experiment in Ask.
type Tried = view.AskTried

// Answer is what became of a proposal.
type Answer = view.Answer

// What becomes of a proposal.
const (
	Kept     = research.Kept
	Reverted = research.Reverted
	Pending  = view.Pending
)

// Tell proposes an experiment to an open run. It is durable on return, and is measured when
// the run is driven. One that was proposed before changes nothing, and gives the earlier
// experiment. What the run does not take is a ProposalError.
func (e *Engine) Tell(ctx context.Context, run string, p Proposal) (Told, error) {
	return e.engine.Tell(ctx, run, p)
}

// Ask is what is known in an open run, for whoever proposes next.
func (e *Engine) Ask(ctx context.Context, run string) (Ask, error) {
	return view.AskOf(ctx, e.engine, run)
}

// Answer is what became of a proposal so far.
func (e *Engine) Answer(ctx context.Context, run, experiment string) (Answer, error) {
	return view.AnswerOf(ctx, e.engine, run, experiment)
}

// Patch is what the code of an experiment changes in that of another, as a unified diff; against
// is the start where it is empty.
func (e *Engine) Patch(ctx context.Context, run, experiment, against string) (string, error) {
	return view.PatchOf(ctx, e.engine, run, experiment, against)
}
