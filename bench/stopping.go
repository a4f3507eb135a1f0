package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"ratchet/internal/report"
)

// stopRules are tried on the same configurations: those of a Sobol sequence.
var stopRules = []string{"", "stop: halving", "stop: halving, brackets: 3", "stop: median", "stop: curve"}

// stopping runs the example early-stopping with every rule, and compares the best that is
// found and the epochs that are trained with those of trials that all run to their end.
func stopping(b *bench) ([]row, error) {
	dir := filepath.Join(b.dir, "stopping")
	for _, name := range []string{"early-stopping", "penguins"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("..", "examples", name))); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(dir, "early-stopping", "study.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var rows []row
	best, epochs := 0.0, 0
	for i, rule := range stopRules {
		search := "search: {experiments: 60, method: sobol"
		if rule != "" {
			search += ", " + rule
		}
		changed := bytes.Replace(text, []byte("search: {experiments: 60, stop: curve"), []byte(search), 1)
		if bytes.Equal(changed, text) {
			return nil, fmt.Errorf("%s has no search to change", file)
		}
		if err := os.WriteFile(file, changed, 0o644); err != nil {
			return nil, err
		}
		out := filepath.Join(dir, fmt.Sprint("out", i))
		if text, err := exec.Command(b.binary, "run", file, "--home", filepath.Join(dir, "home"), "--output-dir", out).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		value, steps, stopped, err := trained(out)
		if err != nil {
			return nil, err
		}
		if rule == "" {
			best, epochs = value, steps
			continue
		}
		off, share := value/best-1, float64(steps)/float64(epochs)
		rows = append(rows, row{
			what:   "60 configurations of a network, " + rule,
			ours:   fmt.Sprintf("best loss %.6f, %d epochs (%.0f %%), %d stopped", value, steps, 100*share, stopped),
			beside: fmt.Sprintf("without: %.6f, %d epochs", best, epochs), must: "the best within 0.5 %, 40 % of the epochs",
			reached: off <= 0.005 && share <= 0.4,
		})
	}
	return rows, nil
}

// trained is the best loss of a search, and how many epochs its trials reported.
func trained(out string) (best float64, epochs, stopped int, err error) {
	b, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		return 0, 0, 0, err
	}
	var r report.Results
	if err := json.Unmarshal(b, &r); err != nil {
		return 0, 0, 0, err
	}
	for _, x := range r.Experiments {
		if x.Value != nil && (best == 0 || *x.Value < best) {
			best = *x.Value
		}
		for _, t := range x.Trials {
			if t.Purpose != "search" {
				continue
			}
			if t.Halted > 0 {
				stopped++
			}
			n, err := reported(out, t.Evidence)
			if err != nil {
				return 0, 0, 0, err
			}
			epochs += n
		}
	}
	return best, epochs, stopped, nil
}

// reported is how many lines of metrics an attempt left.
func reported(out, evidence string) (int, error) {
	b, err := os.ReadFile(filepath.Join(out, "evidence", evidence+".json"))
	if err != nil {
		return 0, err
	}
	var files []struct{ Path, Digest string }
	if err := json.Unmarshal(b, &files); err != nil {
		return 0, err
	}
	for _, f := range files {
		if f.Path == "metrics.jsonl" {
			b, err := os.ReadFile(filepath.Join(out, "evidence", f.Digest))
			return bytes.Count(b, []byte("\n")), err
		}
	}
	return 0, nil
}
