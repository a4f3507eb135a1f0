// Package monitor watches: what the machine and the attempts use, how healthy
// a run is and why, and what somebody must be told.
package monitor
