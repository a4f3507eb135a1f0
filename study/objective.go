package study

import (
	"fmt"
	"math"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

// Objective is a metric that the search improves.
type Objective struct {
	Metric string `json:"metric"`
	Goal   string `json:"goal"`          // Maximize or Minimize
	Use    string `json:"use,omitempty"` // which of the reported values counts: last (default), best or mean
}

// The two goals of an objective.
const (
	Maximize = "maximize"
	Minimize = "minimize"
)

// Better reports whether a is a better value of the objective than b.
func (o Objective) Better(a, b float64) bool {
	if o.Goal == Minimize {
		return a < b
	}
	return a > b
}

// MostObjectives is how many objectives a study can have. With more, hardly any configuration
// is better than another.
const MostObjectives = 4

// frontDefault is validation.front where the study leaves it open.
const frontDefault = 8

// Constraint is what the mean of a metric must keep to, for a configuration to count as a
// solution.
type Constraint struct {
	Metric  string   `json:"metric"`
	AtMost  *float64 `json:"at_most,omitempty"`
	AtLeast *float64 `json:"at_least,omitempty"`
}

// Excess is by how much a value breaks the constraint, in the metric's unit; 0: it keeps to it.
func (c Constraint) Excess(v float64) float64 {
	excess := 0.0
	if c.AtMost != nil {
		excess = max(excess, v-*c.AtMost)
	}
	if c.AtLeast != nil {
		excess = max(excess, *c.AtLeast-v)
	}
	return excess
}

// Scale is what excesses of constraints are measured by, so that they can be added up: the size
// of its bound.
func (c Constraint) Scale() float64 {
	size := 0.0
	for _, bound := range []*float64{c.AtMost, c.AtLeast} {
		if bound != nil {
			size = max(size, math.Abs(*bound))
		}
	}
	if size == 0 {
		return 1
	}
	return size
}

func (c Constraint) String() string {
	switch {
	case c.AtMost == nil:
		return fmt.Sprintf("%s ≥ %v", c.Metric, *c.AtLeast)
	case c.AtLeast == nil:
		return fmt.Sprintf("%s ≤ %v", c.Metric, *c.AtMost)
	}
	return fmt.Sprintf("%v ≤ %s ≤ %v", *c.AtLeast, c.Metric, *c.AtMost)
}

// Goals are all objectives of the study; none where its command runs once.
func (s *Study) Goals() []Objective {
	switch {
	case len(s.Objectives) > 0:
		return s.Objectives
	case s.Once():
		return nil
	}
	return []Objective{s.Objective}
}

// Several reports whether the study has several objectives.
func (s *Study) Several() bool { return len(s.Objectives) > 1 }

// Weighs reports whether more than one metric says how good a configuration is.
func (s *Study) Weighs() bool { return s.Several() || len(s.Constraints) > 0 }

// GoalOf is the objective that a metric is, or the first one's goal for any other metric.
func (s *Study) GoalOf(metric string) Objective {
	for _, o := range s.Objectives {
		if o.Metric == metric {
			return o
		}
	}
	return s.Objective
}

// Needed are the metrics that every trial must report, the objective first.
func (s *Study) Needed() (out []string) {
	for _, o := range s.Goals() {
		out = append(out, o.Metric)
	}
	for _, c := range s.Constraints {
		if !slices.Contains(out, c.Metric) {
			out = append(out, c.Metric)
		}
	}
	return out
}

func (p *parsing) objective(n ast.Node) {
	p.s.Objective = p.oneObjective(n, "objective")
}

func (p *parsing) oneObjective(n ast.Node, where string) (o Objective) {
	seen := p.Fields(n, where, map[string]func(ast.Node){
		"metric": func(n ast.Node) { o.Metric = p.metricName(n, where+".metric") },
		"goal":   func(n ast.Node) { o.Goal = p.Choice(n, where+".goal", Maximize, Minimize) },
		"use":    func(n ast.Node) { o.Use = p.Choice(n, where+".use", "last", "best", "mean") },
	})
	if !seen["metric"] || !seen["goal"] {
		p.Complain(n, "the objective is not whole", "write `{metric: accuracy, goal: maximize}`")
	}
	return o
}

func (p *parsing) objectives(n ast.Node) {
	p.at["objectives"] = n
	var all []Objective
	items := p.List(n, "objectives")
	for i, item := range items {
		o := p.oneObjective(item, fmt.Sprintf("objectives[%d]", i))
		if slices.ContainsFunc(all, func(other Objective) bool { return other.Metric == o.Metric && o.Metric != "" }) {
			p.Complain(item, fmt.Sprintf("%s is an objective twice", yamlfile.Shorten(o.Metric)), "remove one of them")
		}
		all = append(all, o)
	}
	switch {
	case len(all) == 0:
		p.Complain(n, "objectives is empty", "write `objectives: [{metric: error, goal: minimize}, {metric: latency_ms, goal: minimize}]`")
		return
	case len(all) > MostObjectives:
		p.Complain(items[MostObjectives], fmt.Sprintf("there are %d objectives", len(all)), "keep at most %d, since with more hardly any configuration is better than another; make others constraints", MostObjectives)
	}
	if p.s.Objective = all[0]; len(all) > 1 {
		p.s.Objectives = all
	}
}

func (p *parsing) constraints(n ast.Node) {
	p.at["constraints"] = n
	for i, item := range p.List(n, "constraints") {
		c := Constraint{}
		where := fmt.Sprintf("constraints[%d]", i)
		bound := func(to **float64, key string) func(ast.Node) {
			return func(n ast.Node) {
				v := p.Number(n, where+"."+key, -math.MaxFloat64, math.MaxFloat64)
				*to = &v
			}
		}
		seen := p.Fields(item, where, map[string]func(ast.Node){
			"metric":   func(n ast.Node) { c.Metric = p.metricName(n, where+".metric") },
			"at_most":  bound(&c.AtMost, "at_most"),
			"at_least": bound(&c.AtLeast, "at_least"),
		})
		switch {
		case !seen["metric"] || c.AtMost == nil && c.AtLeast == nil:
			p.Complain(item, "the constraint is not whole", "write `{metric: latency_ms, at_most: 50}` or `{metric: recall, at_least: 0.9}`")
		case c.AtMost != nil && c.AtLeast != nil && *c.AtLeast > *c.AtMost:
			p.Complain(item, fmt.Sprintf("%s is to be at least %v and at most %v", yamlfile.Shorten(c.Metric), *c.AtLeast, *c.AtMost), "put the lower bound into at_least")
		case slices.ContainsFunc(p.s.Constraints, func(other Constraint) bool { return other.Metric == c.Metric }):
			p.Complain(item, fmt.Sprintf("%s has two constraints", yamlfile.Shorten(c.Metric)), "write one with at_least and at_most")
		}
		p.s.Constraints = append(p.s.Constraints, c)
	}
}

// checkObjectives looks at what a search by more than one metric can do.
func (p *parsing) checkObjectives(seen map[string]bool) {
	s := p.s
	if seen["objective"] && seen["objectives"] {
		p.Complain(p.at["objectives"], "the study has both objective and objectives", "list all of them under objectives")
	}
	v := &s.Validation
	switch {
	case s.Several() && v.Front == 0:
		v.Front = frontDefault
	case !s.Several() && v.Front != 0:
		p.Complain(p.at["validation"], "validation.front says how much of a Pareto front is validated, and there is one objective", "remove it, or list the others under objectives")
	}
	at, ok := p.at["search"]
	if !ok {
		return
	}
	if !s.Weighs() {
		if s.Search.Method == NSGA {
			p.Complain(at, "nsga weighs several objectives, and there is one", "set method to auto, or list the others under objectives")
		}
		return
	}
	what := "several objectives"
	if !s.Several() {
		what = "constraints"
	}
	switch s.Search.Method {
	case TPE, CMA, Halving:
		p.Complain(at, fmt.Sprintf("%s goes by one metric, and the study has %s", s.Search.Method, what), "set method to auto, gp or nsga")
	}
	if s.Search.Method != Halving && s.Search.Stops() != "" {
		p.Complain(at, fmt.Sprintf("trials are stopped by one metric, and the study has %s", what), "remove stop")
	}
	if len(s.Search.LearnFrom) > 0 {
		p.Complain(at, fmt.Sprintf("earlier results are learned of one metric, and the study has %s", what), "remove learn_from; `start` lists configurations to try first")
	}
}
