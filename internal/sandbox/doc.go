// Package sandbox runs one untrusted command, isolated and within limits, and
// reports how it ended.
//
// Each command has a shim: a process of its own session that starts the
// command, watches its limits, keeps its output and writes down its end, so
// that it outlives whoever asked for it. Start gives the command to a shim, or
// finds the one that has it. Under Strict the shim's child is the first process of
// new namespaces, which builds the view of the file system; the command gives
// up every privilege before it begins. docs/security.md describes the walls.
//
// A shim is this program, executed again: a program that starts commands must
// call Main first thing. The first process is forked from the shim; see fork.
package sandbox
