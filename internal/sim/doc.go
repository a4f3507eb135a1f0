// Package sim is a simulation, for tests alone: the real core, the real loop
// of the engine and the real journal and object store, on machines whose
// clock, disk and executor are simulated and fail in every way that a seed
// draws. One seed is one history. See sim_test.go.
package sim
