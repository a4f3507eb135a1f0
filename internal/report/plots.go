package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgpdf" // the formats of all plots
	_ "gonum.org/v1/plot/vg/vgsvg"

	"ratchet/internal/research"
	"ratchet/study"
)

// The colours of plots: legible on white, told apart by colour-blind readers
// (Okabe and Ito, "Color Universal Design", 2008).
var (
	ink    = color.RGBA{0x33, 0x33, 0x33, 0xff}
	faint  = color.RGBA{0xcc, 0xcc, 0xcc, 0xff}
	blue   = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	orange = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
)

// margin is what a plot leaves free on each side, for what stands on its edge.
const margin = 8

// plots writes all plots, each as SVG and as PDF, and gives the former by name, with the names
// of those that the page shows beside one another.
func (w *writer) plots(r *Results, store Store) (of shown) {
	svg := map[string][]byte{}
	add := func(name string, p *plot.Plot, width, height vg.Length) bool {
		if p == nil || w.err != nil || !drawable(&p.X) || !drawable(&p.Y) {
			return false
		}
		legend := p.Legend
		for _, format := range []string{"svg", "pdf"} {
			b, err := drawn(p, legend, format, width, height)
			if err != nil {
				w.fail(err)
				return false
			}
			w.bytes("plots/"+name+"."+format, b)
			if format == "svg" {
				svg[name] = b
			}
		}
		return true
	}
	add("progress", progressPlot(r), 18*vg.Centimeter, 8*vg.Centimeter)
	fronts, plots := frontPlots(r)
	for i, name := range fronts {
		if add(name, plots[i], frontWidth, frontHeight) {
			of.Fronts = append(of.Fronts, name)
		}
	}
	add("tree", treePlot(r), 18*vg.Centimeter, 9*vg.Centimeter)
	add("hypervolume", volumePlot(r), 18*vg.Centimeter, 7*vg.Centimeter)
	add("importance", importancePlot(r), 18*vg.Centimeter, vg.Length(2+float64(len(r.Importance)))*vg.Centimeter)
	add("parallel", parallelPlot(r), 18*vg.Centimeter, 8*vg.Centimeter)
	add("failures", failuresPlot(r), 18*vg.Centimeter, vg.Length(2.5+0.8*float64(len(classes(r))))*vg.Centimeter)
	for _, h := range r.Hypotheses {
		add("hypothesis-"+h.ID, hypothesisPlot(h), 10*vg.Centimeter, 9*vg.Centimeter)
	}
	for i, imp := range r.Importance {
		if name := "slice-" + plotName(imp.Parameter); i < mostSlices && add(name, slicePlot(r, imp.Parameter), 8.5*vg.Centimeter, 7*vg.Centimeter) {
			of.Slices = append(of.Slices, name)
		}
	}
	names, by := w.curves(r, store)
	for _, metric := range names {
		if name := "curve-" + plotName(metric); add(name, curvePlot(metric, by[metric]), 18*vg.Centimeter, 8*vg.Centimeter) {
			of.Curves = append(of.Curves, name)
		}
	}
	of.Plots = svg
	return of
}

// drawn is a plot in a format. The legend has room of its own, above the data.
func drawn(p *plot.Plot, legend plot.Legend, format string, width, height vg.Length) ([]byte, error) {
	to, err := draw.NewFormattedCanvas(width, height, format)
	if err != nil {
		return nil, err
	}
	area := draw.Crop(draw.New(to), margin, -margin, margin, -margin)
	p.Legend = plot.NewLegend()
	if size := legend.Rectangle(area).Size(); size.Y > 0 {
		legend.Top, legend.Left = true, true
		legend.Draw(draw.Crop(area, 2*vg.Centimeter, 0, area.Max.Y-area.Min.Y-size.Y, 0))
		area = draw.Crop(area, 0, 0, 0, -size.Y-margin)
	}
	p.Draw(area)
	var b bytes.Buffer
	_, err = to.WriteTo(&b)
	return b.Bytes(), err
}

// styleLegend has a plot's legend written as the rest of it.
func styleLegend(p *plot.Plot) {
	p.Legend.TextStyle.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 9}
	p.Legend.TextStyle.Color = ink
}

// drawable gives an axis a range that can be drawn: values that are all the
// same have room on either side, also where they are so large that a step of
// one is lost. It reports false where the range is more than a number can hold.
func drawable(a *plot.Axis) bool {
	if math.IsInf(a.Min, 0) && math.IsInf(a.Max, 0) {
		return true // nothing is in it
	}
	size := max(math.Abs(a.Min), math.Abs(a.Max))
	if span := a.Max - a.Min; span <= size*1e-9 {
		room := max(size*1e-6, 1e-6)
		if span == 0 && size < 1e6 {
			room = 1
		}
		a.Min, a.Max = a.Min-room, a.Max+room
	}
	return size < math.MaxFloat64/1e6
}

// newPlot is a plot in the report's style.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.BackgroundColor = color.White
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color = ink, ink
		for _, s := range []*draw.TextStyle{&a.Label.TextStyle, &a.Tick.Label} {
			s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}
			s.Color = ink
		}
	}
	p.X.Padding, p.Y.Padding = 4, 4
	return p
}

// progressPlot shows every experiment's objective in the order of proposals, the best
// so far, and which experiments have no value since they failed.
func progressPlot(r *Results) *plot.Plot {
	var all, best, broken, failed plotter.XYs
	if r.Front != nil || r.Open() {
		return nil // the hypervolume, or the tree, says more
	}
	for i, x := range r.Experiments {
		if x.Value == nil {
			failed = append(failed, plotter.XY{X: float64(i + 1)})
			continue
		}
		v := *x.Value
		if x.Excess > 0 {
			broken = append(broken, plotter.XY{X: float64(i + 1), Y: v})
			continue
		}
		all = append(all, plotter.XY{X: float64(i + 1), Y: v})
		if n := len(best); n > 0 && !r.Objective.Better(v, best[n-1].Y) {
			v = best[n-1].Y
		}
		best = append(best, plotter.XY{X: float64(i + 1), Y: v})
	}
	if len(all) == 0 {
		return nil
	}
	p := newPlot("experiment", r.Objective.Metric)
	if len(broken) > 0 {
		marks, err := plotter.NewScatter(broken)
		if err != nil {
			return nil
		}
		marks.Color, marks.Shape, marks.Radius = grey, draw.CrossGlyph{}, 2.5
		p.Add(marks)
		p.Legend.Add("breaks a constraint", marks)
	}
	points, err := plotter.NewScatter(all)
	line, err2 := plotter.NewLine(best)
	if err != nil || err2 != nil {
		return nil // values that cannot be drawn
	}
	points.Color, points.Shape, points.Radius = blue, draw.CircleGlyph{}, 2
	line.Color, line.Width, line.StepStyle = orange, 1.5, plotter.PostStep
	p.Add(line, points)
	p.Legend.Add("best so far", line)
	p.Legend.Add("mean over the search's seeds", points)
	styleLegend(p)
	if len(failed) > 0 && drawable(&p.Y) {
		// On the edge where values are worst.
		edge, room := p.Y.Min, 0.1*(p.Y.Max-p.Y.Min)
		if r.Objective.Goal == study.Minimize {
			edge = p.Y.Max + room
		} else {
			edge -= room
		}
		for i := range failed {
			failed[i].Y = edge
		}
		marks, err := plotter.NewScatter(failed)
		if err != nil {
			return nil
		}
		marks.Color, marks.Shape, marks.Radius = ink, draw.CrossGlyph{}, 3
		p.Add(marks)
		p.Legend.Add("no value: failed", marks)
	}
	p.X.Tick.Marker = wholeTicks{}
	return p
}

// wholeTicks are ticks at whole numbers alone.
type wholeTicks struct{}

// Ticks implements plot.Ticker.
func (wholeTicks) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	for _, t := range (plot.DefaultTicks{}).Ticks(low, high) {
		if t.Value == math.Trunc(t.Value) {
			out = append(out, t)
		}
	}
	return out
}

// hypothesisPlot shows both sides' values, paired by seed, with each side's
// mean and its interval.
func hypothesisPlot(h Hypothesis) *plot.Plot {
	if h.A.Mean == nil || h.B.Mean == nil {
		return nil
	}
	p := newPlot("", h.Metric)
	for _, pair := range h.Pairs {
		line, err := plotter.NewLine(plotter.XYs{{X: 0.15, Y: pair.A}, {X: 0.85, Y: pair.B}})
		if err != nil {
			return nil
		}
		line.Color, line.Width = faint, 0.75
		p.Add(line)
	}
	for i, side := range []Side{h.A, h.B} {
		x := float64(i)
		seeds := beside(h.Pairs, i)
		dots, err := plotter.NewScatter(seeds)
		if err != nil {
			return nil
		}
		dots.Color, dots.Shape, dots.Radius = blue, draw.CircleGlyph{}, 2
		mean, err := plotter.NewScatter(plotter.XYs{{X: x, Y: *side.Mean}})
		if err != nil {
			return nil
		}
		mean.Color, mean.Shape, mean.Radius = orange, draw.BoxGlyph{}, 3
		p.Add(dots)
		if side.Interval != nil {
			bar, err := plotter.NewLine(plotter.XYs{{X: x, Y: side.Interval[0]}, {X: x, Y: side.Interval[1]}})
			if err != nil {
				return nil
			}
			bar.Color, bar.Width = orange, 2
			p.Add(bar)
		}
		p.Add(mean)
	}
	p.NominalX(sideLabel("a", h.A, h), sideLabel("b", h.B, h))
	p.X.Min, p.X.Max = -0.45, 1.45
	p.X.Tick.Label.Font.Size = 9
	return p
}

// beside gives the points of a side, those of equal values beside one another.
func beside(pairs []research.Pair, side int) plotter.XYs {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range pairs {
		low, high = min(low, p.A, p.B), max(high, p.A, p.B)
	}
	const step = 0.025
	seen := map[float64]int{}
	var out plotter.XYs
	for _, p := range pairs {
		v := sideOf(p, side)
		cell := 0.0
		if high > low {
			cell = math.Round((v - low) / (high - low) * 60)
		}
		n := seen[cell]
		seen[cell]++
		x := 0.15 + step*float64(min(n, 8))
		if side == 1 {
			x = 1 - x
		}
		out = append(out, plotter.XY{X: x, Y: v})
	}
	return out
}

// sideLabel is a side's configuration in a few short lines, with how many values there
// are and of what level the interval is.
func sideLabel(name string, side Side, h Hypothesis) string {
	const width, lines = 18, 4
	var out []string
	line := name + ":"
	for word := range strings.FieldsSeq(Parameters(side.Parameters)) {
		if len([]rune(line))+1+len([]rune(word)) > width && line != "" {
			out, line = append(out, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
		if r := []rune(line); len(r) > width {
			line = string(r[:width-1]) + "…"
		}
	}
	if out = append(out, line); len(out) > lines {
		out = append(out[:lines-1], "…")
	}
	return strings.Join(append(out, fmt.Sprintf("n = %d", len(h.Pairs))), "\n")
}

func sideOf(p research.Pair, i int) float64 {
	if i == 0 {
		return p.A
	}
	return p.B
}

// importancePlot shows how much of the objective's variance each parameter
// explains on its own, and how sure that is.
func importancePlot(r *Results) *plot.Plot {
	if len(r.Importance) == 0 {
		return nil
	}
	p := newPlot("share of the variance explained", "")
	values := make(plotter.Values, len(r.Importance))
	names := make([]string, len(r.Importance))
	var ranges importanceRanges
	for i, imp := range r.Importance {
		at := len(values) - 1 - i // the most important on top
		values[at], names[at] = imp.Share, fmt.Sprintf("%s (%d)", imp.Parameter, imp.N)
		ranges.XYs = append(ranges.XYs, plotter.XY{X: imp.Share, Y: float64(at)})
		ranges.XErrors = append(ranges.XErrors, struct{ Low, High float64 }{imp.Share - imp.Low, imp.High - imp.Share})
	}
	bars, err := plotter.NewBarChart(values, 0.5*vg.Centimeter)
	if err != nil {
		return nil
	}
	errors, err := plotter.NewXErrorBars(ranges)
	if err != nil {
		return nil
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, blue, 0
	p.Add(bars, errors)
	p.NominalY(names...)
	p.X.Min, p.X.Max = 0, 1
	p.Y.Min, p.Y.Max = -0.5, float64(len(values))-0.5
	return p
}

type importanceRanges struct {
	plotter.XYs
	plotter.XErrors
}
