// Package metrics is series of reported values: what the lines mean that programs
// write. It is pure.
package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"ratchet/internal/research"
	"ratchet/study"
)

// Bounds on what an attempt can report.
const (
	maxMetricLine  = 64 << 10 // bytes
	maxMetricNames = 200
	maxPoints      = 1_000_000 // values, all metrics together
	mostName       = 128       // bytes
)

// Series collects metrics from lines of JSON objects, as programs write them:
// {"step": 3, "loss": 0.41}. It takes the bytes as they come. Lines that are
// no such objects are counted and left out.
type Series struct {
	values map[string][]research.Point
	names  []string       // in the order of their first value
	odd    map[string]odd // the last value of a name that is no number
	points int
	bad    int    // lines
	why    string // of the first bad line
	line   []byte // not yet ended
	long   bool   // the line is over its bound
	n      int    // lines so far
}

// odd is what a metric was said to be that is no number, and how many numbers were
// reported before it.
type odd struct {
	text  string
	after int
}

// mostValue is how large a value may be, either way. Beyond, sums and differences
// have no room.
const mostValue = 1e300

// NewSeries returns an empty series.
func NewSeries() *Series {
	return &Series{values: map[string][]research.Point{}, odd: map[string]odd{}}
}

// Write takes more bytes. It never fails.
func (s *Series) Write(b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		if len(s.line)+len(part) > maxMetricLine {
			s.long, s.line = true, s.line[:0]
		}
		if !s.long {
			s.line = append(s.line, part...)
		}
		if end < 0 {
			return
		}
		s.endLine()
		b = b[end+1:]
	}
}

// Close takes a last line without a newline, if it is whole.
func (s *Series) Close() {
	if len(s.line) > 0 || s.long {
		s.endLine()
	}
}

func (s *Series) endLine() {
	s.n++
	line := bytes.TrimSpace(s.line)
	switch {
	case s.long:
		s.complain(fmt.Sprintf("line %d is longer than %d bytes", s.n, maxMetricLine))
	case len(line) > 0:
		s.add(line)
	}
	s.line, s.long = s.line[:0], false
}

func (s *Series) complain(why string) {
	if s.bad++; s.bad == 1 {
		s.why = why
	}
}

func (s *Series) add(line []byte) {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		// Python writes NaN and Infinity, which JSON does not have.
		if object = pythonObject(line); object == nil {
			s.complain(fmt.Sprintf("line %d is not a JSON object", s.n))
			return
		}
	}
	step := -1
	if v, ok := object["step"].(json.Number); ok {
		if f, err := v.Float64(); err == nil && f >= 0 && f < 1<<53 {
			step = int(f)
		}
	}
	delete(object, "step")
	leaves := Leaves(object)
	numbers, full := 0, false
	for _, name := range slices.Sorted(maps.Keys(leaves)) {
		value, ok := number(leaves[name])
		if !ok {
			s.Odd(name, leaves[name]) // a phase, say; it matters where it is a metric that counts
			continue
		}
		numbers++
		full = !s.Add(name, research.Point{Step: step, Value: value}) || full
	}
	switch {
	case numbers == 0:
		s.complain(fmt.Sprintf("line %d has no number in it", s.n))
	case full:
		s.complain(fmt.Sprintf("line %d has one metric too many: at most %d are kept, with names of up to %d bytes", s.n, maxMetricNames, mostName))
	}
}

// Leaves are the values of a JSON document that are no objects themselves, by
// their path, names separated by dots, as DVC names them.
func Leaves(document any) map[string]any {
	out := map[string]any{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		object, ok := v.(map[string]any)
		if !ok {
			out[path] = v
			return
		}
		for name, v := range object {
			walk(path+"."+name, v)
		}
	}
	object, _ := document.(map[string]any)
	for name, v := range object {
		walk(name, v)
	}
	return out
}

// pythonObject reads an object in which bare NaN and Infinity stand for
// numbers; they become text that number knows. nil if it is not that either.
func pythonObject(line []byte) map[string]any {
	fixed := line
	for _, word := range []string{"-Infinity", "Infinity", "NaN"} {
		fixed = bytes.ReplaceAll(fixed, []byte(": "+word), []byte(`: "`+word+`"`))
		fixed = bytes.ReplaceAll(fixed, []byte(":"+word), []byte(`:"`+word+`"`))
	}
	if bytes.Equal(fixed, line) {
		return nil
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(fixed))
	d.UseNumber()
	if d.Decode(&object) != nil {
		return nil
	}
	return object
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64) // 1e999 is +Inf with an error
		if err != nil && !math.IsInf(f, 0) {
			return 0, false
		}
		return f, true
	case string:
		switch v {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

// Odd notes that a metric was reported as something that is no number. Until a
// number comes behind it, the metric has no value: it is never made one of.
func (s *Series) Odd(name string, value any) {
	if _, known := s.odd[name]; len(name) > mostName || !known && len(s.odd) >= maxMetricNames {
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte("unreadable")
	}
	s.odd[name] = odd{research.Printable(string(text), 100), len(s.values[name])}
}

// Add takes one value; false if there are too many already.
func (s *Series) Add(name string, p research.Point) bool {
	if _, known := s.values[name]; !known {
		if len(s.names) >= maxMetricNames || len(name) > mostName {
			return false
		}
		s.names = append(s.names, name)
	}
	if s.points >= maxPoints {
		// The last value must stay right even so.
		s.values[name] = append(s.values[name][:max(len(s.values[name])-1, 0)], p)
		return true
	}
	s.points++
	s.values[name] = append(s.values[name], p)
	return true
}

// At is the value of a metric at a step: the last one reported with it.
func (s *Series) At(name string, step int) (float64, bool) {
	points := s.values[name]
	for i := len(points) - 1; i >= 0; i-- {
		if points[i].Step == step {
			return points[i].Value, true
		}
	}
	return 0, false
}

// Through drops every value behind a step, and every one without a step.
func (s *Series) Through(step int) {
	for name, points := range s.values {
		kept := points[:0]
		for _, p := range points {
			if p.Step >= 0 && p.Step <= step {
				kept = append(kept, p)
			}
		}
		s.values[name] = kept
	}
}

// Names are the names of the values, sorted.
func (s *Series) Names() []string { return slices.Sorted(maps.Keys(s.values)) }

// Points are the reported values of a metric, in their order.
func (s *Series) Points(name string) []research.Point { return s.values[name] }

// Bad is how many lines were left out, and why the first one was.
func (s *Series) Bad() (int, string) { return s.bad, s.why }

// Problem says why a metric has no value.
type Problem struct{ Metric, Why string }

func (p Problem) String() string { return p.Metric + " " + p.Why }

// Problems are the problems of a series.
type Problems []Problem

// Of is what is wrong with a metric; "": nothing.
func (p Problems) Of(metric string) string {
	for _, one := range p {
		if one.Metric == metric {
			return one.String()
		}
	}
	return ""
}

// Values reduces every metric to the value that counts: its last, its best or
// its mean, as the study says. A value that is no number, not finite or out of
// range is left out and named in problems: it is never averaged away.
func (s *Series) Values(st *study.Study) (values map[string]float64, problems Problems) {
	values = map[string]float64{}
	for _, name := range s.names {
		points := s.values[name]
		if len(points) == 0 {
			continue
		}
		use := st.UseOf(name)
		if o, there := s.odd[name]; there && (o.after >= len(points) || use == "best" || use == "mean") {
			problems = append(problems, Problem{name, "is " + o.text + ", which is no number"})
			continue
		}
		v := reduce(points, use, st.GoalOf(name))
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			problems = append(problems, Problem{name, fmt.Sprintf("is %v", v)})
		case math.Abs(v) > mostValue:
			problems = append(problems, Problem{name, fmt.Sprintf("is %.4g, beyond ±%g", v, mostValue)})
		default:
			values[name] = v
		}
	}
	for _, name := range st.Needed() {
		if o, there := s.odd[name]; there && len(s.values[name]) == 0 {
			problems = append(problems, Problem{name, "is " + o.text + ", which is no number"})
		}
	}
	return values, problems
}

func reduce(points []research.Point, use string, o study.Objective) float64 {
	last := points[len(points)-1].Value
	switch use {
	case "best":
		best := points[0].Value
		for _, p := range points {
			if math.IsNaN(p.Value) {
				return p.Value
			}
			if o.Better(p.Value, best) {
				best = p.Value
			}
		}
		return best
	case "mean":
		sum := 0.0
		for _, p := range points {
			if math.Abs(p.Value) > mostValue {
				return p.Value
			}
			sum += p.Value
		}
		return sum / float64(len(points))
	}
	return last
}
