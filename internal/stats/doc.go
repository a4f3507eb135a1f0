// Package stats judges hypotheses from pairs of measurements: effect,
// interval, test, correction for the number of hypotheses, verdict. The rules
// and their sources are in docs/statistics.md.
package stats
