// Package shim supervises one command at a time, within its sandbox and its limits,
// and reports how it ended.
//
// A shim is a process of its own session that starts the command, watches its limits,
// keeps its output, leads its connections to the gateway and writes down its end, so
// that it outlives the process that asked for it. Launcher.Start gives a command to a shim, or
// finds the one that has it.
//
// A shim is this program, executed again: a program that starts commands must call
// Main first thing.
package shim
