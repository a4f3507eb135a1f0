package engine

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"ratchet/internal/history"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// Bounds on what a search learns from.
const (
	mostLearned     = 1000     // outcomes of one source; of more, the best half and others spread evenly
	mostLearnedFile = 64 << 20 // bytes
)

// LearnError says that nothing can be learned from a source.
type LearnError struct{ From, Why, Remedy string }

func (l *LearnError) Error() string {
	return fmt.Sprintf("search.learn_from: %s: %s; %s", l.From, l.Why, l.Remedy)
}

// mostLearnedRecord is how many bytes of outcomes, written out, one record has about.
const mostLearnedRecord = 32 << 10

// learn reads what a study's search.learn_from names: runs of this home, results.json of
// others, tables. What does not fit the study's space or objective is counted and left out.
func (e *Engine) learn(ctx context.Context, st *study.Study, dir string) (out []research.PriorLearned, err error) {
	for _, from := range st.Search.LearnFrom {
		var p research.Prior
		switch strings.ToLower(filepath.Ext(from)) {
		case ".json":
			p, err = learnFile(st, dir, from, results)
		case ".csv":
			p, err = learnFile(st, dir, from, table)
		default:
			p, err = e.learnRun(ctx, st, from)
		}
		if err != nil {
			return nil, err
		}
		parts, err := inRecords(p)
		if err != nil {
			return nil, err
		}
		out = append(out, parts...)
	}
	return out, nil
}

// inRecords cuts what is learned of one source into records that are not too large.
func inRecords(p research.Prior) (out []research.PriorLearned, err error) {
	part := research.Prior{From: p.From, Digest: p.Digest, Left: p.Left}
	size := 0
	for _, o := range p.Outcomes {
		b, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		if size += len(b); size > mostLearnedRecord {
			out = append(out, research.PriorLearned{Prior: part})
			part, size = research.Prior{From: p.From, Digest: p.Digest}, len(b)
		}
		part.Outcomes = append(part.Outcomes, o)
	}
	return append(out, research.PriorLearned{Prior: part}), nil
}

// learnRun reads the outcomes of a run of this home.
func (e *Engine) learnRun(ctx context.Context, st *study.Study, from string) (research.Prior, error) {
	run, err := e.Find(ctx, from, nil)
	if err != nil {
		return research.Prior{}, &LearnError{from, err.Error(), "name a run of this home, or a file that ends in .json or .csv"}
	}
	s, head, err := history.Of(e.Home).Load(ctx, run)
	if err != nil {
		return research.Prior{}, err
	}
	var all []research.Outcome
	for _, x := range s.Experiments {
		if v, ok := x.Means[st.Objective.Metric]; ok {
			all = append(all, research.Outcome{Parameters: x.Parameters, Value: v})
		}
	}
	return fitting(st, from, fmt.Sprintf("%s at %d, %s", run, head.Seq, head.Hash), all)
}

// learnFile reads a file that parse knows.
func learnFile(st *study.Study, dir, from string, parse func(*study.Study, []byte) ([]research.Outcome, error)) (research.Prior, error) {
	at := from
	if !filepath.IsAbs(at) {
		at = filepath.Join(dir, at)
	}
	b, err := readBounded(at)
	var all []research.Outcome
	if err == nil {
		all, err = parse(st, b)
	}
	if err != nil {
		return research.Prior{}, &LearnError{from, err.Error(), "name a results.json of Ratchet, or a table in CSV with a column for each parameter and for the objective"}
	}
	return fitting(st, from, string(objects.DigestOf(b)), all)
}

func readBounded(path string) (b []byte, err error) {
	path, err = filepath.EvalSymlinks(path) //nolint:forbidigo // what is learned from is named by its path
	if err != nil {
		return nil, err
	}
	folder, err := untrusted.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	f, info, err := folder.Open(filepath.Base(path))
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	if info.Size > mostLearnedFile {
		return nil, fmt.Errorf("it has more than %s", study.Bytes(mostLearnedFile))
	}
	return io.ReadAll(io.LimitReader(f, mostLearnedFile))
}

// results reads a results.json.
func results(st *study.Study, b []byte) (out []research.Outcome, err error) {
	var r struct {
		Objective   study.Objective `json:"objective"`
		Experiments []struct {
			Parameters study.Params `json:"parameters"`
			Value      *float64     `json:"value"`
		} `json:"experiments"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if r.Objective.Metric != st.Objective.Metric {
		return nil, fmt.Errorf("its objective is %q, and the study's is %q", r.Objective.Metric, st.Objective.Metric)
	}
	for _, x := range r.Experiments {
		if x.Value != nil {
			out = append(out, research.Outcome{Parameters: x.Parameters, Value: *x.Value})
		}
	}
	return out, nil
}

// table reads a CSV file whose first row names parameters and the objective's metric. Other
// columns are passed over, as are rows without a value.
func table(st *study.Study, b []byte) (out []research.Outcome, err error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff"))))
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, err
	}
	columns, value := map[int]study.Parameter{}, -1
	for i, name := range header {
		if d, ok := st.Parameter(name); ok {
			columns[i] = d
		}
		if name == st.Objective.Metric {
			value = i
		}
	}
	if value < 0 {
		return nil, fmt.Errorf("it has no column %q, the objective", st.Objective.Metric)
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(row[value]), 64)
		if err != nil {
			continue
		}
		o := research.Outcome{Parameters: study.Params{}, Value: v}
		for i, d := range columns {
			if text := strings.TrimSpace(row[i]); text != "" {
				o.Parameters[d.Name] = d.Read(text)
			}
		}
		out = append(out, o)
	}
}

// fitting keeps the outcomes whose configurations the study's space has.
func fitting(st *study.Study, from, digest string, all []research.Outcome) (research.Prior, error) {
	p := research.Prior{From: from, Digest: digest, Left: len(all)}
	first := ""
	for _, o := range all {
		parameters, why := st.Fit(o.Parameters)
		if why == "" && (math.IsNaN(o.Value) || math.IsInf(o.Value, 0)) {
			why = "its value is not finite"
		}
		if why == "" {
			p.Outcomes = append(p.Outcomes, research.Outcome{Parameters: parameters, Value: o.Value})
		} else if first == "" {
			first = why
		}
	}
	p.Left -= len(p.Outcomes)
	if len(p.Outcomes) == 0 {
		return p, &LearnError{from, fmt.Sprintf("none of its %d outcomes fits the study (%s)", len(all), first), "take it out, or let the study's parameters and objective be those that it has"}
	}
	if len(p.Outcomes) > mostLearned {
		sort.SliceStable(p.Outcomes, func(i, j int) bool { return st.Objective.Better(p.Outcomes[i].Value, p.Outcomes[j].Value) })
		kept, rest := p.Outcomes[:mostLearned/2:mostLearned/2], p.Outcomes[mostLearned/2:]
		for i := range mostLearned / 2 {
			kept = append(kept, rest[i*len(rest)/(mostLearned/2)])
		}
		p.Left += len(p.Outcomes) - len(kept)
		p.Outcomes = kept
	}
	return p, nil
}
