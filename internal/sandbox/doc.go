// Package sandbox is the walls around one command: namespaces, mounts, system calls,
// control groups, and the first process, which builds them from within and starts the
// command. docs/security.md describes the walls.
//
// Under Strict the command has namespaces of its own, whose first process builds the
// view of the file system; it gives up every privilege before the command begins. The
// first process is forked from the shim that asks for the sandbox, and lives no longer;
// see fork.
package sandbox
