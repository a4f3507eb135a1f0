package draft

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ratchet/study"
)

// Study is the study file.
func (d *Draft) Study() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# A study of a command that works already. Every key is explained in docs/study.md;")
	line("# `ratchet validate study.yaml` checks the file, `ratchet run study.yaml` runs it.")
	line("version: 1\nname: my-study")
	line("question: >\n  What do you want to find out?\n")
	line("program:")
	line("  command: [%s]", list(d.command()))
	if !d.seeded() {
		line("  # The command has no seed flag: $RATCHET_SEED has each trial's seed.")
	}
	if len(d.files) > 0 {
		line("  files: [%s]                # copied into each attempt's folder: add what else the program imports", list(d.files))
	} else {
		line("  # files: [train.py]        # the program's own files: copied into each attempt's folder")
	}
	if len(d.inputs) > 0 {
		line("  inputs:                    # seen read-only, never copied")
		for _, in := range d.inputs {
			line("    %s: %s", text(in.path), text(in.source))
		}
	} else {
		line("  # inputs: {data: ../data}  # what it reads: seen read-only, never copied")
	}
	for _, n := range d.notes {
		line("  # %s", n)
	}
	line("")
	d.metrics(line)
	var params []string
	for _, w := range d.words {
		if w.param != "" && w.param != "seed" {
			params = append(params, fmt.Sprintf("  %s: %s", w.param, d.around(w)))
		}
	}
	if len(params) > 0 {
		line("parameters:                  # from the command's flags; the ranges are guesses\n%s\n", strings.Join(params, "\n"))
	} else {
		line("# parameters:\n#   lr: {float: [0.0001, 1], scale: log}\n")
	}
	line("# hypotheses:                # without one, each parameter with a list of values gets its own")
	line("#   - id: momentum-helps\n#     claim: Momentum lowers the loss\n#     compare: {a: {momentum: 0.9}, b: {momentum: 0}}\n#     expect: a < b\n")
	line("search: {experiments: 20, seeds: 2}")
	line("validation: {seeds: 10}\n")
	d.limits(line)
	line("parallel: 1")
	return []byte(b.String())
}

// metrics writes what is to be improved, and where to read it.
func (d *Draft) metrics(line func(string, ...any)) {
	var found []candidate
	if d.tried != nil {
		found = d.tried.candidates
	}
	if len(found) == 0 {
		line("# The metric to improve. The program appends JSON lines to the file $RATCHET_METRICS,")
		line("# {\"step\": 1, \"loss\": 0.5}, or stays as it is and `metrics` says where to read it.")
		if d.tried != nil {
			line("# When it was tried, it printed nothing that looks like one.")
		}
		line("objective: {metric: loss, goal: minimize}")
		line("metrics:\n  loss: {stdout: 'loss[=: ]+([-+.0-9eE]+)'}   # the last match counts\n")
		return
	}
	best := choose(found)
	guess := ""
	if best.more == nil {
		guess = "   # or minimize?"
	}
	line("# The metric to improve: of what the command printed or reported when it was tried, the last that looks like one.")
	line("objective: {metric: %s, goal: %s}%s", text(best.name), best.goal(), guess)
	own := slices.ContainsFunc(found, func(c candidate) bool { return c.pattern != "" })
	if own {
		line("metrics:                     # the last match of each counts")
	}
	for _, c := range found {
		switch {
		case c.pattern == "" && c.name != best.name:
			line("# %s is reported by the program itself: %s", c.name, c.line)
		case c.pattern == "":
		case c.name == best.name:
			line("  %s: {stdout: %s}   # %s", text(c.name), single(c.pattern), c.line)
		default:
			line("  # %s: {stdout: %s}   # %s", text(c.name), single(c.pattern), c.line)
		}
	}
	line("")
}

// limits writes what attempts may use: more than the command did when it was tried.
func (d *Draft) limits(line func(string, ...any)) {
	limit, memory, why := "1h", "4GiB", ""
	if t := d.tried; t != nil && t.wall > 0 {
		if memory = study.Bytes(max(256<<20, (2*t.memory/(256<<20)+1)*(256<<20))).String(); t.ended {
			limit = study.Duration(max(time.Minute, time.Duration(3*t.wall)*time.Second).Round(time.Minute)).String()
		}
		why = fmt.Sprintf("   # it took %s and %s when it was tried", study.Duration(time.Duration(t.wall*1e9).Round(time.Second/10)), study.Bytes(t.memory>>20<<20))
		if !t.ended {
			why = fmt.Sprintf("   # it was not done after %s when it was tried", study.Duration(time.Duration(t.wall*1e9).Round(time.Second)))
		}
	}
	line("limits:\n  attempt: {time: %s, memory: %s, cpus: 1, disk: 1GiB, processes: 256, network: none}%s", limit, memory, why)
}

func list(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
		if plainWord(w) {
			out[i] = w
		}
	}
	return strings.Join(out, ", ")
}

// plainWord reports whether a word is a text in YAML without quotes.
func plainWord(w string) bool {
	for i, c := range w {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789_./-", c)) {
			return false
		}
	}
	return w != "" && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(w))
}

func text(s string) string {
	if plainWord(s) {
		return s
	}
	b, _ := json.Marshal(s) // texts always encode
	return string(b)
}

func single(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// around is a sensible range about a value that works.
func (d *Draft) around(w word) string {
	if d.tried != nil {
		if choices := d.tried.choices[w.param]; len(choices) > 1 {
			quoted := make([]string, len(choices))
			for i, c := range choices {
				quoted[i] = c
				if !isNumber(c) && c != "true" && c != "false" {
					quoted[i] = text(c)
				}
			}
			return "[" + strings.Join(quoted, ", ") + "]   # what --help names"
		}
	}
	value := w.value
	if value == "true" || value == "false" {
		return "[true, false]"
	}
	x, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		return fmt.Sprintf("[%s]                      # add the other values to try", strconv.Quote(value))
	case x == math.Trunc(x) && !strings.ContainsAny(value, ".eE") && math.Abs(x) < 1<<40:
		return wholeAround(int64(x))
	case x > 0:
		return fmt.Sprintf("{float: [%s, %s], scale: log}", study.FormatValue(round(x/10)), study.FormatValue(round(x*10)))
	case x == 0:
		return "{float: [0, 1]}"
	}
	return fmt.Sprintf("{float: [%s, %s]}", study.FormatValue(round(2*x)), study.FormatValue(0.0))
}

func wholeAround(n int64) string {
	switch {
	case n >= 4:
		return fmt.Sprintf("{int: [%d, %d], scale: log}", n/4, n*4)
	case n > 0:
		return fmt.Sprintf("{int: [1, %d]}", n*4)
	case n == 0:
		return "{int: [0, 4]}"
	}
	return fmt.Sprintf("{int: [%d, 0]}", 2*n)
}

// round keeps three significant digits.
func round(x float64) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 3, 64), 64)
	if err != nil {
		return x
	}
	return v
}
