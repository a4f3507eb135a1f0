package study

import (
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DraftFile is a file that Draft proposes.
type DraftFile struct {
	Name    string
	Content []byte
}

//go:embed draft/study.yaml
var firstStudy []byte

//go:embed draft/experiment.py
var firstProgram []byte

// Draft writes a first study. Without a command it comes with a small program
// and runs as it is. With one, flags that have values become parameters with a
// range around them, a seed flag becomes {seed}, and files of dir that the
// command names are the program's files.
func Draft(dir string, command []string) ([]DraftFile, error) {
	if len(command) == 0 {
		return []DraftFile{{"study.yaml", firstStudy}, {"experiment.py", firstProgram}}, nil
	}
	d := &draft{dir: dir}
	for i := 0; i < len(command); i++ {
		i += d.argument(command, i)
	}
	return []DraftFile{{"study.yaml", []byte(d.yaml())}}, nil
}

// draft collects what a command line says.
type draft struct {
	dir     string
	command []string
	files   []string
	params  []string // lines of YAML
	names   []string
	seeded  bool
}

var (
	flagForm = regexp.MustCompile(`^(--?[A-Za-z][\w.-]*)(?:=(.*))?$`)
	seedForm = regexp.MustCompile(`(?i)^(random[_-]?)?seed$`)
)

// argument takes one argument of the command, and its value if it is a flag
// that has one; it returns how many further arguments it took.
func (d *draft) argument(command []string, i int) int {
	arg := command[i]
	m := flagForm.FindStringSubmatch(arg)
	if i == 0 || m == nil {
		if info, err := os.Stat(filepath.Join(d.dir, arg)); i > 0 && err == nil && filepath.IsLocal(arg) && info.Mode().IsRegular() {
			d.files = append(d.files, filepath.ToSlash(arg))
		}
		d.command = append(d.command, braces(arg))
		return 0
	}
	flag, value, took := m[1], m[2], 0
	joined := strings.Contains(arg, "=")
	if !joined {
		if i+1 >= len(command) || flagForm.MatchString(command[i+1]) && !isNumber(command[i+1]) {
			d.command = append(d.command, braces(arg)) // a switch
			return 0
		}
		value, took = command[i+1], 1
	}
	place := d.parameter(strings.TrimLeft(flag, "-"), value)
	if joined {
		d.command = append(d.command, flag+"="+place)
	} else {
		d.command = append(d.command, flag, place)
	}
	return took
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

var notName = regexp.MustCompile(`[^A-Za-z0-9_]`)

// parameter makes a parameter of a flag and returns what stands for its value
// in the command.
func (d *draft) parameter(flag, value string) string {
	name := notName.ReplaceAllString(flag, "_")
	switch {
	case seedForm.MatchString(name):
		d.seeded = true
		return "{seed}"
	case !parameterForm.allows(name) || slices.Contains(d.names, strings.ToLower(name)):
		return braces(value)
	case exists(filepath.Join(d.dir, value)) && !isNumber(value):
		return braces(value) // a path is not searched
	}
	d.names = append(d.names, strings.ToLower(name))
	d.params = append(d.params, fmt.Sprintf("  %s: %s", name, around(value)))
	return "{" + name + "}"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// around is a sensible range about a value that works.
func around(value string) string {
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
		return fmt.Sprintf("{float: [%s, %s], scale: log}", FormatValue(round(x/10)), FormatValue(round(x*10)))
	case x == 0:
		return "{float: [0, 1]}"
	}
	return fmt.Sprintf("{float: [%s, %s]}", FormatValue(round(2*x)), FormatValue(0.0))
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

func braces(s string) string {
	return strings.NewReplacer("{", "{{", "}", "}}").Replace(s)
}

func (d *draft) yaml() string {
	quoted := make([]string, len(d.command))
	for i, a := range d.command {
		quoted[i] = strconv.Quote(a)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# A study of a command that works already. Every key is explained in docs/study.md;")
	line("# `ratchet validate study.yaml` checks the file, `ratchet run study.yaml` runs it.")
	line("version: 1\nname: my-study")
	line("question: >\n  What do you want to find out?\n")
	line("program:")
	line("  command: [%s]", strings.Join(quoted, ", "))
	if !d.seeded {
		line("  # The command has no seed flag: $RATCHET_SEED has each trial's seed.")
	}
	if len(d.files) > 0 {
		line("  files: [%s]                # copied into each attempt's folder: add what else the program imports", strings.Join(d.files, ", "))
	} else {
		line("  # files: [train.py]        # the program's own files: copied into each attempt's folder")
	}
	line("  # inputs: {data: ../data}  # what it reads: seen read-only, never copied\n")
	line("# The metric to improve. The program appends JSON lines to the file $RATCHET_METRICS,")
	line("# {\"step\": 1, \"loss\": 0.5}, or stays as it is and `metrics` says where to read it.")
	line("objective: {metric: loss, goal: minimize}")
	line("metrics:\n  loss: {stdout: 'loss[=: ]+([-+.0-9eE]+)'}   # the last match counts\n")
	if len(d.params) > 0 {
		line("parameters:                  # from the command's flags; the ranges are guesses\n%s\n", strings.Join(d.params, "\n"))
	} else {
		line("# parameters:\n#   lr: {float: [0.0001, 1], scale: log}\n")
	}
	line("# hypotheses:                # without one, each parameter with a list of values gets its own")
	line("#   - id: momentum-helps\n#     claim: Momentum lowers the loss\n#     compare: {a: {momentum: 0.9}, b: {momentum: 0}}\n#     expect: a < b\n")
	line("search: {method: tpe, experiments: 20, seeds: 2}")
	line("validation: {seeds: 10}\n")
	line("limits:\n  attempt: {time: 1h, memory: 4GiB, cpus: 1, disk: 1GiB, processes: 256, network: none}")
	line("parallel: 1")
	return b.String()
}
