package study_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"ratchet/study"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// whole has every key that a study file can have.
const whole = `# every key
version: 1
name: whole
question: >
  Does it
  work?
program:
  command: [python3, x.py, --seed, "{seed}", --k, "{k}", "--rate={rate}"]
  files: [x.py, lib]
  inputs:
    data/a.csv: ../data/a.csv
    models: {from: /srv/models, hash: full}
  build: [make]
  environment: .venv
objective: {metric: accuracy, goal: maximize, use: best}
metrics:
  accuracy: {stdout: 'acc=(\S+)'}
  loss: {file: out/results.json, key: test.loss, use: mean}
parameters:
  model: [knn, logistic, 3, true]
  k: {int: [1, 25], when: {model: knn}}
  l2: {float: [0.0001, 10], scale: log, when: {model: [logistic, 3]}}
  rate: {float: [0, 1], step: 0.25}
  size: {values: [small, large]}
hypotheses:
  - id: knn-wins
    claim: knn beats logistic
    compare: {a: {model: knn}, b: {model: logistic, l2: 0.5}}
    expect: a > b
    by: 0.02
  - id: less-loss
    claim: large has less loss
    compare: {a: {size: large}, b: {size: small}}
    expect: b > a
    metric: loss
search: {method: halving, experiments: 40, seeds: 3, eta: 4, min_step: 2}
validation: {seeds: 12, alpha: 0.01, correction: bonferroni}
gates:
  - success_rate >= 0.8
  - best.accuracy >= 0.9 and verdict["knn-wins"] == "supported"
limits:
  attempt: {time: 90s, grace: 5s, stall: 10m, memory: 1.5GiB, cpus: 0.5, gpus: 1, gpu_memory: 10GiB, disk: 500MB, output: 64KiB, processes: 64, network: host}
  stage: {time: 2d}
  run: {time: 1d12h, cost: 5 USD, tokens: 2000000, experiments: 200}
retries: {max: 2}
checkpoints: {experiments: 20, every: 1h, attempt: 0s}
on_resource: {parameters: {k: k / 2}, memory: 8GiB, disk: 64GiB, processes: 1000}
executor: slurm
parallel: 4
model: some/model
tools: {hosts: [api.example.org, "*.org"], record: true}
models:
  allow: [openai/gpt-4o*, anthropic/*]
  replay: strict-replay
  ignore: {fields: [/messages/*/id], text: ['/tmp/\w+']}
`

func TestEveryKey(t *testing.T) {
	s, err := study.Parse("study.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := &study.Study{
		Version: 1, Name: "whole", Question: "Does it work?",
		Program: study.Program{
			Command: []string{"python3", "x.py", "--seed", "{seed}", "--k", "{k}", "--rate={rate}"}, Files: []string{"x.py", "lib"},
			Inputs: []study.Input{{Path: "data/a.csv", Source: "../data/a.csv"}, {Path: "models", Source: "/srv/models", Hash: "full"}},
			Build:  []string{"make"}, Environment: ".venv",
		},
		Objective: study.Objective{Metric: "accuracy", Goal: study.Maximize, Use: "best"},
		Metrics:   map[string]study.Extract{"accuracy": {Stdout: `acc=(\S+)`}, "loss": {File: "out/results.json", Key: "test.loss", Use: "mean"}},
		Parameters: []study.Parameter{
			{Name: "model", Kind: study.Categorical, Values: []any{"knn", "logistic", 3.0, true}},
			{Name: "k", Kind: study.Int, Low: 1, High: 25, When: map[string]study.Values{"model": {"knn"}}},
			{Name: "l2", Kind: study.Float, Low: 0.0001, High: 10, Log: true, When: map[string]study.Values{"model": {"logistic", 3.0}}},
			{Name: "rate", Kind: study.Float, Low: 0, High: 1, Step: 0.25},
			{Name: "size", Kind: study.Categorical, Values: []any{"small", "large"}},
		},
		Hypotheses: []study.Hypothesis{
			{ID: "knn-wins", Claim: "knn beats logistic", A: study.Params{"model": "knn"}, B: study.Params{"model": "logistic", "l2": 0.5}, Expect: study.Greater, By: 0.02},
			{ID: "less-loss", Claim: "large has less loss", A: study.Params{"size": "large"}, B: study.Params{"size": "small"}, Expect: study.Less, Metric: "loss"},
		},
		Search:     study.Search{Method: study.Halving, Experiments: 40, Seeds: 3, Eta: 4, MinStep: 2},
		Validation: study.Validation{Seeds: 12, Alpha: 0.01, Correction: "bonferroni"},
		Gates:      []study.Gate{"success_rate >= 0.8", `best.accuracy >= 0.9 and verdict["knn-wins"] == "supported"`},
		Limits: study.Limits{
			Attempt: study.AttemptLimits{
				Time: study.Duration(90 * time.Second), Grace: study.Duration(5 * time.Second), Stall: study.Duration(10 * time.Minute),
				Memory: 3 << 29, CPUs: 0.5, GPUs: 1, GPUMemory: 10 << 30, Disk: 500_000_000, Output: 64 << 10, Processes: 64, Network: study.NetworkHost,
			},
			Stage: study.StageLimits{Time: study.Duration(48 * time.Hour)},
			Run:   study.RunLimits{Time: study.Duration(36 * time.Hour), Cost: 5_000_000, Tokens: 2_000_000, Experiments: 200},
		},
		Retries:     study.Retries{Max: 2},
		OnResource:  &study.OnResource{Parameters: map[string]string{"k": "k / 2"}, Memory: 8 << 30, Disk: 64 << 30, Processes: 1000},
		Checkpoints: study.Checkpoints{Experiments: 20, Every: study.Duration(time.Hour)}, Executor: "slurm", Parallel: 4, Model: "some/model",
		Tools: &study.Tools{Hosts: []string{"api.example.org", "*.org"}, Record: true},
		Models: &study.Models{
			Allow: []string{"openai/gpt-4o*", "anthropic/*"}, Replay: "strict-replay", IgnoreFields: []string{"/messages/*/id"}, IgnoreText: []string{`/tmp/\w+`},
		},
	}
	if diff := cmp.Diff(want, s, cmpopts.IgnoreUnexported(study.Study{})); diff != "" {
		t.Error(diff)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back study.Study
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, &back, cmpopts.IgnoreUnexported(study.Study{})); diff != "" {
		t.Errorf("through its JSON form it is another: %s", diff)
	}
}

const least = "version: 1\nname: least\nprogram: {command: [./x]}\nobjective: {metric: m, goal: minimize}\n"

const evaluated = least + `evaluation:
  command: [python3, evaluate.py]
  files: [evaluate.py]
  inputs: {labels.csv: ../labels.csv, more: {from: ../more, hash: full}}
  limits: {time: 60s, memory: 1GiB}
  null: ["true"]
`

func TestEvaluation(t *testing.T) {
	s, err := study.Parse("study.yaml", []byte(evaluated))
	if err != nil {
		t.Fatal(err)
	}
	limits := study.AttemptLimits{
		Time: study.Duration(time.Minute), Grace: study.Duration(10 * time.Second), Memory: 1 << 30, CPUs: 1, Disk: 1 << 30, Output: 4 << 20, Processes: 256, Network: study.NetworkNone,
	}
	want := &study.Evaluation{
		Command: []string{"python3", "evaluate.py"}, Files: []string{"evaluate.py"}, Limits: limits, Null: []string{"true"},
		Inputs: []study.Input{{Path: "labels.csv", Source: "../labels.csv"}, {Path: "more", Source: "../more", Hash: "full"}},
	}
	if diff := cmp.Diff(want, s.Evaluation); diff != "" {
		t.Error(diff)
	}
	const rest = "version: 1\nname: n\nparameters: {a: [x]}\n"
	for text, says := range map[string]string{
		"program: {command: [x], files: [src]}\nobjective: {metric: m, goal: minimize}\nevaluation: {command: [y], files: [src/e.py]}":              `is among the program's files, as "src"`,
		"program: {command: [x], files: [.]}\nobjective: {metric: m, goal: minimize}\nevaluation: {command: [y], inputs: {l: data/l.csv}}":          `the evaluation's input "data/l.csv" is among the program's files`,
		"program: {command: [x], inputs: {d: ../data}}\nobjective: {metric: m, goal: minimize}\nevaluation: {command: [y], inputs: {l: ../data/l}}": `is in the program's input "../data"`,
		"program: {command: [x]}\nobjective: {metric: m, goal: minimize}\nevaluation: {files: [e.py]}":                                              "the evaluation has no command",
		"program: {command: [x]}\nobjective: {metric: m, goal: minimize}\nsearch: {method: halving}\nevaluation: {command: [y]}":                    "by what the program itself reports",
	} {
		_, err := study.Parse("study.yaml", []byte(rest+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestWarnings: too few fresh seeds, where statistics decide.
func TestWarnings(t *testing.T) {
	const few = "version: 1\nname: n\nprogram: {command: [x]}\nobjective: {metric: m, goal: minimize}\nparameters: {a: [x, y]}\n"
	exact := "hypotheses: [{id: h, claim: c, compare: {a: {a: x}, b: {a: y}}, expect: a > b, exact: true}]\n"
	for text, want := range map[string]int{
		few + "validation: {seeds: 5}\n": 1, few + "validation: {seeds: 6}\n": 0, few: 0,
		few + exact + "validation: {seeds: 2}\n":                                              0,
		few + strings.Replace(exact, ", exact: true", "", 1) + "validation: {seeds: 2}\n":     1,
		strings.Replace(few, "a: [x, y]", "a: {int: [1, 5]}", 1) + "validation: {seeds: 2}\n": 0,
		strings.Replace(few, "a: [x, y]", "a: [x]", 1) + "validation: {seeds: 2}\n":           0,
	} {
		s, err := study.Parse("study.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Warnings(); len(got) != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestDefaults(t *testing.T) {
	s, err := study.Parse("study.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	if s.Search.Method != study.Auto || s.Validation.Alpha != 0.05 || s.Retries.Max != 3 || s.Executor != "local" || s.Parallel != 1 ||
		s.Limits.Attempt.Network != study.NetworkNone || len(s.Gates) != 1 || s.Gates[0] != study.DefaultGate {
		t.Errorf("defaults %+v", s)
	}
}

// TestMistakes: each is named with its line and column.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		name, add string // what is added behind the smallest study, from line 5
		says      string // place and what is wrong
	}{
		{"unknown key", "paralell: 2", `5:1: unknown key "paralell"`},
		{"with what was meant", "paralell: 2", `did you mean "parallel"`},
		{"unknown key below", "search: {metod: grid}", `5:10: unknown key "metod" in search`},
		{"wrong type", "parallel: many", `5:11: parallel is the text "many"`},
		{"a list for a mapping", "search: [grid]", `5:9: search is a list`},
		{"fraction for a whole number", "parallel: 1.5", `5:11: parallel is 1.5`},
		{"out of range", "parallel: 0", `5:11: parallel is 0; it must be from 1 to 10000`},
		{"no value", "parallel:", `5:1: "parallel" has no value`},
		{"unknown word", "executor: cloud", `5:11: executor is "cloud"; it must be local, slurm or kubernetes`},
		{"time without a unit", "limits: {attempt: {time: 60}}", `5:26: limits.attempt.time: "60" is not a time span`},
		{"zero time", "limits: {attempt: {time: 0s}}", `5:26: limits.attempt.time is zero`},
		{"negative time", "limits: {run: {time: -3h}}", `5:22: limits.run.time: "-3h" is negative`},
		{"memory without a unit", "limits: {attempt: {memory: 512}}", `5:28: limits.attempt.memory: "512" is not an amount of bytes`},
		{"too little memory", "limits: {attempt: {memory: 1KiB}}", `limits.attempt.memory is 1KiB; give at least 1MiB`},
		{"another currency", "limits: {run: {cost: 5 EUR}}", `limits.run.cost: "5 EUR" is in EUR`},
		{"duplicate value", "parameters: {a: [1, 1]}", `5:21: parameters.a has the value 1 twice`},
		{"no values", "parameters: {a: []}", `parameters.a has no values`},
		{"bounds in the wrong order", "parameters: {a: {int: [5, 1]}}", `parameters.a goes from 5 to 1`},
		{"three bounds", "parameters: {a: {int: [1, 2, 3]}}", `parameters.a has 3 bounds`},
		{"whole bounds", "parameters: {a: {int: [1, 2.5]}}", `bounds that are not whole`},
		{"a log scale from zero", "parameters: {a: {float: [0, 1], scale: log}}", `logarithmic scale from 0`},
		{"two kinds", "parameters: {a: {int: [1, 2], values: [x]}}", `parameters.a has two kinds`},
		{"no kind", "parameters: {a: {scale: log}}", `does not say what it can be`},
		{"reserved name", "parameters: {seed: [1, 2]}", `5:14: "seed" is not free`},
		{"bad name", "parameters: {a b: [1, 2]}", `5:14: the parameter's name is "a b"`},
		{"names of one variable", "parameters: {a.b: [1, 2], a-b: [1, 2]}", `5:27: "a.b" and "a-b" share the variable $RATCHET_PARAM_A_B`},
		{"a value as a text too", `parameters: {a: [true, "true"]}`, `5:24: parameters.a has true as a text and not as a text, which a program's arguments do not tell apart`},
		{"a list twice", `parameters: {a: [[1, 2], [1, 2.0]]}`, `5:26: parameters.a has the value [1,2] twice`},
		{"beyond 64 bits", "parameters: {a: [99999999999999999999]}", "5:18: a value of parameters.a is 99999999999999999999, which 64 bits do not hold"},
		{"not finite", "parameters: {a: [.inf]}", "5:18: a value of parameters.a is .inf"},
		{"a bound of YAML 1.1", "parameters: {a: {int: [010, 20]}}", `5:24: parameters.a is the text "010"`},
		{"names that share a variable", "parameters: {a: [1], A: [2]}", `share the variable $RATCHET_PARAM_A`},
		{"depends on nothing", "parameters: {a: {int: [1, 2], when: {b: 1}}}", `"a" depends on "b", which is not a parameter`},
		{"depends on itself", "parameters: {a: {int: [1, 2], when: {b: 1}}, b: {int: [1, 2], when: {a: 1}}}", `depends on itself`},
		{"depends on what never is", "parameters: {a: {int: [1, 2], when: {b: z}}, b: [x, y]}", `"b" is never z; its values are x, y`},
		{"hypothesis of nothing", "parameters: {a: [x, y]}\nhypotheses: [{id: h, claim: c, compare: {a: {aa: x}, b: {a: y}}, expect: a > b}]", `compares "aa", which is not a parameter; did you mean "a"?`},
		{"hypothesis out of range", "parameters: {a: {int: [1, 5]}}\nhypotheses: [{id: h, claim: c, compare: {a: {a: 9}, b: {a: 1}}, expect: a > b}]", `"a" is never 9; it is a number from 1 to 5`},
		{"the same sides", "parameters: {a: [x, y]}\nhypotheses: [{id: h, claim: c, compare: {a: {a: x}, b: {a: x}}, expect: a > b}]", `the two sides are the same`},
		{"an expectation nobody reads", "parameters: {a: [x, y]}\nhypotheses: [{id: h, claim: c, compare: {a: {a: x}, b: {a: y}}, expect: a >= b}]", `expect is "a >= b"`},
		{"a side that cannot be", "parameters: {a: [x, y], k: {int: [1, 2], when: {a: x}}}\nhypotheses: [{id: h, claim: c, compare: {a: {a: y, k: 1}, b: {a: x}}, expect: a > b}]", `"k" does not exist where a is y`},
		{"two of one id", "parameters: {a: [x, y]}\nhypotheses: [{id: h, claim: c, compare: {a: {a: x}, b: {a: y}}, expect: a > b}, {id: h, claim: c, compare: {a: {a: y}, b: {a: x}}, expect: a > b}]", `two hypotheses have the id "h"`},
		{"half a hypothesis", "hypotheses: [{id: h}]", `the key "claim" is missing in a hypothesis`},
		{"an endless grid", "parameters: {a: {float: [0, 1]}}\nsearch: {method: grid}", `6:9: a grid over "a" has no end`},
		{"eta without halving", "search: {eta: 3}", `5:9: eta, min_step, brackets and error say how trials are stopped, and nothing stops them`},
		{"brackets of a median", "search: {stop: median, brackets: 3}", `5:9: brackets are of successive halving`},
		{"error of halving", "search: {method: halving, error: 0.1}", `5:9: error is of the rule that extrapolates curves`},
		{"enough without a model", "search: {method: random, enough: 0.1}", `5:9: enough goes by what a model expects, and random has none`},
		{"a start with nothing", "parameters: {a: [x, y]}\nsearch: {start: [{aa: x}]}", `6:19: the search starts with "aa", which is not a parameter; did you mean "a"?`},
		{"a start that cannot be", "parameters: {a: [x, y], k: {int: [1, 2], when: {a: x}}}\nsearch: {start: [{a: x, k: 1}, {a: y, k: 1}]}", `6:42: "k" does not exist where a is y`},
		{"a start out of range", "parameters: {a: {int: [1, 5]}}\nsearch: {start: [{a: 2}, {a: 9}]}", `6:30: "a" is never 9; it is a number from 1 to 5`},
		{"a gate that nobody reads", "gates: [success_rate >]", `5:9: the gate "success_rate >" cannot be read`},
		{"a gate of nothing", "gates: [sucess_rate > 0.5]", `cannot be read`},
		{"a gate that is no condition", "gates: [success_rate]", `cannot be read`},
		{"a broken pattern", "metrics: {m: {stdout: '('}}", `is not a regular expression`},
		{"a pattern without a group", "metrics: {m: {stdout: 'm=.*'}}", `has 0 groups`},
		{"a metric from nowhere", "metrics: {m: {key: a}}", `does not say where to read it`},
		{"one and a half devices", "limits: {attempt: {gpus: 1.5}}", `5:26: limits.attempt.gpus is 1.5; give whole devices`},
		{"a remedy for nothing", "parameters: {a: {int: [1, 9]}}\non_resource: {parameters: {b: b / 2}}", `6:31: on_resource changes "b", which is not a parameter`},
		{"a remedy that nobody reads", "parameters: {a: {int: [1, 9]}}\non_resource: {parameters: {a: a /}}", `on_resource.parameters.a cannot be computed`},
		{"a remedy that makes it worse", "parameters: {a: {int: [1, 9]}}\non_resource: {parameters: {a: a * 2}}", `gives 18, more than a can be`},
		{"a remedy without effect", "on_resource: {}", `on_resource changes nothing`},
		{"a remedy that takes away", "on_resource: {memory: 1GiB}", `on_resource.memory is 1GiB, and limits.attempt.memory is 4GiB already`},
		{"tags", "name2: !!binary x", `unknown key "name2"`},
		{"a second document", "---\nversion: 1", `a second document begins here`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := study.Parse("study.yaml", []byte(least+c.add+"\n"))
			var problems study.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says\n%v\nand not %q", err, c.says)
			}
			checkForm(t, problems)
		})
	}
}

var problemForm = regexp.MustCompile(`^study\.yaml:\d+:\d+: [^\n]+; [^\n]+$`)

// checkForm: every line has file, line, column, what is wrong, and a remedy.
func checkForm(t *testing.T, problems study.Problems) {
	t.Helper()
	for _, p := range problems {
		if !problemForm.MatchString(p.String()) {
			t.Errorf("%q is not file:line:column: what is wrong; what would be right", p)
		}
	}
}

func TestMistakesOfTheProgram(t *testing.T) {
	const rest = "version: 1\nname: n\nobjective: {metric: m, goal: minimize}\nparameters: {a: [x]}\n"
	for program, says := range map[string]string{
		`{command: []}`:                                        "program.command is empty",
		`{files: [a.py]}`:                                      `the key "command" is missing`,
		`{command: ["{b}"]}`:                                   "names {b}, which is neither a parameter nor seed",
		`{command: ["{a"]}`:                                    "without its }",
		`{command: [x], files: [../secret]}`:                   "leaves its folder",
		`{command: [x], files: [/etc/passwd]}`:                 "leaves its folder",
		`{command: [x], inputs: {../x: y}}`:                    "leaves its folder",
		`{command: [x], inputs: {x: {hash: full}}}`:            "does not say where it is",
		`{command: [x], files: [x], inputs: {x: ../data}}`:     "is under program.files already",
		`{command: [x], inputs: {x: {from: y, hash: nearly}}}`: `hash is "nearly"`,
	} {
		_, err := study.Parse("study.yaml", []byte(rest+"program: "+program+"\n"))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// TestAllMistakesAtOnce, in the order of the file.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := study.Parse("study.yaml", []byte(`version: 2
name: Bad Name
program: {command: [x, "{nothing}"], files: [../up]}
objective: {metric: m, goal: best}
parallel: 0
search: {method: gird, seeds: x}
gates: [1 +]
colour: red
`))
	var problems study.Problems
	if !errors.As(err, &problems) || len(problems) < 10 {
		t.Fatalf("%d problems: %v", len(problems), err)
	}
	checkForm(t, problems)
	for i, p := range problems {
		if i > 0 && p.Line < problems[i-1].Line {
			t.Errorf("line %d is behind line %d", p.Line, problems[i-1].Line)
		}
	}
}

func TestNotYAML(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "only a comment": "# nothing\n", "unclosed": "name: [a, b", "a tab": "program:\n\tcommand: x", "a text": "hello", "binary": "\x00\x01\xff",
		"twice": "version: 1\nversion: 1\n",
	} {
		if _, err := study.Parse("study.yaml", []byte(text)); !errors.As(err, new(study.Problems)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBombs: a small file that would become a large tree is refused.
func TestBombs(t *testing.T) {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		laughs += string(c) + ": &" + string(c) + " [*" + strings.Repeat(p+",*", 8) + p + "]\n"
	}
	for name, text := range map[string]string{
		"a billion laughs": least + laughs,
		"laughs in use":    least + "parameters: {p: &a [x, y], q: *a}\ngates: " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\n",
		"deep brackets":    strings.Repeat("[", 30_000),
		"deep braces":      strings.Repeat("{a: ", 9_000),
		"deep dashes":      strings.Repeat("- ", 15_000) + "x",
		"a cycle":          least + "parameters: &p {a: *p}\n",
		"many aliases":     least + "x: &x 1\nparameters: {a: [" + strings.Repeat("*x, ", 200) + "1]}\n",
		"a large file":     least + "#" + strings.Repeat("x", study.MaxSize),
	} {
		_, err := study.Parse("study.yaml", []byte(text))
		if !errors.As(err, new(study.Problems)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.py", "data.csv"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	text := "version: 1\nname: n\nobjective: {metric: m, goal: minimize}\nprogram:\n  command: [x]\n  files: [x.py, y.py, link]\n  inputs: {d: data.csv, e: nowhere.csv}\n  environment: .venv\n"
	if _, err := study.Parse("study.yaml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, err := study.Load("study.yaml", dir, []byte(text))
	for _, says := range []string{
		`6:17: the file "y.py" is not there`, `6:23: "link" leads out of the folder by a link`,
		`7:28: the input "nowhere.csv" is not there`, `the environment ".venv" is not a folder`,
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("it says\n%v\nand not %q", err, says)
		}
	}
}

// TestLinkedInputs: a link among the files to what is an input, or in one, becomes an
// input in the link's place; what is under an input's place is not taken.
func TestLinkedInputs(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "study")
	for name, goal := range map[string]string{"study/code/lib": "../../shared", "study/code/one.txt": "../../shared/in/x.txt", "study/code/out": "../../other"} {
		if err := os.MkdirAll(filepath.Join(top, "shared", "in"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "code"), 0o700), os.MkdirAll(filepath.Join(top, "other"), 0o700)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(filepath.Join(top, "shared/in/x.txt"), nil, 0o600), os.Symlink(goal, filepath.Join(top, name))); err != nil {
			t.Fatal(err)
		}
	}
	text := "version: 1\nname: n\nprogram:\n  command: [\"true\"]\n  files: [code]\n  inputs: {s: ../shared}\n"
	_, err := study.Load("study.yaml", dir, []byte(text))
	if err == nil || !strings.Contains(err.Error(), `"code/out" leads out of the folder by a link to ../../other`) || strings.Contains(err.Error(), "lib") {
		t.Errorf("it says %v", err)
	}
	st, err := study.Load("study.yaml", dir, []byte(strings.Replace(text, "../shared}", "../shared, code/out: ../other}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, in := range st.Program.Inputs {
		places = append(places, in.Path)
	}
	slices.Sort(places)
	if want := []string{"code/lib", "code/one.txt", "code/out", "s"}; !slices.Equal(places, want) {
		t.Errorf("the inputs are at %v, want %v", places, want)
	}
}

// TestPrograms that are not there, or that the kernel will not execute, are
// known before anything runs.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"good.sh": {"#!/bin/sh\n", 0o755}, "plain.sh": {"#!/bin/sh\n", 0o644}, "moon.sh": {"#!/usr/bin/moon -x\n", 0o755}, "empty.sh": {"#!\n", 0o755},
		"binary": {"\x7fELF", 0o755}, "bin/tool": {"#!/bin/sh\n", 0o755}, "venv/bin/own": {"", 0o755},
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	foreign, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	foreign[18], foreign[19] = 243, 0 // e_machine: RISC-V
	if err := os.WriteFile(filepath.Join(dir, "foreign"), foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "env.sh"), []byte("#!/usr/bin/env moon\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, says := range map[string]string{
		"{command: [./foreign], files: [foreign]}": `the program "./foreign" is for another machine, RISCV`,
		"{command: [./env.sh], files: [env.sh]}":   `the interpreter of "./env.sh", moon, is not found in $PATH`,
		"{command: [sh]}":                          "", "{command: [/bin/sh]}": "", "{command: [./good.sh], files: [good.sh]}": "", "{command: [./binary], files: [.]}": "",
		"{command: [bin/tool], files: [bin]}": "", "{command: [own], environment: venv}": "", "{command: [./made], build: [make-it], files: [good.sh]}": `the program "make-it" is not found in $PATH`,
		"{command: [no-such-program]}":               `2:20: the program "no-such-program" is not found in $PATH; install it, or give its path`,
		"{command: [/no/such/program]}":              `the program "/no/such/program" is not there`,
		"{command: [./good.sh]}":                     `the program "./good.sh" is not among program.files; add it there`,
		"{command: [./plain.sh], files: [plain.sh]}": `the program "./plain.sh" is not executable; set its x bit`,
		"{command: [./moon.sh], files: [moon.sh]}":   `the interpreter of "./moon.sh", /usr/bin/moon, is not there`,
		"{command: [./empty.sh], files: [empty.sh]}": `the first line of "./empty.sh" names no interpreter`,
		"{command: [./bin], files: [bin]}":           `the program "./bin" is not a regular file`,
		"{command: [sh], build: [./plain.sh]}":       `the program "./plain.sh" is not among program.files`,
	} {
		_, err := study.Load("study.yaml", dir, []byte("version: 1\nprogram: "+program+"\nname: n\nobjective: {metric: m, goal: minimize}\n"))
		switch {
		case says == "" && err != nil:
			t.Errorf("%s: %v", program, err)
		case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: it says\n%v\nand not %q", program, err, says)
		}
	}
}

// schemaOf compiles the JSON Schema that `ratchet schema` prints.
func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(study.JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("study.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("study.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON reads YAML as an editor hands it to a schema.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	b, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSchema: what Parse reads, the schema allows; what it refuses by form,
// the schema refuses too; and both know the same keys.
func TestSchema(t *testing.T) {
	schema := schemaOf(t)
	good := [][]byte{[]byte(whole), []byte(least), []byte(evaluated), []byte(choices), []byte(weighed), []byte(open)}
	examples, err := filepath.Glob("../examples/*/study.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("examples %v, %v", examples, err)
	}
	for _, e := range append(examples, "../internal/draft/first/study.yaml") {
		b, err := os.ReadFile(e)
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, b)
	}
	for _, text := range good {
		if err := schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("the schema refuses a valid study: %v", err)
		}
	}
	for _, bad := range []string{
		"paralell: 2", "parallel: 0", "parallel: many", "executor: cloud", "search: {metod: grid}", "limits: {attempt: {time: 60}}",
		"limits: {attempt: {memory: 512}}", "parameters: {a: []}", "parameters: {a: {int: [1, 2, 3]}}", "parameters: {seed: [1]}",
		"hypotheses: [{id: h}]", "models: {replay: never}", "models: {allow: [gpt]}", "limits: {run: {calls: many}}", "validation: {seeds: 1}", "retries: {max: -1}", "constraints: [{metric: m}]", "validation: {front: 0}", "objectives: [{metric: m, goal: minimize}]", "limits: {run: {cost: 5 EUR}}",
	} {
		text := []byte(least + bad + "\n")
		if err := schema.Validate(asJSON(t, text)); err == nil {
			t.Errorf("the schema allows %q", bad)
		}
		if _, err := study.Parse("study.yaml", text); err == nil {
			t.Errorf("Parse allows %q", bad)
		}
	}
	var top struct{ Properties map[string]any }
	if err := json.Unmarshal(study.JSONSchema, &top); err != nil {
		t.Fatal(err)
	}
	have := asJSON(t, []byte(whole)).(map[string]any)
	// Halving goes together with neither an evaluation nor several objectives.
	maps.Copy(have, asJSON(t, []byte(evaluated)).(map[string]any))
	maps.Copy(have, asJSON(t, []byte(weighed)).(map[string]any))
	maps.Copy(have, asJSON(t, []byte(open)).(map[string]any))
	for key := range top.Properties {
		if _, ok := have[key]; !ok {
			t.Errorf("the schema has the key %q, which the test of every key does not", key)
		}
	}
}

// FuzzParse: whatever the bytes, Parse returns a whole study or problems with
// places.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(least))
	f.Add([]byte(weighed))
	f.Add([]byte(open))
	f.Add([]byte("a: &a [*a]\n<<: *a\n? [x]\n: y\n- z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := study.Parse("study.yaml", b)
		if err != nil {
			var problems study.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("%v", err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.What == "" || p.Remedy == "" {
					t.Fatalf("%+v", p)
				}
			}
			return
		}
		j, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back study.Study
		if err := json.Unmarshal(j, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || !bytes.Equal(j, again) {
			t.Fatalf("through its JSON form it is another: %s, %s (%v)", j, again, err)
		}
	})
}

// TestPatterns: files may be named by patterns, and a file whose name looks like one is
// itself meant.
func TestPatterns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [folder]*")
	for _, name := range []string{"a.py", "b.py", "data/1.csv", "data/2.csv", "data/x.txt", "odd[1].py"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(files string) (*study.Study, error) {
		return study.Load("study.yaml", dir, []byte("version: 1\nname: n\nprogram: {command: [sh, a.py], files: "+files+"}\nobjective: {metric: m, goal: minimize}\n"))
	}
	s, err := load(`["*.py", "data/?.csv", a.py, "odd[1].py"]`)
	if want := []string{"a.py", "b.py", "odd[1].py", "data/1.csv", "data/2.csv"}; err != nil || !slices.Equal(slices.Compact(s.Program.Files[:5]), want) {
		t.Errorf("%v (%v)", s, err)
	}
	for files, want := range map[string]string{`["*.rs"]`: `3:40: the pattern "*.rs" matches no file`, `["[a.py"]`: `3:40: the pattern "[a.py" cannot be read`} {
		if _, err := load(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", files, err)
		}
	}
}
