package report

import (
	"cmp"
	"fmt"
	"strings"

	"ratchet/internal/research"
)

// markdown is report.md.
func markdown(r *Results, of shown) []byte {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# %s\n", escape(r.Name))
	if r.Question != "" {
		p("%s\n", escape(r.Question))
	}
	p("Run `%s`: **%s**%s\n", r.Run, r.Status, because(r.Why))
	if r.compares() {
		comparisons(p, r, of)
	} else {
		p("The command ran once, to its end. What it left in its working folder is in [files](files), what it printed in [logs](logs).\n")
	}
	if text := r.Cost.text(); text != "" {
		p("## Model calls\n")
		p("%s\n", text)
	}
	p("## Gates\n")
	for _, g := range r.Gates {
		p("* %s `%s`%s", mark(g.Passed), g.Gate, because(g.Why))
	}
	p("\n## Review\n")
	for _, c := range r.Review {
		p("* %s %s: %s", mark(c.Passed), c.Name, escape(c.Detail))
	}
	p("\n## Failures\n")
	if len(r.Failures) == 0 {
		p("None.\n")
	}
	for _, f := range r.Failures {
		p("* `%s`, attempt %d: %s: %s%s", f.Trial, f.Attempt, f.Class, escape(f.Message), f.then())
	}
	if notes := r.notes(); len(notes) > 0 {
		p("\n## Notes\n")
		for _, n := range notes {
			p("* %s", n)
		}
	}
	p("\n## Record\n")
	if how := r.HowSearched(); how != "" {
		p("* %s", how)
	}
	if text := r.ExpectedText(); text != "" {
		p("* Expected: %s", escape(text))
	}
	p("* %d experiments, %d trials, %d attempts; %s of processor time, %s from start to end", r.Usage.Experiments, r.Usage.Trials, r.Usage.Attempts, Span(r.Usage.CPU), Span(r.Usage.Elapsed))
	for _, c := range r.Code() {
		p("* Code of %s: %s", map[bool]string{true: "the study", false: "`" + c.Folder + "`"}[c.Folder == "."], escape(c.Text()))
	}
	if r.Reproduction != nil && r.compares() {
		p("* Reproduction of `%s`: %s", r.Reproduction.Trial, escape(r.Reproduction.Why))
	}
	if r.Origin != nil {
		p("* Forked from run `%s` at its record %d, `%s`", r.Origin.Run, r.Origin.Seq, r.Origin.Hash)
	}
	p("* Last record of the journal: %d, `%s`", r.Journal.Seq, r.Journal.Hash)
	p("* Digest of the results: `%s`", r.Digest)
	p("\nEvery trial with its seed, metrics and evidence is in [tables/trials.csv](tables/trials.csv) and in [report.html](report.html).")
	return []byte(b.String())
}

// together says which pairs of parameters explain more than both on their own.
func (r *Results) together() (out []string) {
	said := map[string]bool{}
	for _, i := range r.Importance {
		for _, w := range i.With {
			if said[w.Parameter] {
				continue
			}
			out = append(out, fmt.Sprintf("%s and %s together explain %.0f %% beyond what each does.", i.Parameter, w.Parameter, 100*w.Share))
		}
		said[i.Parameter] = true
	}
	return out
}

// HowSearched says by which method the configurations were found, and why by it.
func (r *Results) HowSearched() string {
	if r.Plan == nil || r.Plan.Search == nil {
		return ""
	}
	return fmt.Sprintf("Searched by %s: %s", r.Plan.Search.Method, r.Plan.Search.Why)
}

// ExpectedText says what the search expected of another experiment; "": it had no model.
func (r *Results) ExpectedText() string {
	if r.Expected == nil {
		return ""
	}
	return r.Expected.Text(r.Objective.Metric, r.Front != nil)
}

// mostNoted is how many notes on trials the report in Markdown has.
const mostNoted = 50

// notes are what was noted of trials without failing them.
func (r *Results) notes() (out []string) {
	for _, x := range r.Experiments {
		for _, t := range x.Trials {
			for _, n := range t.Notes {
				if len(out) == mostNoted {
					return append(out, "and more; report.html has all")
				}
				out = append(out, fmt.Sprintf("`%s`: %s", t.ID, escape(n)))
			}
		}
	}
	return out
}

// compares reports whether the study has an objective.
func (r *Results) compares() bool { return r.Objective.Metric != "" }

// text says what model calls came to; "": there were none.
func (c Cost) text() string {
	if c.Calls+c.Replayed == 0 {
		return ""
	}
	return fmt.Sprintf("%d calls were sent, %d answers came out of the record; %d tokens, %.4g US dollars.", c.Calls, c.Replayed, c.Tokens, c.USD)
}

// comparisons are the parts of a report about what was compared.
func comparisons(p func(string, ...any), r *Results, of shown) {
	p("## Hypotheses\n")
	if len(r.Hypotheses) == 0 {
		p("None were stated, and no parameter has values to compare.\n")
	} else {
		if r.Outlook != nil {
			p("%s.\n", escape(r.Outlook.Text()))
		}
		p("| claim | verdict | effect, a − b (interval) | p | adjusted | pairs | test |\n|---|---|---|---|---|---|---|")
		for _, h := range r.Hypotheses {
			p("| %s | **%s** | %s | %s | %s | %d | %s |", escape(h.Claim), h.Verdict, h.EffectText(), Probability(h.P), Probability(h.PAdjusted), h.N, h.Test)
		}
		p("")
		for _, h := range r.Hypotheses {
			p("### %s\n", escape(h.Claim))
			p("*%s*, expecting %s on %s: **%s**. %s.\n", h.ID, h.Expect, escape(h.Metric), h.Verdict, escape(h.Why))
			if h.Added > 0 {
				p("%s\n", h.addedText())
			}
			for _, s := range []struct {
				name string
				side Side
			}{{"a", h.A}, {"b", h.B}} {
				if s.side.Mean == nil {
					p("* %s: no configuration that could be compared", s.name)
					continue
				}
				p("* %s: %s: mean %s, experiment `%s` (%s)", s.name, escape(Parameters(s.side.Fixed)), s.side.Text(), s.side.Experiment, escape(Parameters(s.side.Parameters)))
			}
			for _, line := range h.Basis() {
				p("* %s", escape(line))
			}
			if h.A.Mean != nil && h.B.Mean != nil {
				p("\n![Both sides of %s](plots/hypothesis-%s.svg)", h.ID, h.ID)
			}
			p("")
		}
	}
	if r.Open() {
		p("## Proposals\n")
		p("Of %s, %s. A gain is over what was the best then, on the same seeds.\n", research.Counted(len(r.Experiments)-1, "proposal"), r.Counts())
		p("| experiment | from | verdict | gain | changes | why |\n|---|---|---|---|---|---|")
		for _, x := range r.Experiments {
			p("| `%s` | %s | %s | %s | %s | %s |", x.ID, x.Parent, cmp.Or(x.Proposal.Verdict, "none yet"), x.Proposal.Gain(), escape(x.Proposal.Changed()), escape(cmp.Or(x.Proposal.Why, "the start")))
		}
		p("")
		if len(of.Plots["tree"]) > 0 {
			p("![What was proposed, each behind its parent](plots/tree.svg)\n")
		}
		for _, line := range r.Stuck() {
			p("* %s", escape(line))
		}
		if r.Best != nil {
			p("\nThe code of the best is in [code/best](code/best), and as a patch in [code/best.patch](code/best.patch).\n")
		}
	}
	if r.Front != nil {
		p("## Pareto front\n")
		p("%s %s\n", escape(r.FrontText()), escape(r.FrontHow()))
		if lines := r.Front.Lines(); len(lines) > 0 {
			head := "| experiment | "
			for _, h := range r.FrontHead() {
				head += escape(h) + " | "
			}
			p("%splace | |\n|%s", head, strings.Repeat("---|", len(r.FrontHead())+3))
			for _, l := range lines {
				row := "| `" + l.Experiment + "` | "
				for _, v := range l.Values {
					row += v.String() + " | "
				}
				p("%s**%s** | %s |", row, l.Place, strings.TrimPrefix(l.Why+"; "+escape(l.Parameters), "; "))
			}
			p("")
		}
		for _, name := range of.Fronts {
			p("![The front](plots/%s.svg)\n", name)
		}
		if len(of.Plots["hypervolume"]) > 0 {
			p("![Hypervolume over the experiments](plots/hypervolume.svg)\n")
		}
	}
	p("## %s\n", r.BestTitle())
	if r.Best == nil {
		p("%s\n", escape(r.NoBest()))
	} else {
		p("Experiment `%s`: %s\n", r.Best.Experiment, escape(Parameters(r.Best.Parameters)))
		p("| metric | mean over %d fresh seeds | mean over the search's seeds |\n|---|---|---|", len(r.Best.Seeds))
		for _, row := range r.Best.rows() {
			p("| %s | %s | %s |", escape(row.Metric), row.Fresh, row.Search)
		}
		p("")
	}
	if r.Best != nil {
		for _, line := range r.Best.KeptLines() {
			p("* %s", escape(line))
		}
		if len(r.Best.Kept) > 0 {
			p("")
		}
	}
	if r.Best != nil && r.Best.ByModel {
		p("It was chosen by a model of all outcomes, since trials of one configuration differ and the best of many means is luck in part.\n")
	}
	if len(of.Plots["progress"]) > 0 {
		p("![Search progress](plots/progress.svg)\n")
	}
	for _, name := range of.Curves {
		p("![Learning curve](plots/%s.svg)\n", name)
	}
	if len(r.Importance) > 0 {
		p("![Importance of the parameters](plots/importance.svg)\n")
		for _, line := range r.together() {
			p("%s\n", escape(line))
		}
		for _, name := range of.Slices {
			p("![The objective by a parameter](plots/%s.svg)\n", name)
		}
		if len(of.Plots["parallel"]) > 0 {
			p("![All experiments over their parameters](plots/parallel.svg)\n")
		}
	}
}

// addedText says that a claim was made when results were known already.
func (h Hypothesis) addedText() string {
	return fmt.Sprintf("This claim was added by record %d, when some experiments had been seen; its seeds are fresh all the same.", h.Added)
}

type bestRow struct{ Metric, Fresh, Search string }

func (b *Best) rows() []bestRow {
	var out []bestRow
	for _, name := range sortedNames(b.Search, b.Metrics) {
		row := bestRow{name, "–", "–"}
		if v, ok := b.Metrics[name]; ok {
			row.Fresh = Number(v)
		}
		if v, ok := b.Search[name]; ok {
			row.Search = Number(v)
		}
		out = append(out, row)
	}
	return out
}

// then is what came of a failure.
func (f Failure) then() string {
	switch {
	case f.Final && f.Why != "":
		return " (the trial failed: " + escape(f.Why) + ")"
	case f.Final:
		return " (the trial failed)"
	case f.Next != "":
		return " (" + escape(f.Next) + ")"
	}
	return " (tried again)"
}

func mark(passed bool) string {
	if passed {
		return "passed:"
	}
	return "**not passed**:"
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + escape(why) + ")"
}

// escape makes text of programs and studies plain in Markdown.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune("\\`*_{}[]<>#|!&~$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n' || r == '\r':
			b.WriteByte(' ')
		case research.Obeyed(r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
