// Package processes is the processes below one, as the kernel tells of them: who they
// are, what they use, what they wait for, and how they are ended.
package processes
