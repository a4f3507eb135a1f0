package report

import (
	"cmp"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"ratchet/study"
)

// The space that was searched: a slice for each important parameter, and all of them
// side by side.

const (
	mostSlices = 6 // parameters that get a slice
	mostAxes   = 8 // parameters side by side
	leastDrawn = 3 // experiments
	mostLines  = 400
	mostWords  = 12 // values of a parameter that are no numbers
)

// axisOf is how the values of a parameter lie on an axis.
type axisOf struct {
	name  string
	words []string // the values, where they are not all numbers
	log   bool
	low   float64 // of numbers, or of their logarithms
	high  float64
}

// newAxis gives the axis of a parameter; false: it cannot be drawn.
func newAxis(r *Results, name string) (axisOf, bool) {
	a := axisOf{name: name, low: math.Inf(1), high: math.Inf(-1)}
	numbers, least := true, math.Inf(1)
	for _, x := range r.Experiments {
		v, ok := x.Parameters[name]
		if !ok {
			continue
		}
		if f, number := v.(float64); number {
			a.low, a.high, least = min(a.low, f), max(a.high, f), min(least, f)
		} else {
			numbers = false
		}
		if word := study.FormatValue(v); !slices.Contains(a.words, word) {
			a.words = append(a.words, word)
		}
	}
	if !numbers {
		slices.Sort(a.words)
		a.low, a.high = 0, float64(len(a.words)-1)
		return a, len(a.words) > 1 && len(a.words) <= mostWords
	}
	a.words = nil
	if a.log = least > 0 && a.high/least >= 100; a.log {
		a.low, a.high = math.Log10(a.low), math.Log10(a.high)
	}
	return a, a.low < a.high && a.high-a.low < math.MaxFloat64/1e6
}

// at is where a value lies.
func (a axisOf) at(v any) float64 {
	if f, ok := v.(float64); ok && a.words == nil {
		if a.log {
			return math.Log10(f)
		}
		return f
	}
	return float64(slices.Index(a.words, study.FormatValue(v)))
}

// valued are the experiments with a value, the best last, so that it is drawn above the
// others.
func valued(r *Results) (out []Experiment) {
	for _, x := range r.Experiments {
		if x.Value != nil {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b Experiment) int {
		switch {
		case a.Excess != b.Excess:
			return cmp.Compare(b.Excess, a.Excess)
		case r.Objective.Better(*a.Value, *b.Value):
			return 1
		case r.Objective.Better(*b.Value, *a.Value):
			return -1
		}
		return 0
	})
	return out
}

// slicePlot shows the objective by one parameter, the best experiment marked.
func slicePlot(r *Results, name string) *plot.Plot {
	a, ok := newAxis(r, name)
	all := valued(r)
	if !ok || len(all) < leastDrawn {
		return nil
	}
	label := name
	if a.log {
		label += ", logarithmic"
	}
	p := newPlot(label, r.Objective.Metric)
	var points, best plotter.XYs
	beside := map[[2]float64]int{} // equal ones, told apart
	for i, x := range all {
		v, has := x.Parameters[name]
		if !has {
			continue
		}
		at := plotter.XY{X: a.at(v), Y: *x.Value}
		key := [2]float64{at.X, at.Y}
		at.X += 0.008 * float64(min(beside[key], 8)) * (a.high - a.low)
		beside[key]++
		points = append(points, at)
		if i == len(all)-1 {
			best = plotter.XYs{at}
		}
	}
	if len(points) < leastDrawn {
		return nil
	}
	dots, err := plotter.NewScatter(points)
	if err != nil {
		return nil
	}
	dots.Color, dots.Shape, dots.Radius = blue, draw.CircleGlyph{}, 2
	p.Add(dots)
	if len(best) > 0 {
		mark, err := plotter.NewScatter(best)
		if err != nil {
			return nil
		}
		mark.Color, mark.Shape, mark.Radius = orange, draw.BoxGlyph{}, 3.5
		p.Add(mark)
		p.Legend.Add("best", mark)
		styleLegend(p)
	}
	if a.words != nil {
		short := make([]string, len(a.words))
		for i, word := range a.words {
			short[i] = shortened(word, 10)
		}
		p.NominalX(short...)
		p.X.Min, p.X.Max = -0.5, float64(len(a.words))-0.5
		p.X.Tick.Label.Font.Size = 9
	}
	if a.log {
		p.X.Tick.Marker = powers{}
	}
	return p
}

func shortened(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// short is a number with three digits that count.
func short(x float64) string { return strconv.FormatFloat(x, 'g', 3, 64) }

// powers are ticks of an axis of decimal logarithms.
type powers struct{}

// Ticks implements plot.Ticker.
func (powers) Ticks(low, high float64) (out []plot.Tick) {
	step := math.Ceil((high - low) / 6)
	for e := math.Ceil(low); e <= high; e += step {
		out = append(out, plot.Tick{Value: e, Label: short(math.Pow(10, e))})
	}
	if len(out) < 2 {
		return []plot.Tick{{Value: low, Label: short(math.Pow(10, low))}, {Value: high, Label: short(math.Pow(10, high))}}
	}
	return out
}

// parallelPlot shows every experiment as a line over its parameters to its value: the
// darker, the better. Those that do not have a parameter pass below its axis.
func parallelPlot(r *Results) *plot.Plot {
	var axes []axisOf
	for _, imp := range r.Importance {
		if a, ok := newAxis(r, imp.Parameter); ok && len(axes) < mostAxes {
			axes = append(axes, a)
		}
	}
	all := valued(r)
	if len(axes) < 2 || len(all) < leastDrawn {
		return nil
	}
	all = all[max(0, len(all)-mostLines):]
	low, high := math.Inf(1), math.Inf(-1)
	for _, x := range all {
		low, high = min(low, *x.Value), max(high, *x.Value)
	}
	if low >= high || math.IsInf(high-low, 0) {
		return nil
	}
	p := newPlot("", "")
	const none = -0.12 // where those lie that do not have the parameter
	without := make([]bool, len(axes))
	for i, x := range all {
		line := plotter.XYs{}
		for j, a := range axes {
			v, has := x.Parameters[a.name]
			at := plotter.XY{X: float64(j), Y: none}
			if has {
				at.Y = (a.at(v) - a.low) / (a.high - a.low)
			}
			without[j] = without[j] || !has
			line = append(line, at)
		}
		line = append(line, plotter.XY{X: float64(len(axes)), Y: (*x.Value - low) / (high - low)})
		l, err := plotter.NewLine(line)
		if err != nil {
			return nil
		}
		l.Color, l.Width = shade(float64(i)/float64(max(1, len(all)-1))), 0.75
		if i == len(all)-1 {
			l.Color, l.Width = orange, 2
			p.Legend.Add("best", l)
		}
		p.Add(l)
	}
	styleLegend(p)
	names := make([]string, 0, len(axes)+1)
	var labels plotter.XYLabels
	label := func(at int, y float64, text string) {
		labels.XYs = append(labels.XYs, plotter.XY{X: float64(at), Y: y})
		labels.Labels = append(labels.Labels, shortened(text, 12))
	}
	for j, a := range axes {
		names = append(names, shortened(a.name, 14))
		if without[j] {
			label(j, none, "none")
		}
		switch {
		case a.words != nil:
			for k, word := range a.words {
				label(j, float64(k)/(a.high-a.low), word)
			}
		case a.log:
			label(j, 0, short(math.Pow(10, a.low)))
			label(j, 1, short(math.Pow(10, a.high)))
		default:
			label(j, 0, short(a.low))
			label(j, 1, short(a.high))
		}
	}
	names = append(names, shortened(r.Objective.Metric, 14))
	label(len(axes), 0, Number(low))
	label(len(axes), 1, Number(high))
	for j := range names {
		axis, err := plotter.NewLine(plotter.XYs{{X: float64(j), Y: 0}, {X: float64(j), Y: 1}})
		if err != nil {
			return nil
		}
		axis.Color, axis.Width = ink, 0.75
		p.Add(axis)
	}
	texts, err := plotter.NewLabels(labels)
	if err != nil {
		return nil
	}
	texts.Offset.X = 3
	for i := range texts.TextStyle {
		texts.TextStyle[i].Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 8}
		texts.TextStyle[i].Color = ink
		texts.TextStyle[i].YAlign = draw.YCenter
	}
	p.Add(texts)
	p.NominalX(names...)
	p.HideY()
	p.X.Min, p.X.Max = -0.2, float64(len(axes))+0.7
	p.Y.Min, p.Y.Max = none-0.03, 1.05
	return p
}

// shade is a colour from light to dark blue.
func shade(share float64) color.RGBA {
	mix := func(from, to uint8) uint8 { return uint8(float64(from) + share*(float64(to)-float64(from))) }
	return color.RGBA{mix(0xcf, 0x00), mix(0xe3, 0x45), mix(0xf2, 0x6e), 0xff}
}
