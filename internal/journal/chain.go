package journal

import "strings"

// Kind is what the records of a chain are about.
type Kind string

// The kinds of chains that a run has.
const (
	KindRun   Kind = "run"   // what happens in the run
	KindCalls Kind = "calls" // its model calls
)

// Kinds are all kinds. A chain's name ends with its kind, but for the first.
var Kinds = []Kind{KindRun, KindCalls}

// Chain names a chain of records.
type Chain struct {
	Run  string
	Kind Kind
}

// Of is the chain of what happens in a run.
func Of(run string) Chain { return Chain{run, KindRun} }

// CallsOf is the chain of a run's model calls.
func CallsOf(run string) Chain { return Chain{run, KindCalls} }

// Name is the chain's name in the hashes of its records, in backups and in
// messages: its run's, and but for KindRun a dot and the kind.
func (c Chain) Name() string {
	if c.Kind == KindRun {
		return c.Run
	}
	return c.Run + "." + string(c.Kind)
}

func (c Chain) String() string { return c.Name() }

// Named is the chain of a name.
func Named(name string) Chain {
	for _, k := range Kinds[1:] {
		if run, ok := strings.CutSuffix(name, "."+string(k)); ok && run != "" {
			return Chain{run, k}
		}
	}
	return Of(name)
}
