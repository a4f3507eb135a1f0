// Package engine carries runs out: it joins the pure core to its effects.
//
// An Engine holds a home: the journal, the objects and the runs' folders.
// Create makes a run of a study, Drive carries it on from wherever its journal
// stands, and everything else reads. All that a run is stands in the journal;
// what Drive holds in memory can be lost at any moment.
package engine
