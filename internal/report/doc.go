// Package report writes what a run found: results.json, and from it pages,
// tables and plots. Build is pure; Write puts a Results into a folder. Nothing
// in a report is computed anywhere else than in Build, so that every figure
// that a person reads stands in results.json too, with where it came from.
package report
