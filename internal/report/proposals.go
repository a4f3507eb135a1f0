package report

import (
	"cmp"
	"fmt"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"ratchet/internal/objects"
	"ratchet/internal/patch"
	"ratchet/internal/research"
)

// Proposal is an experiment of an open run as it was proposed, and what became of it.
type Proposal struct {
	Who        string `json:"who,omitempty"`
	Why        string `json:"why,omitempty"`
	Hypothesis string `json:"hypothesis,omitempty"`
	// Code is the digest of the manifest of the program's files; empty: they are the study's.
	Code     string             `json:"code,omitempty"`
	Changes  []research.Change  `json:"changes,omitempty"` // of its parent's code
	Verdict  string             `json:"verdict"`           // kept, reverted or failed; empty: none yet
	Weighing *research.Weighing `json:"weighing"`
	Vetoed   string             `json:"vetoed_by,omitempty"`
}

// propose gives an experiment of an open run its proposal.
func (e *Experiment) propose(s *research.State, x *research.Experiment) {
	if !s.Created.Study.Open() {
		return
	}
	p := &Proposal{
		Who: x.Who, Why: research.Harmless(x.Why), Hypothesis: research.Harmless(x.Hypothesis), Code: x.Code, Changes: x.Changes,
		Verdict: x.Verdict(), Weighing: x.Weighing,
	}
	if x.Vetoed != nil {
		p.Vetoed = x.Vetoed.By
	}
	e.Proposal = p
}

// Open reports whether the run took proposals from outside.
func (r *Results) Open() bool { return len(r.Experiments) > 0 && r.Experiments[0].Proposal != nil }

// Gain writes by how much a proposal is better than what it was compared with.
func (p *Proposal) Gain() string {
	w := p.Weighing
	if w == nil || w.Gain == nil {
		return "–"
	}
	text := signed(*w.Gain)
	if w.Interval != nil {
		text += fmt.Sprintf(" [%s, %s]", signed(w.Interval[0]), signed(w.Interval[1]))
	}
	return fmt.Sprintf("%s over %s, %s", text, w.Against, research.Counted(w.N, "seed"))
}

// Changed writes what a proposal changes in its parent's code.
func (p *Proposal) Changed() string {
	var parts []string
	for _, c := range p.Changes {
		parts = append(parts, fmt.Sprintf("%s +%d −%d", research.Printable(c.File, 60), c.Added, c.Removed))
	}
	return strings.Join(parts, ", ")
}

// Because says why a proposal became what it did.
func (p *Proposal) Because() string {
	switch {
	case p.Vetoed != "":
		return "vetoed by " + p.Vetoed
	case p.Weighing != nil:
		return p.Weighing.Why
	}
	return ""
}

// Counts says how many proposals were kept, reverted and failed.
func (r *Results) Counts() string {
	n := map[string]int{}
	for _, x := range r.Experiments[min(1, len(r.Experiments)):] {
		if x.Proposal != nil {
			n[x.Proposal.Verdict]++
		}
	}
	return fmt.Sprintf("%d were kept, %d reverted, %d failed", n[research.Kept], n[research.Reverted], n[research.FailedVerdict])
}

// Stuck are the changes that could not be taken back alone, and why.
func (r *Results) Stuck() (out []string) {
	for _, a := range r.Ablations {
		if a.Experiment == "" {
			out = append(out, fmt.Sprintf("The change of %s: %s.", a.Of, a.Why))
		}
	}
	return out
}

// code writes the best code of an open run: as a patch against the study's, and as a folder.
func (w *writer) code(r *Results, store Store) {
	if !r.Open() || r.Best == nil || r.Program == "" || w.err != nil {
		return
	}
	code := r.Program
	for _, x := range r.Experiments {
		if x.ID == r.Best.Experiment {
			code = cmp.Or(x.Proposal.Code, code)
		}
	}
	diff, err := patch.Unified(store, r.Program, code)
	if err != nil {
		w.fail(err)
		return
	}
	w.bytes("code/best.patch", []byte(diff))
	tree, err := store.Tree(objects.Digest(code))
	if err != nil {
		w.fail(err)
		return
	}
	for _, f := range tree {
		o, err := store.Open(f.Digest)
		if err != nil {
			w.fail(err)
			return
		}
		w.copy("code/best/"+f.Path, o)
		if err := o.Close(); err != nil {
			w.fail(err)
		}
	}
}

// treePlot shows what was proposed, each behind its parent, by the objective's mean.
func treePlot(r *Results) *plot.Plot {
	if !r.Open() {
		return nil
	}
	p := newPlot("experiment", r.Objective.Metric)
	at := map[string]plotter.XY{}
	by := map[string]plotter.XYs{}
	for i, x := range r.Experiments {
		if x.Value == nil {
			continue
		}
		point := plotter.XY{X: float64(i + 1), Y: *x.Value}
		at[x.ID] = point
		by[x.Proposal.Verdict] = append(by[x.Proposal.Verdict], point)
		if from, ok := at[x.Parent]; ok {
			line, err := plotter.NewLine(plotter.XYs{from, point})
			if err != nil {
				return nil
			}
			line.Color, line.Width = faint, 0.75
			if x.Proposal.Verdict == research.Kept {
				line.Color, line.Width = orange, 1.5
			}
			p.Add(line)
		}
	}
	if len(at) < 2 {
		return nil
	}
	for _, kind := range []struct {
		verdict, name string
		style         draw.GlyphStyle
	}{
		{research.Reverted, "reverted", draw.GlyphStyle{Color: mid, Shape: draw.CircleGlyph{}, Radius: 2}},
		{"", "not decided", draw.GlyphStyle{Color: grey, Shape: draw.RingGlyph{}, Radius: 2}},
		{research.Kept, "kept", draw.GlyphStyle{Color: orange, Shape: draw.BoxGlyph{}, Radius: 2.5}},
	} {
		if len(by[kind.verdict]) == 0 {
			continue
		}
		s, err := plotter.NewScatter(by[kind.verdict])
		if err != nil {
			return nil
		}
		s.GlyphStyle = kind.style
		p.Add(s)
		p.Legend.Add(kind.name, s)
	}
	styleLegend(p)
	p.X.Tick.Marker = wholeTicks{}
	return p
}

// proposalsTable is a row for each proposal.
func (w *writer) proposalsTable(r *Results) {
	if !r.Open() {
		return
	}
	rows := [][]string{{"experiment", "parent", "verdict", "gain", "low", "high", "n", "against", "who", "why", "changes", "because"}}
	for _, x := range r.Experiments {
		row := []string{x.ID, x.Parent, x.Proposal.Verdict, "", "", "", "", "", x.Proposal.Who, x.Proposal.Why, x.Proposal.Changed(), x.Proposal.Because()}
		if g := x.Proposal.Weighing; g != nil {
			row[3], row[6], row[7] = optional(g.Gain), fmt.Sprint(g.N), g.Against
			if g.Interval != nil {
				row[4], row[5] = exactly(g.Interval[0]), exactly(g.Interval[1])
			}
		}
		rows = append(rows, row)
	}
	w.table("tables/proposals", rows)
}
