package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"ratchet/internal/executor"
	"ratchet/internal/failure"
	"ratchet/internal/metrics"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/search"
	"ratchet/internal/shim"
	"ratchet/study"
)

// Bounds on what an outcome says in words.
const (
	mostNotes      = 20
	mostMetricName = 200 // bytes
)

// outcome makes an attempt's outcome of its job's. The same job's outcome gives the
// same.
func (d *driver) outcome(ctx context.Context, t trying, out executor.Outcome) (research.Attempt, error) {
	st := d.study
	at := research.Attempt{
		Exit: out.Exit, Signal: out.Signal, Host: out.Host, Started: out.Started, Ended: out.Ended,
		Usage: usageOf(out), Evidence: out.Evidence,
	}
	if out.Lost {
		at.Exit = -1
		v := failure.Classify(failure.Evidence{Lost: true})
		at.Class, at.Message = v.Class, v.Message
		if at.Words = lastPart(out.LastErr); at.Words == "" {
			at.Words = lastPart(out.LastOut)
		}
		return at, nil
	}
	notes := append(reached(out.Reached), out.Notes...)
	if bad, why := out.Series.Bad(); bad > 0 {
		notes = append(notes, fmt.Sprintf("%s of metrics %s left out; the first: %s", research.Counted(bad, "line"), map[bool]string{true: "was", false: "were"}[bad == 1], why))
	}
	ev := evidence(out)
	ev.CutOff, ev.NoNetwork = d.models.cutOff(t.action.ID), d.closed
	if t.action.Purpose == research.ForSearch {
		at.Halted = halted(st, t.rungs, out.Series)
		at.Rungs = rungValues(st, out.Series, at.Halted)
	}
	if at.Halted > 0 {
		// Whether the watch saw the rung in time or the program was quicker:
		// the trial ends there.
		out.Series.Through(at.Halted)
		ev.Exit, ev.Signal, ev.EndedBy = 0, "", ""
		at.Exit, at.Signal = 0, ""
	}
	values, problems := out.Series.Values(st)
	about := ""
	if st.Evaluation != nil && at.Halted == 0 && failure.Classify(ev).Class == research.Succeeded {
		at.Reported = d.named(values)
		e, err := d.evaluate(ctx, t.action.ID, t.job, out.Evidence)
		if err != nil {
			return at, err
		}
		if at.Evidence, err = d.withEvaluation(out.Evidence, e.out.Evidence); err != nil {
			return at, err
		}
		notes = append(notes, e.notes...)
		at.Usage.Add(usageOf(e.out))
		ev, values, problems, about = evidence(e.out), e.values, e.problems, "the evaluation: "
	}
	if !st.Once() && ev.BadOutput == "" {
		ev.BadOutput = badOutput(st, values, problems)
	}
	for _, p := range problems {
		notes = append(notes, p.String())
	}
	ev.BadOutput = d.engine.secrets.Text(ev.BadOutput)
	v := failure.Classify(ev)
	at.Class, at.Message, at.Pattern, at.Certain, at.Wait = v.Class, v.Message, v.Pattern, v.Certain, v.Wait
	if at.Class != research.Succeeded {
		at.Message = about + at.Message
	}
	if at.Class == research.Succeeded {
		at.Metrics = d.named(values)
	} else if at.Words = lastPart(ev.Stderr); at.Words == "" {
		at.Words = lastPart(ev.Stdout)
	}
	if out.CutOut > 0 || out.CutErr > 0 {
		notes = append(notes, fmt.Sprintf("%d bytes of stdout and %d of stderr were cut", out.CutOut, out.CutErr))
	}
	if len(notes) > mostNotes {
		notes = append(notes[:mostNotes], fmt.Sprintf("and %d more", len(notes)-mostNotes))
	}
	for _, n := range notes {
		at.Notes = append(at.Notes, research.Printable(d.engine.secrets.Text(n), 500))
	}
	return at, nil
}

// withEvaluation is the digest of the manifest of what was kept of a job and of its
// evaluation.
func (d *driver) withEvaluation(job, evaluation string) (string, error) {
	files, err := d.engine.Objects.Tree(objects.Digest(job))
	if err != nil {
		return "", err
	}
	files = slices.Clone(files)
	if evaluation != "" {
		more, err := d.engine.Objects.Tree(objects.Digest(evaluation))
		if err != nil {
			return "", err
		}
		for _, f := range more {
			f.Path = "evaluation/" + f.Path
			files = append(files, f)
		}
	}
	digest, err := d.engine.Objects.PutTree(files)
	return string(digest), err
}

// reached says which limits a program has reached, whatever became of it.
func reached(limits []shim.Reached) []string {
	refused := map[string]string{"processes": "%d times it was refused another process or thread", "memory": "the kernel killed %d of its processes"}
	var notes []string
	for _, l := range limits {
		text := "limits.attempt." + l.Limit + " was reached"
		if say := refused[l.Limit]; say != "" && l.Times > 0 {
			text += ": " + fmt.Sprintf(say, l.Times)
		}
		notes = append(notes, text)
	}
	return notes
}

// named are metrics whose names are fit to be kept.
func (d *driver) named(values map[string]float64) map[string]float64 {
	out := make(map[string]float64, len(values))
	for name, v := range values {
		out[research.Printable(d.engine.secrets.Text(name), mostMetricName)] = v
	}
	return out
}

func usageOf(out executor.Outcome) research.Usage {
	return research.Usage{Wall: out.Wall, CPU: out.CPU, Memory: out.Memory, Disk: out.Disk, Read: out.Read, Write: out.Written}
}

func evidence(out executor.Outcome) failure.Evidence {
	return failure.Evidence{
		Lost: out.Lost, SetUp: out.SetUp, Missing: out.Missing, EndedBy: out.EndedBy, OOMKilled: out.OOMKilled,
		Exit: out.Exit, Signal: out.Signal, Refused: out.Refused, ForksRefused: out.ForksRefused, Stdout: out.LastOut, Stderr: out.LastErr,
	}
}

// lastPart is the end of a program's output that an outcome quotes.
func lastPart(s string) string {
	const most = 1 << 10
	if s = strings.TrimSpace(s); len(s) > most/2 {
		s = s[len(s)-most/2:]
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = research.Printable(l, most/2)
	}
	if s = strings.Join(lines, "\n"); len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// badOutput says why there is no value of the objective; "": there is one.
func badOutput(st *study.Study, values map[string]float64, problems metrics.Problems) string {
	goals := len(st.Goals())
	for i, name := range st.Needed() {
		if _, ok := values[name]; ok {
			continue
		}
		what := "the objective"
		if i >= goals {
			what = "the constraint"
		}
		if why := problems.Of(name); why != "" {
			return what + " " + why
		}
		return fmt.Sprintf("it reported no value of %s, %s", what, name)
	}
	return ""
}

// halted is the first rung at which a trial is below its bar; 0: none.
func halted(st *study.Study, rungs []research.Rung, s *metrics.Series) int {
	for _, r := range rungs {
		if v, ok := s.At(st.Objective.Metric, r.Step); ok && (math.IsNaN(v) || st.Objective.Better(r.Bar, v)) {
			return r.Step
		}
	}
	return 0
}

// rungValues are the objective's values at the steps at which successive
// halving compares.
func rungValues(st *study.Study, s *metrics.Series, last int) []research.Point {
	var out []research.Point
	for _, step := range search.RungSteps(st.Search) {
		if v, ok := s.At(st.Objective.Metric, step); ok && !math.IsNaN(v) && !math.IsInf(v, 0) && (last == 0 || step <= last) {
			out = append(out, research.Point{Step: step, Value: v})
		}
	}
	return out
}
