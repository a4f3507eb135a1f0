// Package monitor watches: what the machine and the attempts use, how healthy
// a run is and why, and what people must be told.
package monitor
