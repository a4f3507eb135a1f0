package configfile

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func value(v any) *Value {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	text := string(b)
	if s, ok := v.(string); ok {
		text = s
	}
	return &Value{string(b), text}
}

var values = map[string]*Value{
	"lr": value(1e-7), "n": value(64), "model": value("knn"), "yes": value("yes"), "odd": value(`it's "so": #1`), "layers": value([]any{64, "a"}),
	"on": value(true), "none": value(nil), "opt": value(map[string]any{"b": 2}), "optimizer.lr": value(0.5), "lines": value("a\nb"), "seed": value(7),
}

func fill(t *testing.T, format Format, template string) (string, error) {
	t.Helper()
	parsed, err := Parse(format, []byte(template), append(sorted(values), "absent"))
	if err != nil {
		return "", err
	}
	out, err := parsed.Fill(func(name string) *Value { return values[name] })
	return string(out), err
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		format       Format
		in, out, err string
	}{
		{YAML, "lr: {lr} # {lr}\nname: {model}\nopt: {opt}\n", "lr: 1.0e-7 # 1e-7\nname: \"knn\"\nopt: {\"b\": 2}\n", ""},
		{YAML, "a: \"x{odd}\"\nb: 'x{odd}'\nc: run/{model}/{n}\n", "a: \"xit's \\\"so\\\": #1\"\nb: 'xit''s \"so\": #1'\nc: run/knn/64\n", ""},
		{YAML, "a: {yes}\nb: {none}\nc: {on}\nd: {layers}\n", "a: \"yes\"\nb: null\nc: true\nd: [64, \"a\"]\n", ""},
		{YAML, "a: {absent}\nb: x{absent}\n", "a: null\nb: x\n", ""},
		{YAML, "text: |\n  {odd}\n  ${model} {{model}}\n", "text: |\n  it's \"so\": #1\n  ${model} {model}\n", ""},
		{YAML, "a: {x: {n}, y: [{lr}]}\n", "a: {x: 64, y: [1.0e-7]}\n", ""},
		{YAML, "a: run {odd}\n", "", `line 1, column 8: {odd} cannot be "it's \"so\": #1" here`},
		{YAML, "b: 1\na: \"{mdoel}\"\n", "", "line 2, column 5: there is no parameter \"mdoel\"; did you mean {model}?"},
		{YAML, "b: 1\na: {{n}} {zzzz}\n", "", "line 2, column 10: there is no parameter \"zzzz\"; write {{zzzz}}"},
		{YAML, "--- \na: {n}\n---\nb: {n}\n", "--- \na: 64\n---\nb: 64\n", ""},
		{YAML, "a: [1\nb: {n}\n", "", "this is not YAML"},
		{JSON, `{"lr": {lr}, "s": "{odd}", "o": {"x": {layers}}, "m": {model}}`, `{"lr": 1e-7, "s": "it's \"so\": #1", "o": {"x": [64, "a"]}, "m": "knn"}`, ""},
		{JSON, `{"a": {n}, }`, "", "line 1, column 12: this is not JSON"},
		{JSON, "{\n \"a\": {n} \"b\"}", "", "line 2, column 11: this is not JSON"},
		{TOML, "lr = {lr} # {lines}\n[a]\ns = '{model}'\nt = \"{odd}\"\no = {opt}\n", "lr = 1e-7 # a b\n[a]\ns = 'knn'\nt = \"it's \\\"so\\\": #1\"\no = {\"b\" = 2}\n", ""},
		{TOML, "a = 1\ns = '{odd}'\n", "", "line 2, column 6: {odd} cannot be"},
		{TOML, "a = {none}\n", "", "line 1, column 5: {none} cannot be filled in: TOML has no null"},
		{Text, "--lr={lr} {model} {{x}} ${y}", "--lr=1e-7 knn {x} ${y}", ""},
	} {
		out, err := fill(t, c.format, c.in)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s %q: %q, %v; want %q", c.format, c.in, out, err, c.err)
		case c.err == "" && (err != nil || out != c.out):
			t.Errorf("%s %q:\n%q, %v; want\n%q", c.format, c.in, out, err, c.out)
		}
	}
}

// Whatever text is filled in, the file says just that, or there is an error.
func TestFilledTextsAreRead(t *testing.T) {
	templates := map[Format]string{
		YAML: "a: {x}\nb: \"-{x}-\"\nc: '{x}'\nd: run {x} end\n# {x}\n",
		JSON: `{"a": {x}, "b": "-{x}-"}`,
		TOML: "a = {x}\nb = \"-{x}-\"\nc = '{x}'\n# {x}\n",
	}
	rapid.Check(t, func(t *rapid.T) {
		for format, template := range templates {
			text := rapid.StringMatching(`[ -~\n\tä€]{0,12}`).Draw(t, "text")
			parsed, err := Parse(format, []byte(template), nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := parsed.Fill(func(string) *Value { return value(text) })
			if err != nil {
				if !errors.As(err, new(*Mistake)) {
					t.Fatal(err)
				}
				continue
			}
			tree, err := format.read(out)
			if documents, ok := tree.([]any); ok {
				tree = documents[0]
			}
			got, _ := tree.(map[string]any)
			if err != nil || got["a"] != text || got["b"] != "-"+text+"-" {
				t.Fatalf("%s: %q became %q: %v, %v", format, text, out, got, err)
			}
		}
	})
}

func TestLay(t *testing.T) {
	set := func(pairs ...any) map[string]Value {
		out := map[string]Value{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = *value(pairs[i+1])
		}
		return out
	}
	for _, c := range []struct {
		format   Format
		in       string
		values   map[string]Value
		out, err string
	}{
		{
			YAML, "# base\noptimizer: # which\n  name: adam   # a text\n  lr: 1e-3\nlayers:\n  - size: 1\n  - size: 2\nkeep: 010\n",
			set("optimizer.lr", 1e-7, "optimizer.name", "s g: d", "layers.1.size", 5),
			"# base\noptimizer: # which\n  name: \"s g: d\" # a text\n  lr: 1.0e-7\nlayers:\n  - size: 1\n  - size: 5\nkeep: 010\n", "",
		},
		{YAML, "a: [1, 2]\nb:\n  c: 1\n  d: 2\n", set("a", []any{3}, "b", map[string]any{"x": nil}), "a: [3]\nb: {\"x\": null}\n", ""},
		{YAML, "x: &x\n  lr: 1\ny:\n  <<: *x\n  n: 2\n", set("x.lr", 3), "", "would say something else"},
		{YAML, "optimizer.lr: 1\n", set("optimizer.lr", 2), "optimizer.lr: 2\n", ""},
		{JSON, "{\n  \"a\": {\"b\": 1, \"l\": [1, 2]},\n  \"z\": 1e3\n}\n", set("a.b", "x", "a.l.0", 9), "{\n  \"a\": {\"b\": \"x\", \"l\": [9, 2]},\n  \"z\": 1e3\n}\n", ""},
		{TOML, "a = 1\n[o]\nlr = 0.1\nday = 2026-01-02\n", set("o.lr", 2e-5, "a", []any{1}), "a = [1]\n\n[o]\nday = 2026-01-02\nlr = 0.00002\n", ""},
		{TOML, "a = 1\n", set("a", nil), "", "TOML has no null"},
	} {
		b, err := ParseBase(c.format, []byte(c.in))
		var out []byte
		if err == nil {
			out, err = b.Lay(c.values)
		}
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s %q: %q, %v; want %q", c.format, c.in, out, err, c.err)
		case c.err == "" && (err != nil || string(out) != c.out):
			t.Errorf("%s %q:\n%q, %v; want\n%q", c.format, c.in, out, err, c.out)
		}
	}
	b, err := ParseBase(YAML, []byte("a:\n  b: 1\n  c: [1]\nd: [{e: 1}]\n"))
	if err != nil || !reflect.DeepEqual(b.Keys(), []string{"a.b", "a.c", "d.0.e"}) || b.Has("a.x") || !b.Has("a") {
		t.Errorf("%v, %v", b.Keys(), err)
	}
}
