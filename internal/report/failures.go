package report

import (
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"ratchet/internal/research"
	"ratchet/study"
)

// Failure is a trial that did not succeed, or an attempt that failed before
// one that did.
type Failure struct {
	Trial    string         `json:"trial"`
	Attempt  int            `json:"attempt"`
	Class    research.Class `json:"class"`
	Message  string         `json:"message"`
	Final    bool           `json:"final"` // the trial failed with it
	Why      string         `json:"why,omitempty"`
	Evidence string         `json:"evidence,omitempty"`
	// What is known of it: the known text that it was recognised by, its end,
	// its last words, and what was tried next.
	Pattern string               `json:"pattern,omitempty"`
	Command []string             `json:"command,omitempty"`
	Exit    int                  `json:"exit"`
	Signal  string               `json:"signal,omitempty"`
	Words   string               `json:"words,omitempty"`
	Usage   research.Usage       `json:"usage"`
	Limits  *study.AttemptLimits `json:"limits,omitempty"`
	Host    string               `json:"host,omitempty"`
	Next    string               `json:"next,omitempty"`
	// After is when it was, in seconds after the run's first event.
	After float64 `json:"after_s,omitempty"`
}

// failures adds what failed of a trial of an experiment, of a run that began at a time.
func (r *Results) failures(st *study.Study, x *research.Experiment, t *research.Trial, began time.Time) {
	for i, a := range t.Attempts {
		if a.Class == research.Succeeded {
			continue
		}
		final := i == len(t.Attempts)-1 && t.Outcome != ""
		f := Failure{
			Trial: t.ID, Attempt: a.Number, Class: a.Class, Message: a.Message, Final: final, Evidence: a.Evidence,
			Pattern: a.Pattern, Exit: a.Exit, Signal: a.Signal, Words: a.Words, Usage: a.Usage, Limits: &st.Limits.Attempt, Host: a.Host, After: max(0, a.Ended.Sub(began).Seconds()),
		}
		parameters := x.Parameters
		if a.Parameters != nil {
			parameters = a.Parameters
		}
		f.Command, _ = st.Arguments(parameters, t.Seed) // they were given once
		if a.Limits != nil {
			f.Limits = a.Limits
		}
		if final {
			f.Why = t.Why
		} else if i+1 < len(t.Attempts) && t.Attempts[i+1].Remedy != nil {
			f.Next = t.Attempts[i+1].Remedy.Say()
		}
		r.Failures = append(r.Failures, f)
	}
}

// classes are the classes of the failures, in the order in which they came.
func classes(r *Results) (out []string) {
	for _, f := range r.Failures {
		if !slices.Contains(out, string(f.Class)) {
			out = append(out, string(f.Class))
		}
	}
	return out
}

// failuresPlot shows when attempts failed, by class; those with which a trial failed
// are filled.
func failuresPlot(r *Results) *plot.Plot {
	if len(r.Failures) < 2 {
		return nil
	}
	unit, name, last := 1.0, "seconds", 0.0
	for _, f := range r.Failures {
		last = max(last, f.After)
	}
	switch {
	case last > 2*86400:
		unit, name = 86400, "days"
	case last > 2*3600:
		unit, name = 3600, "hours"
	case last > 120:
		unit, name = 60, "minutes"
	}
	p := newPlot(name+" after the run began", "")
	all := classes(r)
	for _, final := range []bool{false, true} {
		var points plotter.XYs
		for _, f := range r.Failures {
			if f.Final == final {
				points = append(points, plotter.XY{X: f.After / unit, Y: float64(len(all) - 1 - slices.Index(all, string(f.Class)))})
			}
		}
		if len(points) == 0 {
			continue
		}
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return nil
		}
		dots.Color, dots.Shape, dots.Radius = blue, draw.RingGlyph{}, 3
		text := "tried again"
		if final {
			dots.Color, dots.Shape, text = orange, draw.CircleGlyph{}, "the trial failed"
		}
		p.Add(dots)
		p.Legend.Add(text, dots)
	}
	styleLegend(p)
	slices.Reverse(all)
	p.NominalY(all...)
	p.Y.Min, p.Y.Max = -0.5, float64(len(all))-0.5
	p.X.Min = 0
	return p
}
