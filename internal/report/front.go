package report

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/internal/stats"
)

// Front is the Pareto front of a study with several objectives.
type Front struct {
	// Search are the experiments of the front by the means over the search's seeds.
	Search []string `json:"search"`
	// Hypervolume is how much the front dominated after each experiment, as a share of the
	// space from its best values to a tenth of its range beyond its worst ones.
	Hypervolume []float64 `json:"hypervolume"`
	// Fresh is what the fresh seeds say; nil: nothing was measured on them yet.
	Fresh *stats.Front `json:"fresh"`
}

func frontOf(s *research.State) *Front {
	if !s.Created.Study.Several() {
		return nil
	}
	f := &Front{Search: []string{}, Hypervolume: search.Progress(s), Fresh: stats.FrontOf(s)}
	for _, x := range search.Front(s) {
		f.Search = append(f.Search, x.Experiment)
	}
	return f
}

// weigh gives an experiment what says how good it is beside the objective.
func (e *Experiment) weigh(s *research.State, x *research.Experiment) {
	st := s.Created.Study
	if !st.Weighs() || x.Value == nil {
		return
	}
	e.Means, e.Excess = map[string]float64{}, s.Excess(x)
	for _, name := range st.Needed() {
		e.Means[name] = x.Means[name]
	}
}

// Estimated is a mean over fresh seeds in words.
type Estimated struct {
	Mean, Interval string // the latter empty where it does not vary
	Word           string // of a constraint: kept, broken or undecided
}

func estimated(e stats.Estimate, word string) Estimated {
	out := Estimated{Mean: "–", Word: word}
	if e.Mean != nil {
		out.Mean = Number(*e.Mean)
	}
	if e.Interval != nil {
		out.Interval = fmt.Sprintf("[%s, %s]", Number(e.Interval[0]), Number(e.Interval[1]))
	}
	return out
}

func (e Estimated) String() string {
	text := e.Mean
	if e.Interval != "" {
		text += " " + e.Interval
	}
	if e.Word != "" {
		text += ", " + e.Word
	}
	return text
}

// keeps is the word for whether a constraint is kept to.
func keeps(k stats.Kept) string {
	switch k.Verdict {
	case research.Supported:
		return "kept"
	case research.Refuted:
		return "broken"
	}
	return "undecided"
}

// FrontLine is a member of a front in words.
type FrontLine struct {
	Experiment, Parameters string
	Values                 []Estimated // of the objectives, then of the constraints
	Place                  string      // a verdict
	Why                    string
}

// Lines are the members of the front that were measured on fresh seeds, those that the search
// found first, by their first objective.
func (f *Front) Lines() (out []FrontLine) {
	if f == nil || f.Fresh == nil {
		return nil
	}
	members := slices.Clone(f.Fresh.Members)
	slices.SortStableFunc(members, func(a, b stats.Member) int {
		x, y := a.Values[0].Mean, b.Values[0].Mean
		switch {
		case a.Found != b.Found:
			return map[bool]int{true: -1, false: 1}[a.Found]
		case x == nil || y == nil || *x == *y:
			return 0
		case *x < *y:
			return -1
		}
		return 1
	})
	for _, m := range members {
		l := FrontLine{Experiment: m.Experiment, Parameters: Parameters(m.Parameters), Place: m.Place}
		for _, v := range m.Values {
			l.Values = append(l.Values, estimated(v, ""))
		}
		for _, k := range m.Kept {
			l.Values = append(l.Values, estimated(k.Estimate, keeps(k)))
		}
		var why []string
		if len(m.Dominates) > 0 {
			why = append(why, "dominates "+strings.Join(m.Dominates, ", "))
		}
		if len(m.DominatedBy) > 0 {
			why = append(why, "dominated by "+strings.Join(m.DominatedBy, ", "))
		}
		if !m.Found {
			why = append(why, "a side of a hypothesis")
		}
		l.Why = strings.Join(why, "; ")
		out = append(out, l)
	}
	return out
}

// Weighed are the metrics that say how good an experiment is, the objective first.
func (r *Results) Weighed() []string {
	out := []string{r.Objective.Metric}
	for _, o := range r.Objectives[min(1, len(r.Objectives)):] {
		out = append(out, o.Metric)
	}
	for _, c := range r.Constraints {
		if !slices.Contains(out, c.Metric) {
			out = append(out, c.Metric)
		}
	}
	return out
}

// FrontHead are the columns of what FrontLine has.
func (r *Results) FrontHead() (out []string) {
	for _, o := range r.Objectives {
		out = append(out, fmt.Sprintf("%s (%s)", o.Metric, o.Goal))
	}
	for _, c := range r.Constraints {
		out = append(out, c.String())
	}
	return out
}

// FrontText says how large the front is.
func (r *Results) FrontText() string {
	if r.Front == nil {
		return ""
	}
	text := fmt.Sprintf("By its means over the search's seeds, the front has %s", research.Counted(len(r.Front.Search), "configuration"))
	if n := len(r.Front.Hypervolume); n > 0 {
		text += ", with a hypervolume of " + Number(r.Front.Hypervolume[n-1])
	}
	if f := r.Front.Fresh; f != nil {
		found := 0
		for _, m := range f.Members {
			if m.Found {
				found++
			}
		}
		text += fmt.Sprintf("; %d, chosen to dominate the most together, were measured on fresh seeds", found)
	}
	return text + "."
}

// FrontHow says how to read the front.
func (r *Results) FrontHow() string {
	if r.Front == nil {
		return ""
	}
	text := "The hypervolume is what the front dominates, as a share of the space from its best values to a tenth of its range beyond the worst."
	f := r.Front.Fresh
	if f == nil {
		return text
	}
	text += fmt.Sprintf(" Values are means over the fresh seeds, which had no part in the search, with intervals at %s.", percent(1-r.Validation.Alpha))
	if f.Pairs > 0 {
		text += fmt.Sprintf(" A place is supported where against each other configuration some objective is shown to be better, so that none dominates it, and refuted where one is shown to dominate it. That was asked of %d places and %d pairs, corrected by %s.", len(f.Members), f.Pairs, r.Validation.Correction)
	}
	return text
}

// BestTitle is what the best configuration is called.
func (r *Results) BestTitle() string {
	if r.Front != nil {
		return "Best compromise"
	}
	return "Best configuration"
}

// NoBest says why there is no best configuration.
func (r *Results) NoBest() string {
	var nearest *Experiment
	for i, x := range r.Experiments {
		if x.Value != nil && (nearest == nil || x.Excess < nearest.Excess) {
			nearest = &r.Experiments[i]
		}
	}
	switch {
	case nearest == nil:
		return "No experiment has a value of the objective."
	case nearest.Excess > 0:
		var parts []string
		for _, c := range r.Constraints {
			parts = append(parts, fmt.Sprintf("%s, and it has %s", c, Number(nearest.Means[c.Metric])))
		}
		return fmt.Sprintf("No configuration kept to the constraints. %s comes nearest: %s.", nearest.ID, strings.Join(parts, "; "))
	}
	return "Not chosen yet."
}

// KeptLines say of each constraint whether the best configuration keeps to it.
func (b *Best) KeptLines() (out []string) {
	for _, k := range b.Kept {
		out = append(out, fmt.Sprintf("%s: %s over the fresh seeds", k.Constraint, estimated(k.Estimate, keeps(k))))
	}
	return out
}

// frontPlots are a plot for each two objectives, by name.
func frontPlots(r *Results) (names []string, plots []*plot.Plot) {
	if r.Front == nil {
		return nil, nil
	}
	for i := range r.Objectives {
		for j := i + 1; j < len(r.Objectives); j++ {
			name := "front"
			if len(r.Objectives) > 2 {
				name = fmt.Sprintf("front-%d-%d", i+1, j+1)
			}
			names, plots = append(names, name), append(plots, frontPlot(r, i, j))
		}
	}
	return names, plots
}

// mid and grey are colours of what matters less.
var mid, grey = shade(0.35), color.RGBA{0x99, 0x99, 0x99, 0xff}

// frontPlot shows two objectives of every experiment, those of the front, and the means over
// fresh seeds with their intervals.
func frontPlot(r *Results, i, j int) *plot.Plot {
	a, b := r.Objectives[i], r.Objectives[j]
	p := newPlot(a.Metric+", to "+a.Goal, b.Metric+", to "+b.Goal)
	var kept, broken, front plotter.XYs
	for _, x := range r.Experiments {
		if x.Value == nil {
			continue
		}
		at := plotter.XY{X: x.Means[a.Metric], Y: x.Means[b.Metric]}
		switch {
		case slices.Contains(r.Front.Search, x.ID):
			front = append(front, at)
		case x.Excess > 0:
			broken = append(broken, at)
		default:
			kept = append(kept, at)
		}
	}
	add := func(name string, xys plotter.XYs, style draw.GlyphStyle) bool {
		if len(xys) == 0 {
			return true
		}
		s, err := plotter.NewScatter(xys)
		if err != nil {
			return false
		}
		s.GlyphStyle = style
		p.Add(s)
		p.Legend.Add(name, s)
		return true
	}
	if len(kept)+len(broken)+len(front) == 0 ||
		!add("breaks a constraint", broken, draw.GlyphStyle{Color: grey, Shape: draw.CrossGlyph{}, Radius: 2.5}) ||
		!add("dominated", kept, draw.GlyphStyle{Color: mid, Shape: draw.CircleGlyph{}, Radius: 2}) ||
		!add("front of the search", front, draw.GlyphStyle{Color: blue, Shape: draw.CircleGlyph{}, Radius: 2.5}) {
		return nil
	}
	if r.Front.Fresh != nil {
		var means plotter.XYs
		for _, m := range r.Front.Fresh.Members {
			x, y := m.Values[i], m.Values[j]
			if x.Mean == nil || y.Mean == nil {
				continue
			}
			means = append(means, plotter.XY{X: *x.Mean, Y: *y.Mean})
			for _, bar := range []plotter.XYs{across(x, *y.Mean), up(y, *x.Mean)} {
				if bar == nil {
					continue
				}
				l, err := plotter.NewLine(bar)
				if err != nil {
					return nil
				}
				l.Color, l.Width = orange, 1
				p.Add(l)
			}
		}
		if !add("mean over fresh seeds, with its interval", means, draw.GlyphStyle{Color: orange, Shape: draw.BoxGlyph{}, Radius: 2.5}) {
			return nil
		}
	}
	styleLegend(p)
	return p
}

func across(e stats.Estimate, y float64) plotter.XYs {
	if e.Interval == nil {
		return nil
	}
	return plotter.XYs{{X: e.Interval[0], Y: y}, {X: e.Interval[1], Y: y}}
}

func up(e stats.Estimate, x float64) plotter.XYs {
	if e.Interval == nil {
		return nil
	}
	return plotter.XYs{{X: x, Y: e.Interval[0]}, {X: x, Y: e.Interval[1]}}
}

// volumePlot shows how the hypervolume grew.
func volumePlot(r *Results) *plot.Plot {
	if r.Front == nil || len(r.Front.Hypervolume) == 0 {
		return nil
	}
	p := newPlot("experiment", "hypervolume")
	var grown plotter.XYs
	for i, v := range r.Front.Hypervolume {
		grown = append(grown, plotter.XY{X: float64(i + 1), Y: v})
	}
	line, err := plotter.NewLine(grown)
	if err != nil {
		return nil
	}
	line.Color, line.Width, line.StepStyle = orange, 1.5, plotter.PostStep
	p.Add(line)
	p.Y.Min = 0
	p.Y.Max = max(1, math.Ceil(10*r.Front.Hypervolume[len(grown)-1])/10)
	p.X.Tick.Marker = wholeTicks{}
	return p
}

// frontTable is the front as a table: a row for each configuration that was measured on the
// fresh seeds.
func (w *writer) frontTable(r *Results) {
	if r.Front == nil || r.Front.Fresh == nil {
		return
	}
	head := []string{"experiment", "found_by_search", "place", "p", "n", "dominates", "dominated_by"}
	estimate := func(name string) []string { return []string{name, name + "_low", name + "_high"} }
	for _, o := range r.Objectives {
		head = append(head, estimate(o.Metric)...)
	}
	for _, c := range r.Constraints {
		head = append(append(head, estimate(c.Metric)...), c.Metric+"_kept")
	}
	rows := [][]string{head}
	cells := func(e stats.Estimate) []string {
		out := []string{optional(e.Mean), "", ""}
		if e.Interval != nil {
			out[1], out[2] = exactly(e.Interval[0]), exactly(e.Interval[1])
		}
		return out
	}
	for _, m := range r.Front.Fresh.Members {
		row := []string{m.Experiment, fmt.Sprint(m.Found), m.Place, optional(m.P), fmt.Sprint(m.N), strings.Join(m.Dominates, " "), strings.Join(m.DominatedBy, " ")}
		for _, v := range m.Values {
			row = append(row, cells(v)...)
		}
		for _, k := range m.Kept {
			row = append(append(row, cells(k.Estimate)...), k.Verdict)
		}
		rows = append(rows, row)
	}
	w.table("tables/front", rows)
}

// frontWidth and frontHeight are how large a plot of the front is.
const frontWidth, frontHeight = 14 * vg.Centimeter, 10 * vg.Centimeter
