package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"strings"

	"ratchet/internal/executor"
	"ratchet/internal/guard"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/search"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Bounds on what is kept of an attempt.
const (
	mostArtifacts    = 10_000
	mostArtifactName = 255
	mostNotes        = 20
	mostMetricsFile  = 256 << 20 // bytes read of the metrics file
	mostMetricName   = 200       // bytes
	mostJSON         = 16 << 20  // bytes read of metrics.json and the like
	lastWords        = 16 << 10  // bytes of an output that tell a failure's class
)

// collect turns what an attempt left into its outcome, and stores it. It can
// be done again: the same files give the same outcome.
func (d *driver) collect(ctx context.Context, a research.Action, job executor.Job, rungs []research.Rung, out executor.Outcome) (research.Attempt, error) {
	st := d.study
	at := research.Attempt{
		Exit: out.Exit, Signal: out.Signal, Host: out.Host, Started: out.Started, Ended: out.Ended,
		Usage: usageOf(out),
	}
	if out.Lost {
		at.Exit = -1
		v := guard.Classify(guard.Evidence{Lost: true})
		at.Class, at.Message = v.Class, v.Message
		return at, nil
	}
	box, err := openBox(out.Box)
	if err != nil {
		return at, err
	}
	defer box.Close()
	files, notes, err := d.keep(out, box)
	if err != nil {
		return at, err
	}
	notes = append(reached(out.Reached), notes...)
	series, unread, err := readMetrics(st, job.Isolation, out, box)
	if err != nil {
		return at, err
	}
	notes = append(notes, unread...)
	if bad, why := series.Bad(); bad > 0 {
		notes = append(notes, fmt.Sprintf("%d lines of metrics were left out; the first: %s", bad, why))
	}
	ev := evidence(out)
	ev.CutOff = d.models.cutOff(a.ID)
	ev.NoNetwork = d.closed
	if a.Purpose == research.ForSearch {
		at.Halted = halted(st, rungs, series)
		at.Rungs = rungValues(st, series, at.Halted)
	}
	if at.Halted > 0 {
		// Whether the watch saw the rung in time or the program was quicker:
		// the trial ends there.
		series.Through(at.Halted)
		ev.Exit, ev.Signal, ev.EndedBy = 0, "", ""
		at.Exit, at.Signal = 0, ""
	}
	values, problems := series.Values(st)
	about := ""
	if st.Evaluation != nil && at.Halted == 0 && guard.Classify(ev).Class == research.Succeeded {
		at.Reported = d.named(values)
		e, err := d.evaluate(ctx, a.ID, job, files)
		if err != nil {
			return at, err
		}
		files, notes = append(files, e.files...), append(notes, e.notes...)
		at.Usage.Add(usageOf(e.out))
		ev, values, problems, about = evidence(e.out), e.values, e.problems, "the evaluation: "
	}
	if !st.Once() && ev.BadOutput == "" {
		ev.BadOutput = badOutput(st.Objective.Metric, values, problems)
	}
	notes = append(notes, problems...)
	ev.Stdout, ev.Stderr, ev.BadOutput = d.engine.secrets.Text(ev.Stdout), d.engine.secrets.Text(ev.Stderr), d.engine.secrets.Text(ev.BadOutput)
	v := guard.Classify(ev)
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
	digest, err := d.engine.Objects.PutTree(files)
	at.Evidence = string(digest)
	return at, err
}

// reached says which limits a program has reached, whatever became of it.
func reached(limits []sandbox.Reached) []string {
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

func evidence(out executor.Outcome) guard.Evidence {
	return guard.Evidence{
		Lost: out.Lost, SetUp: out.SetUp, Missing: out.Missing, EndedBy: out.EndedBy, OOMKilled: out.OOMKilled,
		Exit: out.Exit, Signal: out.Signal, Refused: out.Refused, ForksRefused: out.ForksRefused, Stdout: lastOf(out.Stdout), Stderr: lastOf(out.Stderr),
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

func lastOf(path string) string {
	f, info, err := own(path)()
	if err != nil {
		return "" // it ended before it had output
	}
	defer f.Close()
	if info.Size > lastWords {
		if _, err := f.Seek(-lastWords, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, lastWords))
	if err != nil {
		return ""
	}
	return string(b)
}

func badOutput(objective string, values map[string]float64, problems []string) string {
	if _, ok := values[objective]; ok {
		return ""
	}
	for _, p := range problems {
		if strings.HasPrefix(p, objective+" is ") {
			return "the objective " + p
		}
	}
	return fmt.Sprintf("it reported no value of the objective, %s", objective)
}

// readMetrics reads all that the program reported: the metrics file up to
// where it stood at the program's end, metrics.json in the output folder, and
// what the study extracts. unread says what could not be extracted, and why.
func readMetrics(st *study.Study, level sandbox.Isolation, out executor.Outcome, box *untrusted.Folder) (s *research.Series, unread []string, err error) {
	s = research.NewSeries()
	if f, _, err := box.Open(sandbox.MetricsFile); err == nil {
		buf := make([]byte, 64<<10)
		r := io.LimitReader(f, min(out.MetricsSize, mostMetricsFile))
		for {
			n, err := r.Read(buf)
			s.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("reading metrics: %w", err), f.Close())
			}
		}
		s.Close()
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
	}
	for name, v := range leaves("", readJSON(box, path.Join(sandbox.OutputFolder, "metrics.json"))) {
		line, err := json.Marshal(map[string]any{name: v})
		if err != nil {
			return nil, nil, err
		}
		s.Write(append(line, '\n'))
	}
	for name, x := range st.Metrics {
		if x.File != "" {
			readKey(s, name, x, box)
			continue
		}
		v, found, err := sandbox.LastMatch(context.Background(), level, st.Limits.Attempt.Time, x.Stdout, out.Stdout)
		if err != nil {
			unread = append(unread, fmt.Sprintf("%s could not be read: %v", name, err))
		}
		if found {
			s.Add(name, research.Point{Step: -1, Value: v})
		}
	}
	return s, unread, nil
}

// leaves are the values of a JSON document that are no objects themselves, by
// their path, names separated by dots, as DVC names them.
func leaves(path string, v any) map[string]any {
	object, ok := v.(map[string]any)
	if !ok {
		if path == "" {
			return nil
		}
		return map[string]any{path: v}
	}
	out := map[string]any{}
	for name, v := range object {
		if path != "" {
			name = path + "." + name
		}
		maps.Copy(out, leaves(name, v))
	}
	return out
}

func readJSON(box *untrusted.Folder, name string) any {
	f, _, err := box.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	var v any
	if json.NewDecoder(io.LimitReader(f, mostJSON)).Decode(&v) != nil {
		return nil
	}
	return v
}

// readKey reads a metric from a file of a program that is not to be touched.
func readKey(s *research.Series, name string, x study.Extract, box *untrusted.Folder) {
	v := readJSON(box, path.Join(sandbox.WorkFolder, x.File))
	for key := range strings.SplitSeq(x.Key, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		if v, ok = m[key]; !ok {
			return
		}
	}
	if f, ok := v.(float64); ok {
		s.Add(name, research.Point{Step: -1, Value: f})
	} else {
		s.Odd(name, v)
	}
}

// halted is the first rung at which a trial is below its bar; 0: none.
func halted(st *study.Study, rungs []research.Rung, s *research.Series) int {
	for _, r := range rungs {
		if v, ok := s.At(st.Objective.Metric, r.Step); ok && (math.IsNaN(v) || st.Objective.Better(r.Bar, v)) {
			return r.Step
		}
	}
	return 0
}

// rungValues are the objective's values at the steps at which successive
// halving compares.
func rungValues(st *study.Study, s *research.Series, last int) []research.Point {
	var out []research.Point
	for _, step := range search.RungSteps(st.Search) {
		if v, ok := s.At(st.Objective.Metric, step); ok && !math.IsNaN(v) && !math.IsInf(v, 0) && (last == 0 || step <= last) {
			out = append(out, research.Point{Step: step, Value: v})
		}
	}
	return out
}
