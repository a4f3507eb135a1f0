package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"maps"
	"slices"

	"ratchet/study"
)

//go:embed page.html
var pageSource string

// shown is what the page shows besides the results.
type shown struct {
	Plots                  map[string][]byte
	Curves, Slices, Fronts []string // names of plots
	Artifacts              []artifact
	More                   bool // there are more than are listed
	Pictures               []picture
}

// page writes report.html, which needs nothing but itself to be read; its
// links to evidence lead into the folder beside it.
func (w *writer) page(name string, r *Results, of shown) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"number": Number, "params": Parameters, "p": Probability, "span": Span,
		"cell": func(t Trial, metric string) string {
			if v, ok := t.Metrics[metric]; ok {
				return Number(v)
			}
			return "–"
		},
		"metrics": Metrics,
		"width":   func(metrics []string) int { return len(metrics) + 5 },
		"deref":   func(v *float64) float64 { return *v },
		"plot": func(name string) template.HTML {
			svg := of.Plots[name]
			if i := bytes.Index(svg, []byte("<svg")); i >= 0 {
				return template.HTML(svg[i:]) // made by us, its texts escaped by the plotter
			}
			return ""
		},
		"together": r.together, "searched": r.HowSearched,
		"has":     func(name string) bool { return len(of.Plots[name]) > 0 },
		"size":    func(n int64) string { return study.Bytes(n).String() },
		"trialID": func(experiment string, seed int64) string { return trialAnchor(r, experiment, seed) },
	}).Parse(pageSource)
	if err != nil {
		w.fail(err)
		return
	}
	_, metrics := columns(r)
	var env bytes.Buffer
	if len(r.Environment) > 0 {
		if err := json.Indent(&env, r.Environment, "", "  "); err != nil {
			w.fail(err)
			return
		}
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{"R": r, "Metrics": metrics, "Environment": env.String(), "BestRows": bestRows(r), "Models": r.Cost.text(), "Shown": of})
	if err != nil {
		w.fail(err)
		return
	}
	w.bytes(name, b.Bytes())
}

func bestRows(r *Results) []bestRow {
	if r.Best == nil {
		return nil
	}
	return r.Best.rows()
}

func trialAnchor(r *Results, experiment string, seed int64) string {
	for _, x := range r.Experiments {
		if x.ID != experiment {
			continue
		}
		for _, t := range x.Trials {
			if t.Seed == seed {
				return t.ID
			}
		}
	}
	return experiment
}

func sortedNames(ms ...map[string]float64) []string {
	all := map[string]bool{}
	for _, m := range ms {
		for name := range m {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
