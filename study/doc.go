// Package study reads and checks the study file: what is to be researched, by
// which program, over which parameters, judged by which comparisons.
//
// Parse reads a file and reports every mistake in it at once, each with file,
// line and column and what would be right. A Study that Parse has returned is
// whole: defaults are filled in, every hypothesis names parameters that exist,
// every gate compiles. Parse touches nothing but the bytes it is given; Load asks
// besides whether the files that a study names are there.
package study
