// Package research is the core of Ratchet: what a run is, and what it does
// next.
//
// A run is a sequence of events. State.Apply folds them, Decide says what
// follows. Both are pure: no clock, no disk, no randomness but what the events
// and the arguments carry, so that the same journal always gives the same
// state and the same decisions, on any machine and after any crash.
//
// Decide returns events to be journaled. Most of them record a conclusion
// (a stage is over, a trial is complete). An ActionDecided asks for an effect;
// it stays in State.Pending until the event that carries its outcome.
package research
