// Package sandbox runs one untrusted command, isolated and within limits, and
// reports how it ended.
//
// Each command has a shim: a process of its own session that starts the
// command, watches its limits, keeps its output and writes its end durably,
// so that it outlives whoever asked for it. Start starts a shim, or finds the
// one that is there. Under Strict the shim's child is the first process of
// new namespaces; it builds the view of the file system, gives up every
// privilege, and starts the command. docs/security.md describes the walls.
//
// Shim and first process are this program, executed again: a program that
// calls Start must call Main first thing.
package sandbox
