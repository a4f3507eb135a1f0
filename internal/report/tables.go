package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"ratchet/study"

	"ratchet/internal/research"
)

// tables writes the tables: one row a trial, one a hypothesis, one a pair.
func (w *writer) tables(r *Results) {
	params, metrics := columns(r)
	head := append([]string{"experiment", "trial", "seed", "purpose", "attempts", "outcome", "halted_at_step"}, prefixed("param.", params)...)
	trials := [][]string{append(append(head, prefixed("metric.", metrics)...), "evidence")}
	for _, x := range r.Experiments {
		for _, t := range x.Trials {
			row := []string{x.ID, t.ID, strconv.FormatInt(t.Seed, 10), t.Purpose, strconv.Itoa(t.Attempts), t.Outcome, ""}
			if t.Halted > 0 {
				row[6] = strconv.Itoa(t.Halted)
			}
			for _, p := range params {
				row = append(row, study.FormatValue(x.Parameters[p]))
			}
			for _, m := range metrics {
				cell := ""
				if v, ok := t.Metrics[m]; ok {
					cell = exactly(v)
				}
				row = append(row, cell)
			}
			trials = append(trials, append(row, t.Evidence))
		}
	}
	w.table("tables/trials", trials)

	hypotheses := [][]string{{"id", "claim", "metric", "expect", "by", "verdict", "effect", "low", "high", "p", "p_adjusted", "test", "n", "experiment_a", "experiment_b", "adjusted_low", "adjusted_high", "planned", "level"}}
	pairs := [][]string{{"hypothesis", "seed", "a", "b", "difference"}}
	for _, h := range r.Hypotheses {
		row := []string{h.ID, h.Claim, h.Metric, h.Expect, exactly(h.By), h.Verdict, optional(h.Effect), "", "", optional(h.P), optional(h.PAdjusted), h.Test, strconv.Itoa(h.N), h.A.Experiment, h.B.Experiment}
		if h.Interval != nil {
			row[7], row[8] = exactly(h.Interval[0]), exactly(h.Interval[1])
		}
		adjusted := []string{"", ""}
		if h.Adjusted != nil {
			adjusted = []string{exactly(h.Adjusted[0]), exactly(h.Adjusted[1])}
		}
		row = append(append(row, adjusted...), strconv.Itoa(h.Planned), exactly(h.Level))
		hypotheses = append(hypotheses, row)
		for _, p := range h.Pairs {
			pairs = append(pairs, []string{h.ID, strconv.FormatInt(p.Seed, 10), exactly(p.A), exactly(p.B), exactly(p.A - p.B)})
		}
	}
	w.table("tables/hypotheses", hypotheses)
	w.table("tables/pairs", pairs)
	w.frontTable(r)
	w.proposalsTable(r)
}

// columns are the names of all parameters and metrics, sorted.
func columns(r *Results) (params, metrics []string) {
	p, m := map[string]bool{}, map[string]bool{}
	for _, x := range r.Experiments {
		for name := range x.Parameters {
			p[name] = true
		}
		for _, t := range x.Trials {
			for name := range t.Metrics {
				m[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(p)), slices.Sorted(maps.Keys(m))
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}

func exactly(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return exactly(*v)
}

// table writes a table for spreadsheets and for papers.
func (w *writer) table(name string, rows [][]string) {
	w.latex(name+".tex", rows)
	w.csv(name+".csv", rows)
}

func (w *writer) csv(name string, rows [][]string) {
	var b bytes.Buffer
	c := csv.NewWriter(&b)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = inert(cell)
		}
	}
	if err := c.WriteAll(rows); err != nil {
		w.fail(err)
		return
	}
	w.bytes(name, b.Bytes())
}

// inert keeps a spreadsheet from taking a program's text for a formula.
func inert(cell string) string {
	cell = research.Harmless(cell)
	if cell == "" || json.Valid([]byte(cell)) {
		return cell // empty, or a number
	}
	switch cell[0] {
	case '=', '+', '-', '@', '\t', '\r':
		return "'" + cell
	}
	return cell
}
