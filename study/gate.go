package study

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

// Gate is a condition on a run's results that must hold for the run to count
// as passed, like `success_rate >= 0.8`.
type Gate string

// DefaultGate is the gate of a study that states none.
const DefaultGate Gate = "success_rate >= 0.8"

// Facts are what a gate can speak of.
type Facts struct {
	// SuccessRate is the share of completed trials that succeeded, 0 to 1.
	SuccessRate float64 `expr:"success_rate"`
	// Best has the metrics of the best configuration, means over its seeds.
	Best map[string]any `expr:"best"`
	// Experiments is how many configurations have a value of the objective.
	Experiments int `expr:"experiments"`
	Trials      int `expr:"trials"`
	Failed      int `expr:"failed"` // trials that ended without succeeding
	Supported   int `expr:"supported"`
	Refuted     int `expr:"refuted"`
	Undecided   int `expr:"undecided"`
	// Reproduces is whether the experiment that was executed again from its
	// record came out the same.
	Reproduces bool `expr:"reproduces"`
	// Verdict gives each hypothesis's verdict by its id.
	Verdict map[string]string `expr:"verdict"`
}

// Eval reports whether the gate holds. An error says why that cannot be
// known; a gate that cannot be evaluated has not passed.
func (g Gate) Eval(f Facts) (bool, error) {
	program, err := expr.Compile(string(g), expr.Env(Facts{}), expr.AsBool())
	if err != nil {
		return false, firstLine(err)
	}
	out, err := expr.Run(program, f)
	if err != nil {
		return false, firstLine(err)
	}
	return out.(bool), nil
}

func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if strings.Contains(line, "<nil>") {
		line = "it speaks of a value that this run does not have"
	}
	return errors.New(line)
}

func (p *parsing) gates(n ast.Node) {
	p.s.Gates = []Gate{}
	for _, item := range p.List(n, "gates") {
		g := Gate(p.Text(item, "a gate"))
		if _, err := expr.Compile(string(g), expr.Env(Facts{}), expr.AsBool()); err != nil {
			p.Complain(item, fmt.Sprintf("the gate %q cannot be read: %v", yamlfile.Shorten(string(g)), firstLine(err)),
				"write a condition on success_rate, best.METRIC, experiments, trials, failed, supported, refuted, undecided, reproduces or verdict[\"id\"]")
		}
		p.s.Gates = append(p.s.Gates, g)
	}
}
