// Package view is what runs are, as documents: the command line, and whatever
// else shows runs, share them.
package view

import (
	"context"
	"encoding/json"
	"time"

	"ratchet/internal/engine"
	"ratchet/internal/gateway/ledger"
	"ratchet/internal/home"
	"ratchet/internal/journal"
	"ratchet/internal/maintenance"
	"ratchet/internal/monitor"
	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/study"
)

// Status is where a run stands: `ratchet status --json`, and an element of
// `ratchet list --json`.
type Status struct {
	Run       string            `json:"run"`
	Status    string            `json:"status"`
	Why       string            `json:"why,omitempty"`
	Stage     string            `json:"stage"`
	Driven    *home.DrivenError `json:"driven_by"` // nil: by no process of this machine
	Completed int               `json:"experiments_done"`
	Planned   int               `json:"experiments_planned"`
	Trials    int               `json:"trials_done"`
	// PlannedTrials grows as the search and the validation decide.
	PlannedTrials int      `json:"trials_planned"`
	Failed        int      `json:"trials_failed"`
	InFlight      []string `json:"in_flight"`           // actions without an outcome
	Objective     string   `json:"objective,omitempty"` // its metric
	Best          *float64 `json:"best"`
	// BestExperiment and BestParameters are what Best was measured with.
	BestExperiment string       `json:"best_experiment,omitempty"`
	BestParameters study.Params `json:"best_parameters,omitempty"`
	// Objectives are the metrics of all objectives where there are several, and Front the
	// experiments that the search has on the Pareto front, with their means.
	Objectives []string     `json:"objectives,omitempty"`
	Front      []FrontPoint `json:"front,omitempty"`
	// Expected is what the search expects of another experiment; nil: it has no model, or is over.
	Expected *search.Expectation  `json:"expected,omitempty"`
	Began    time.Time            `json:"began"`
	Last     time.Time            `json:"last_event"`
	Seq      int64                `json:"seq"`
	Output   string               `json:"output"` // folder of the report
	Disk     *maintenance.DiskUse `json:"disk,omitempty"`
	At       int64                `json:"at,omitempty"` // the position that was asked for; 0: the last
	Origin   *research.Origin     `json:"origin,omitempty"`
	Health   *monitor.Health      `json:"health,omitempty"` // nil if the run is not driven
	Waiting  string               `json:"waiting_for,omitempty"`
	Alerts   []research.Alert     `json:"alerts"`
	Models   *ledger.Summary      `json:"models,omitempty"` // of a run whose study allows model calls
	// Refused is what programs asked of models and of the network, and did not get.
	Refused []ledger.Refusal `json:"refused,omitempty"`
	// CostLimit bounds what its model calls may cost; 0: nothing does.
	CostLimit study.Money `json:"cost_limit,omitempty"`
}

// FrontPoint is an experiment of a Pareto front.
type FrontPoint struct {
	Experiment string       `json:"experiment"`
	Parameters study.Params `json:"parameters"`
	Means      []float64    `json:"means"` // of the objectives, over the search's seeds
}

// StatusOf is where a run stands, and whether it is driven now.
func StatusOf(e *engine.Engine, s *research.State) Status {
	d := folded(s)
	d.Output = e.Output(s)
	d.now(e)
	return d
}

// StatusAt is where a run stood at a position; 0: where it stands, and what its
// model calls come to.
func StatusAt(ctx context.Context, e *engine.Engine, run string, at int64) (Status, error) {
	s, _, err := e.LoadAt(ctx, run, at)
	if err != nil {
		return Status{}, err
	}
	d := StatusOf(e, s)
	if d.At = at; at > 0 {
		d.Driven, d.Health, d.Waiting = nil, nil, "" // they are of now
		return d, nil
	}
	if s.Created.Study.Models == nil && s.Created.Study.Tools == nil {
		return d, nil
	}
	sums, err := e.CallSums(ctx, run)
	if err != nil {
		return d, err
	}
	if d.Refused = sums.Refusals(); s.Created.Study.Models != nil {
		sum := sums.Summary()
		d.Models = &sum
	}
	return d, nil
}

// folded is what the state alone says.
func folded(s *research.State) Status {
	d := Status{
		Run: s.Created.Run, Status: string(s.Status), Why: s.Why, Stage: s.Stage,
		Completed: s.Frontier, Trials: s.Tally.Trials, Failed: s.Tally.Failed, InFlight: []string{},
		Began: s.Began, Last: s.Time, Seq: s.Seq, Output: s.Created.Output, Origin: s.Origin, Alerts: append([]research.Alert{}, s.Alerts...),
	}
	if s.Plan != nil {
		d.Planned = s.Plan.Experiments
	}
	d.PlannedTrials, d.Objective, d.CostLimit = s.PlannedTrials(), s.Created.Study.Objective.Metric, s.SpendLimit().Cost
	if best := s.Best(); best != nil {
		d.Best, d.BestExperiment, d.BestParameters = best.Value, best.Experiment, best.Parameters
	}
	if s.Created.Study.Several() {
		for _, o := range s.Created.Study.Goals() {
			d.Objectives = append(d.Objectives, o.Metric)
		}
		for _, x := range search.Front(s) {
			p := FrontPoint{Experiment: x.Experiment, Parameters: x.Parameters}
			for _, name := range d.Objectives {
				p.Means = append(p.Means, x.Means[name])
			}
			d.Front = append(d.Front, p)
		}
	}
	if s.Waits() {
		d.Waiting = "proposals"
	}
	if s.Stage == research.Experimentation {
		d.Expected = search.Expected(s)
	}
	for _, a := range s.Pending {
		d.InFlight = append(d.InFlight, a.ID)
	}
	return d
}

// now adds who drives the run.
func (d *Status) now(e *engine.Engine) {
	if d.Driven = e.Driven(d.Run); d.Driven == nil {
		return
	}
	if w, err := e.Watched(d.Run); err == nil && w != nil && w.PID == d.Driven.PID {
		if d.Health = &w.Health; w.WaitingFor != "" {
			d.Waiting = w.WaitingFor
		}
	}
}

// Word is the status in a word for people: a run that is not driven is not
// running.
func (d Status) Word() string {
	if d.Status == string(research.Running) && d.Driven == nil && d.At == 0 {
		return "interrupted"
	}
	return d.Status
}

// Ended reports whether the run has ended for good.
func (d Status) Ended() bool { return research.Status(d.Status).Ended() }

// What is kept of a status; see history.ReadFold. The form changes with Status.
const (
	statusFile = "status"
	statusForm = 3
)

// Damaged is the status of a run that cannot be read; Why says why.
const Damaged = "damaged"

// List is where all runs of a home stand, sorted by name. Runs that have not
// changed since they were listed before are not folded.
func List(ctx context.Context, e *engine.Engine) ([]Status, error) {
	out := []Status{}
	for i, err := range e.Journal.Chains(ctx, journal.KindRun) {
		if err != nil {
			return nil, err
		}
		d, err := listed(ctx, e, i)
		if err != nil {
			d = Status{Run: i.Run, Status: Damaged, Why: err.Error(), InFlight: []string{}}
		} else {
			d.now(e)
		}
		out = append(out, d)
	}
	return out, ctx.Err()
}

func listed(ctx context.Context, e *engine.Engine, i journal.Info) (d Status, err error) {
	if body, head, ok := e.ReadFold(ctx, i.Chain, statusFile, statusForm); ok && head == i.Head && json.Unmarshal(body, &d) == nil {
		d.Output = e.OutputOf(d.Run, d.Output)
		return d, nil
	}
	s, head, err := e.Load(ctx, i.Run)
	if err != nil {
		return d, err
	}
	d = folded(s)
	if body, err := json.Marshal(d); err == nil && e.Driven(i.Run) == nil {
		e.KeepFold(i.Chain, statusFile, statusForm, head, body)
	}
	d.Output = e.OutputOf(d.Run, d.Output)
	return d, nil
}
