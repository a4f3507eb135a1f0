package study_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ratchet/study"
)

func TestUnits(t *testing.T) {
	for in, want := range map[string]time.Duration{"60s": time.Minute, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "250ms": 250 * time.Millisecond} {
		if got, err := study.ParseDuration(in); err != nil || got != study.Duration(want) {
			t.Errorf("%s is %s (%v)", in, got, err)
		}
	}
	for in, want := range map[string]int64{"1GiB": 1 << 30, "500 MB": 500_000_000, "1.5KiB": 1536, "7B": 7, "2kB": 2000, "1TiB": 1 << 40} {
		if got, err := study.ParseBytes(in); err != nil || int64(got) != want {
			t.Errorf("%s is %d (%v)", in, got, err)
		}
	}
	for in, want := range map[string]int64{"5 USD": 5_000_000, "0.50USD": 500_000, "0.000001 USD": 1} {
		if got, err := study.ParseMoney(in); err != nil || int64(got) != want {
			t.Errorf("%s is %d (%v)", in, got, err)
		}
	}
	for _, in := range []string{"", "60", "d", "-1s", "1 hour", "99999999d", "1e9s"} {
		if got, err := study.ParseDuration(in); err == nil {
			t.Errorf("%q is the time span %s", in, got)
		}
	}
	for _, in := range []string{"", "1", "-1GiB", "1 gibibyte", "99999999TiB", "1XB"} {
		if got, err := study.ParseBytes(in); err == nil {
			t.Errorf("%q is %s", in, got)
		}
	}
	for _, in := range []string{"", "5", "$5", "5 EUR", "-1 USD", "0.0000001 USD"} {
		if got, err := study.ParseMoney(in); err == nil {
			t.Errorf("%q is %s", in, got)
		}
	}
}

// TestUnitsComeBack: what is written for a person is read as the same.
func TestUnitsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := study.Duration(rapid.Int64Range(0, int64(10_000*time.Hour)).Draw(t, "d"))
		if got, err := study.ParseDuration(d.String()); err != nil || got != d {
			t.Errorf("%s is read as %s (%v)", d, got, err)
		}
		m := study.Money(rapid.Int64Range(0, 1e12).Draw(t, "m"))
		if got, err := study.ParseMoney(m.String()); err != nil || got != m {
			t.Errorf("%s is read as %s (%v)", m, got, err)
		}
		b := study.Bytes(rapid.Int64Range(0, 1<<50).Draw(t, "b"))
		j, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var back study.Bytes
		if err := json.Unmarshal(j, &back); err != nil || back != b {
			t.Errorf("%d is read as %d (%v)", b, back, err)
		}
	})
}

func TestArguments(t *testing.T) {
	s := &study.Study{
		Program:    study.Program{Command: []string{"p", "--seed", "{seed}", "--k", "{k}", "--l2={l2}", "{{literal}}", "-v", "{model}"}},
		Parameters: []study.Parameter{{Name: "k"}, {Name: "l2"}, {Name: "model"}},
	}
	for _, c := range []struct {
		p    study.Params
		want string
	}{
		{study.Params{"k": 5.0, "model": "knn"}, "p --seed 7 --k 5 {literal} -v knn"},
		{study.Params{"l2": 0.1, "model": true}, "p --seed 7 --l2=0.1 {literal} -v true"},
		{study.Params{"k": 1.0, "l2": 1e-5}, "p --seed 7 --k 1 --l2=0.00001 {literal}"},
	} {
		got, err := s.Arguments(c.p, 7)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%v gives %q (%v), want %q", c.p, got, err, c.want)
		}
	}
}

const choices = `version: 1
name: choices
program: {command: [x, "{optimizer.lr}", "{batch-size}", "{layers}"]}
objective: {metric: m, goal: minimize}
parameters:
  optimizer.lr: [1e-4, .5, 5., 1.5E+3, -1e-4, +7, -0]
  big: [9007199254740993, 18446744073709551615, -9223372036854775808, 9007199254740992, 1e17]
  words: [010, 1_000, yes, "on", 12:30, 0b11, "1e-4", 2001-01-01, y]
  radix: [0x10, 0o17]
  batch-size: [1e3, 2.5e6]
  layers: [[64, 64], [128], {b: 1.50, a: [x, ~]}, null, true, False]
  dropout: {values: [0, 0.1], when: {layers: [[128]]}}
hypotheses:
  - {id: deep, claim: deep is better, compare: {a: {layers: [64, 64]}, b: {layers: [128]}}, expect: a > b}
  - {id: small, claim: a small rate is better, compare: {a: {optimizer.lr: 0.0001}, b: {optimizer.lr: 0.5}}, expect: a > b}
`

// TestChoices: numbers are those of YAML 1.2, exact; lists, objects and null are
// values too. What a program gets is JSON, and comes back from a journal as it was.
func TestChoices(t *testing.T) {
	s, err := study.Parse("study.yaml", []byte(choices))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"optimizer.lr": "0.0001 0.5 5 1500 -0.0001 7 0",
		"big":          "9007199254740993 18446744073709551615 -9223372036854775808 9007199254740992 100000000000000000",
		"words":        "010 1_000 yes on 12:30 0b11 1e-4 2001-01-01 y",
		"radix":        "16 15",
		"batch-size":   "1000 2500000",
		"layers":       `[64,64] [128] {"a":["x",null],"b":1.5} null true false`,
	} {
		d, _ := s.Parameter(name)
		var got []string
		for _, v := range d.Values {
			got = append(got, study.FormatValue(v))
			p := study.Params{name: v}
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var read study.Params
			if err := json.Unmarshal(b, &read); err != nil || read[name] != v || !d.Allows(read[name]) {
				t.Errorf("%s comes back as %#v (%v), and was %#v", b, read[name], err, v)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is %s, want %s", name, strings.Join(got, " "), want)
		}
	}
	if w := strings.Join(s.Warnings(), "\n"); strings.Count(w, "older YAML reads it otherwise") != 5 || !strings.Contains(w, `study.yaml:8:11: a value of parameters.words is the text "010"`) {
		t.Errorf("warnings:\n%s", w)
	}
	layers, _ := s.Parameter("layers")
	dropout, _ := s.Parameter("dropout")
	if p := (study.Params{"layers": layers.Values[1]}); !dropout.Active(p) || !p.Matches(s.Hypotheses[0].B) || p.Matches(s.Hypotheses[0].A) {
		t.Errorf("%v is not what it is", p)
	}
	args, err := s.Arguments(study.Params{"optimizer.lr": 1e-4, "batch-size": 1e3, "layers": layers.Values[0]}, 1)
	if err != nil || strings.Join(args, " ") != "x 0.0001 1000 [64,64]" {
		t.Errorf("the command is %q (%v)", args, err)
	}
	if v := study.Variable("optimizer.lr-max"); v != "RATCHET_PARAM_OPTIMIZER_LR_MAX" {
		t.Error(v)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again study.Study
	if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(again.Parameters, s.Parameters) {
		t.Errorf("of a journal the study has %v (%v), and had %v", again.Parameters, err, s.Parameters)
	}
}

func TestGates(t *testing.T) {
	facts := study.Facts{SuccessRate: 0.9, Best: map[string]any{"accuracy": 0.95}, Experiments: 10, Supported: 1, Reproduces: true, Verdict: map[string]string{"h": "supported"}}
	for gate, want := range map[study.Gate]string{
		"success_rate >= 0.8":                          "passes",
		"success_rate >= 0.95":                         "fails",
		"best.accuracy >= 0.9 and reproduces":          "passes",
		"best.loss < 1":                                "cannot be known",
		`verdict["h"] == "supported" && supported > 0`: "passes",
		`verdict["other"] == "supported"`:              "fails",
		"best.accuracy >= 0.9 or best.loss < 1":        "passes",
	} {
		passed, err := gate.Eval(facts)
		got := map[bool]string{true: "passes", false: "fails"}[passed]
		if err != nil {
			got = "cannot be known"
			if passed {
				t.Errorf("%s cannot be known and passes", gate)
			}
		}
		if got != want {
			t.Errorf("%s %s (%v), want %s", gate, got, err, want)
		}
	}
}

func TestParameter(t *testing.T) {
	stepped := study.Parameter{Kind: study.Float, Low: 0, High: 1, Step: 0.25}
	if n := stepped.Size(); n != 5 || stepped.At(4) != 1.0 {
		t.Errorf("%d values, the last one is %v", n, stepped.At(4))
	}
	whole := study.Parameter{Kind: study.Int, Low: -2, High: 2}
	if whole.Size() != 5 || whole.At(0) != -2.0 || whole.Allows(0.5) || !whole.Allows(2.0) || whole.Allows(3.0) || whole.Allows("1") {
		t.Error("a whole number from -2 to 2 is something else")
	}
	if n := (study.Parameter{Kind: study.Float, Low: 0, High: 1}).Size(); n != 0 {
		t.Errorf("a range of floats has %d values", n)
	}
	for v, want := range map[any]string{1.0: "1", -3.0: "-3", 0.1: "0.1", 1e-7: "1e-7", 1e20: "100000000000000000000", 1e21: "1e+21", 9007199254740992.0: "9007199254740992", true: "true", "x": "x"} {
		if got := study.FormatValue(v); got != want {
			t.Errorf("%v is written %q", v, got)
		}
	}
}
