package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
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
func (d *driver) collect(a research.Action, rungs []research.Rung, out executor.Outcome) (research.Attempt, error) {
	st := d.study
	at := research.Attempt{
		Exit: out.Exit, Signal: out.Signal, Host: out.Host, Started: out.Started, Ended: out.Ended,
		Usage: research.Usage{Wall: out.Wall, CPU: out.CPU, Memory: out.Memory, Disk: out.Disk, Read: out.Read, Write: out.Written},
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
	series, err := readMetrics(st, out, box)
	if err != nil {
		return at, err
	}
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
	if !st.Once() {
		ev.BadOutput = badOutput(st.Objective.Metric, values, problems)
	}
	notes = append(notes, problems...)
	ev.Stdout, ev.Stderr, ev.BadOutput = d.engine.secrets.Text(ev.Stdout), d.engine.secrets.Text(ev.Stderr), d.engine.secrets.Text(ev.BadOutput)
	v := guard.Classify(ev)
	at.Class, at.Message, at.Pattern, at.Certain, at.Wait = v.Class, v.Message, v.Pattern, v.Certain, v.Wait
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
	digest, err := d.engine.objects.PutTree(files)
	at.Evidence = string(digest)
	return at, err
}

// named are metrics whose names are fit to be kept.
func (d *driver) named(values map[string]float64) map[string]float64 {
	out := make(map[string]float64, len(values))
	for name, v := range values {
		out[research.Printable(d.engine.secrets.Text(name), mostMetricName)] = v
	}
	return out
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
// what the study extracts.
func readMetrics(st *study.Study, out executor.Outcome, box *untrusted.Folder) (*research.Series, error) {
	s := research.NewSeries()
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
				return nil, errors.Join(fmt.Errorf("reading metrics: %w", err), f.Close())
			}
		}
		s.Close()
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	for name, v := range leaves("", readJSON(box, path.Join(sandbox.OutputFolder, "metrics.json"))) {
		line, err := json.Marshal(map[string]any{name: v})
		if err != nil {
			return nil, err
		}
		s.Write(append(line, '\n'))
	}
	for name, x := range st.Metrics {
		if v, ok := extract(x, out, box); ok {
			s.Add(name, research.Point{Step: -1, Value: v})
		}
	}
	return s, nil
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

// extract reads a metric of a program that is not to be touched.
func extract(x study.Extract, out executor.Outcome, box *untrusted.Folder) (float64, bool) {
	if x.File != "" {
		v := readJSON(box, path.Join(sandbox.WorkFolder, x.File))
		for key := range strings.SplitSeq(x.Key, ".") {
			m, ok := v.(map[string]any)
			if !ok {
				return 0, false
			}
			v = m[key]
		}
		f, ok := v.(float64)
		return f, ok
	}
	if x.Stdout == "" {
		return 0, false
	}
	return lastMatch(x.Stdout, out.Stdout)
}

// mostMatching bounds what looking for a pattern costs: bytes of output times
// instructions of the pattern (regexp/syntax.Prog), which is what matching takes
// at most. It comes to some seconds, whatever the pattern and whatever a program
// prints.
const mostMatching = 200 << 20

// lastMatch is the value of the last match in a file of output that is a number.
// Where the pattern is large, only the end of the output is looked at.
func lastMatch(pattern, file string) (float64, bool) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return 0, false // Parse has checked it
	}
	f, info, err := own(file)()
	if err != nil {
		return 0, false
	}
	defer f.Close()
	from := max(0, info.Size-mostMatching/instructions(pattern))
	b, err := io.ReadAll(io.NewSectionReader(f, from, info.Size-from))
	if err != nil {
		return 0, false
	}
	for len(b) > 0 {
		begin := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
		line := b[begin:]
		b = b[:begin]
		matches := re.FindAllSubmatch(line, -1)
		for _, m := range slices.Backward(matches) {
			if v, err := strconv.ParseFloat(string(m[1]), 64); err == nil {
				return v, true
			}
		}
	}
	return 0, false
}

// instructions is the size of a pattern's program.
func instructions(pattern string) int64 {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 1 // it was compiled
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 1
	}
	return int64(len(program.Inst))
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
