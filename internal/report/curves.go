package report

import (
	"image/color"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"ratchet/internal/metrics"
	"ratchet/internal/objects"
	"ratchet/internal/research"
)

// Learning curves: what the best experiment and the median one reported by step.

const (
	leastSteps  = 3        // below that there is no curve
	mostCurves  = 4        // metrics that are drawn
	mostSeries  = 64 << 20 // bytes that are read of a trial's metrics
	curvePoints = 500      // steps that are drawn at most
)

// reportedBy is the file in which evidence has what a program reported.
const reportedBy = "metrics.jsonl"

// curve is a metric of an experiment by step, over its seeds.
type curve struct {
	label string
	steps []int
	mean  []float64
	low   []float64
	high  []float64
	seeds int
}

// curves are the learning curves by metric, the objective's first.
func (w *writer) curves(r *Results, store Store) (names []string, byMetric map[string][]curve) {
	byMetric = map[string][]curve{}
	for _, x := range outstanding(r) {
		all := map[string][]map[int]float64{} // by metric, of each seed
		for _, t := range x.Trials {
			if t.Evidence == "" || t.Outcome != string(research.Succeeded) {
				continue
			}
			series := w.series(t.Evidence, store)
			if series == nil {
				continue
			}
			for _, name := range series.Names() {
				steps := map[int]float64{}
				for _, p := range series.Points(name) {
					steps[p.Step] = p.Value
				}
				if len(steps) >= leastSteps {
					all[name] = append(all[name], steps)
				}
			}
		}
		for name, seeds := range all {
			if c := over(seeds); len(c.steps) >= leastSteps {
				c.label = x.label
				byMetric[name] = append(byMetric[name], c)
			}
		}
	}
	names = slices.Sorted(maps.Keys(byMetric))
	if i := slices.Index(names, r.Objective.Metric); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, r.Objective.Metric)
	}
	return names[:min(len(names), mostCurves)], byMetric
}

type labelled struct {
	Experiment
	label string
}

// outstanding are the best experiment and the one in the middle.
func outstanding(r *Results) (out []labelled) {
	var ranked []Experiment
	for _, x := range r.Experiments {
		if x.Value != nil {
			ranked = append(ranked, x)
		}
	}
	if len(ranked) == 0 {
		if len(r.Experiments) == 1 { // a command that ran once
			return []labelled{{r.Experiments[0], r.Experiments[0].ID}}
		}
		return nil
	}
	slices.SortStableFunc(ranked, func(a, b Experiment) int {
		switch {
		case r.Objective.Better(*a.Value, *b.Value):
			return -1
		case r.Objective.Better(*b.Value, *a.Value):
			return 1
		}
		return 0
	})
	out = append(out, labelled{ranked[0], "best, " + ranked[0].ID})
	if middle := len(ranked) / 2; middle > 0 {
		out = append(out, labelled{ranked[middle], "median, " + ranked[middle].ID})
	}
	return out
}

// series reads what a trial reported; nil: nothing.
func (w *writer) series(evidence string, store Store) *metrics.Series {
	tree, err := store.Tree(objects.Digest(evidence))
	if err != nil {
		w.fail(err)
		return nil
	}
	for _, f := range tree {
		if f.Path != reportedBy || f.Size == 0 || f.Size > mostSeries {
			continue
		}
		o, err := store.Open(f.Digest)
		if err != nil {
			w.fail(err)
			return nil
		}
		defer o.Close() // only read from
		s := metrics.NewSeries()
		if _, err := io.Copy(seriesWriter{s}, o); err != nil {
			w.fail(err)
			return nil
		}
		s.Close()
		return s
	}
	return nil
}

type seriesWriter struct{ s *metrics.Series }

func (w seriesWriter) Write(b []byte) (int, error) {
	w.s.Write(b)
	return len(b), nil
}

// over is the mean over seeds at each step that all of them have, and the least and
// the most of them.
func over(seeds []map[int]float64) curve {
	c := curve{seeds: len(seeds)}
	for _, step := range slices.Sorted(maps.Keys(seeds[0])) {
		sum, low, high, all := 0.0, math.Inf(1), math.Inf(-1), true
		for _, s := range seeds {
			v, ok := s[step]
			all = all && ok
			sum, low, high = sum+v, min(low, v), max(high, v)
		}
		if all && !math.IsInf(sum, 0) {
			c.steps, c.mean = append(c.steps, step), append(c.mean, sum/float64(len(seeds)))
			c.low, c.high = append(c.low, low), append(c.high, high)
		}
	}
	return c
}

// curvePlot draws curves, each with a band from the least to the most of its seeds.
func curvePlot(metric string, curves []curve) *plot.Plot {
	p := newPlot("step", metric)
	for i, c := range curves {
		colour := []color.RGBA{blue, orange}[i%2]
		every := (len(c.steps) + curvePoints - 1) / curvePoints
		var line, band plotter.XYs
		for j := 0; j < len(c.steps); j += every {
			line = append(line, plotter.XY{X: float64(c.steps[j]), Y: c.mean[j]})
			band = append(band, plotter.XY{X: float64(c.steps[j]), Y: c.high[j]})
		}
		for j := (len(c.steps) - 1) / every * every; j >= 0; j -= every {
			band = append(band, plotter.XY{X: float64(c.steps[j]), Y: c.low[j]})
		}
		if c.seeds > 1 {
			area, err := plotter.NewPolygon(band)
			if err != nil {
				return nil
			}
			area.Color, area.Width = color.RGBA{colour.R/5 + 204, colour.G/5 + 204, colour.B/5 + 204, 0xff}, 0
			p.Add(area)
		}
		l, err := plotter.NewLine(line)
		if err != nil {
			return nil
		}
		l.Color, l.Width = colour, 1.5
		p.Add(l)
		text := c.label
		if c.seeds > 1 {
			text += ", mean and range over " + research.Counted(c.seeds, "seed")
		}
		p.Legend.Add(text, l)
	}
	styleLegend(p)
	p.X.Tick.Marker = wholeTicks{}
	return p
}

// plotName is a part of a plot's file name.
func plotName(s string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '-'
	}, s[:min(len(s), 60)]), "-")
}
