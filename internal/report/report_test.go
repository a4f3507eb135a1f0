package report_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"ratchet/internal/engine"
	"ratchet/internal/report"
	"ratchet/internal/shim"
)

func TestMain(m *testing.M) {
	shim.Main()
	goleak.VerifyTestMain(m)
}

// hostileStudy is a study whose texts, and whose program's words, metrics and
// artifacts, would do harm wherever they came through raw.
const hostileStudy = `version: 1
name: hostile
question: "<script>alert('question')</script> | $${jndi:ldap://x} **bold** [link](http://evil.example)"
program: {command: [sh, x.sh, "{kind}", "{seed}"], files: [x.sh]}
objective: {metric: "<b>score</b>", goal: maximize}
parameters: {kind: ["<i>good</i>", "=cmd()", fails]}
hypotheses:
  - id: h
    claim: "<img src=x onerror=alert(1)> is | better"
    compare: {a: {kind: "<i>good</i>"}, b: {kind: "=cmd()"}}
    expect: a > b
search: {method: grid, experiments: 3}
validation: {seeds: 6}
gates: ["success_rate > 0.5"]
limits: {attempt: {time: 30s, memory: 64MiB, disk: 10MiB}}
parallel: 2
`

const hostileProgram = `
printf '\033]0;title\007 <script>alert("out")</script>\n'
if [ "$1" = fails ]; then printf '<script>alert("err")</script> \033[31m [x](javascript:y) \\input{/etc/passwd}\n' >&2; exit 1; fi
[ "$1" = "=cmd()" ] && base=1 || base=5
printf '{"<b>score</b>": %d, "</script><script>alert(2)</script>": 1, "=HYPERLINK(1)": 2}\n' $((base + $2 % 3)) >> "$RATCHET_METRICS"
for step in 1 2 3; do printf '{"step": %d, "<b>score</b>": %d}\n' $step $((base + $2 % 3)) >> "$RATCHET_METRICS"; done
echo x > "$RATCHET_OUTPUT/<script>.txt"
mkdir "$RATCHET_OUTPUT/pictures"
mkdir "$RATCHET_OUTPUT/_script_-8fe325aa.txt"; echo x > "$RATCHET_OUTPUT/_script_-8fe325aa.txt/x"
echo '<svg onload="alert(3)"/>' > "$RATCHET_OUTPUT/pictures/no.png"
echo iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg== | base64 -d > "$RATCHET_OUTPUT/pictures/\"onerror=alert(4) dot.png"
`

// hostileFront is the hostile study with several objectives.
var hostileFront = strings.NewReplacer(
	"objective: {metric: \"<b>score</b>\", goal: maximize}", `objectives: [{metric: "<b>score</b>", goal: maximize}, {metric: "</script><script>alert(2)</script>", goal: minimize}]
constraints: [{metric: "=HYPERLINK(1)", at_most: 1e9}]`,
	"method: grid, experiments: 3", "method: nsga, experiments: 3",
).Replace(hostileStudy)

// published runs a hostile study and returns its output folder.
func published(t *testing.T, text string) (string, *report.Results) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"study.yaml": text, "x.sh": hostileProgram} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.Open(filepath.Join(dir, "home"), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	out := filepath.Join(dir, "out")
	ctx := context.Background()
	run, err := e.Create(ctx, filepath.Join(dir, "study.yaml"), []byte(text), engine.RunOptions{Output: out})
	if err == nil {
		_, err = e.Drive(ctx, run, engine.DriveOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Results(ctx, run)
	if err != nil {
		t.Fatal(err)
	}
	return out, r
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReport(t *testing.T) {
	out, r := published(t, hostileStudy)
	t.Run("results.json is by its schema", func(t *testing.T) { bySchema(t, read(t, out, "results.json")) })
	t.Run("the page has no element of a program", func(t *testing.T) { harmlessPage(t, read(t, out, "report.html")) })
	t.Run("every link leads somewhere", func(t *testing.T) { links(t, out) })
	t.Run("Markdown is plain text", func(t *testing.T) {
		harmlessMarkdown(t, string(read(t, out, "report.md")), "## Best configuration", "plots/progress.svg")
	})
	t.Run("plots are pictures", func(t *testing.T) { pictures(t, filepath.Join(out, "plots"), 5) })
	t.Run("what programs left has its own names", func(t *testing.T) { gallery(t, out) })
	t.Run("LaTeX is text", func(t *testing.T) { latex(t, out) })
	t.Run("tables are tables", func(t *testing.T) { tables(t, out, r) })
	t.Run("the digest covers what was found", func(t *testing.T) { digest(t, r) })
	t.Run("nothing is filled in", func(t *testing.T) {
		for _, x := range r.Experiments {
			for _, trial := range x.Trials {
				if trial.Outcome != "succeeded" && len(trial.Metrics) > 0 || x.Parameters["kind"] == "fails" && (x.Value != nil || trial.Outcome != "program") {
					t.Errorf("%+v", trial)
				}
			}
		}
	})
}

// TestReportOfFront: the same holds of several objectives.
func TestReportOfFront(t *testing.T) {
	out, r := published(t, hostileFront)
	bySchema(t, read(t, out, "results.json"))
	harmlessPage(t, read(t, out, "report.html"))
	links(t, out)
	harmlessMarkdown(t, string(read(t, out, "report.md")), "## Pareto front", "## Best compromise", "plots/front.svg", "plots/hypervolume.svg")
	pictures(t, filepath.Join(out, "plots"), 6)
	latex(t, out)
	f := r.Front
	if f == nil || len(f.Search) != 1 || f.Fresh == nil || len(f.Fresh.Members) != 2 || f.Hypervolume[2] <= 0 || r.Best.Experiment != f.Search[0] {
		t.Fatalf("the front is %+v, the best %+v", f, r.Best)
	}
	if m := f.Fresh.Members[0]; !m.Found || m.N != 6 || m.Kept[0].Verdict != "supported" || *m.Values[1].Mean != 1 {
		t.Errorf("%+v", m)
	}
	if table := string(read(t, out, "tables", "front.csv")); !strings.HasPrefix(table, "experiment,found_by_search,place") {
		t.Errorf("the table is %q", table)
	}
}

func bySchema(t *testing.T, b []byte) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.JSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("results.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("results.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
	v.(map[string]any)["status"] = "splendid"
	if err := schema.Validate(v); err == nil {
		t.Error("the schema allows any status")
	}
}

// harmlessPage walks the parsed page: no scripts, no event handlers, nothing
// that is fetched from elsewhere, and the hostile texts are there as text.
func harmlessPage(t *testing.T, page []byte) {
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for n := range doc.Descendants() {
		switch n.Type {
		case html.TextNode:
			text.WriteString(n.Data)
		case html.ElementNode:
			switch n.Data {
			case "script", "i", "iframe", "object", "link":
				t.Errorf("there is a <%s>", n.Data)
			}
			if n.Data == "img" && !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool {
				return a.Key == "src" && strings.HasPrefix(a.Val, "data:image/png;base64,")
			}) {
				t.Error("there is an image of somewhere else")
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || (a.Key == "href" || a.Key == "src") && (strings.Contains(strings.TrimPrefix(a.Val, "data:image/png;base64,"), ":") || strings.HasPrefix(a.Val, "//")) {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		}
	}
	for _, want := range []string{"<script>alert('question')</script>", "<img src=x onerror=alert(1)> is | better", "<b>score</b>", `<script>alert("err")</script> \x1b[31m`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if bytes.ContainsRune(page, 0x1b) {
		t.Error("an escape sequence came through")
	}
}

// links checks every link of the page: to a place in it, or to a file.
func links(t *testing.T, out string) {
	page := read(t, out, "report.html")
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var hrefs []string
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			switch a.Key {
			case "id":
				if ids[a.Val] && n.Namespace == "" {
					t.Errorf("two elements have the id %q", a.Val)
				}
				ids[a.Val] = true
			case "href":
				hrefs = append(hrefs, a.Val)
			}
		}
	}
	evidence := 0
	for _, h := range hrefs {
		if id, ok := strings.CutPrefix(h, "#"); ok {
			if !ids[id] {
				t.Errorf("%s leads nowhere", h)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(out, h)); err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(h, "evidence/") {
			evidence++
		}
	}
	if evidence < 20 {
		t.Errorf("only %d links lead to evidence", evidence)
	}
}

func harmlessMarkdown(t *testing.T, text string, parts ...string) {
	if tag := regexp.MustCompile(`(^|[^\\])<[a-z/]`).FindString(text); tag != "" {
		t.Errorf("there is a tag, %q", tag)
	}
	if link := regexp.MustCompile(`[^\\]\]\((http|javascript)`).FindString(text); link != "" {
		t.Errorf("there is a link, %q", link)
	}
	if strings.ContainsRune(text, 0x1b) {
		t.Error("an escape sequence came through")
	}
	for _, want := range append(parts, "# hostile", "## Hypotheses", "## Gates", "## Failures") {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
}

// pictures: every plot is well-formed XML without a script.
func pictures(t *testing.T, dir string, n int) {
	files, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil || len(files) != n {
		t.Fatalf("plots %v (%v)", files, err)
	}
	for _, f := range files {
		if pdf := read(t, strings.TrimSuffix(f, ".svg")+".pdf"); !bytes.HasPrefix(pdf, []byte("%PDF-")) {
			t.Errorf("%s is no PDF beside it", f)
		}
		d := xml.NewDecoder(bytes.NewReader(read(t, f)))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			if e, ok := token.(xml.StartElement); ok && slices.Contains([]string{"script", "b", "foreignObject", "a", "image"}, e.Name.Local) {
				t.Errorf("%s has a <%s>", f, e.Name.Local)
			}
		}
	}
}

// gallery: pictures are on the page if they are what their names say, and every file has
// the name that its program gave it, as far as that is harmless.
func gallery(t *testing.T, out string) {
	page := string(read(t, out, "report.html"))
	if n := strings.Count(page, `<img src="data:image/png;base64,`); n < 10 {
		t.Errorf("the page has %d pictures", n)
	}
	var names []string
	err := filepath.WalkDir(filepath.Join(out, "artifacts"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !slices.Contains(names, filepath.Base(path)) {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	if err != nil || len(names) != 3 || !slices.Contains(names, "no.png") {
		t.Errorf("the names are %q (%v)", names, err)
	}
}

// latex: a program's words are no commands.
func latex(t *testing.T, out string) {
	for _, name := range []string{"trials", "hypotheses", "pairs"} {
		text := string(read(t, out, "tables", name+".tex"))
		body := strings.NewReplacer(`\\`, "", `\hline`, "", `\begin{tabular}`, "", `\end{tabular}`, "").Replace(text)
		for _, m := range regexp.MustCompile(`\\[a-z]+`).FindAllString(body, -1) {
			if !slices.Contains([]string{`\input`, `\textless`, `\textgreater`, `\textbar`, `\textbackslash`, `\textasciitilde`, `\dots`, `\pm`}, m) || m == `\input` && !strings.HasPrefix(text, "% \\input") {
				t.Errorf("%s.tex has %s", name, m)
			}
		}
		if strings.Count(text, `\begin`) != 1 || !strings.Contains(text, `\end{tabular}`) {
			t.Errorf("%s.tex is\n%s", name, text)
		}
	}
}

func tables(t *testing.T, out string, r *report.Results) {
	rows, err := csv.NewReader(bytes.NewReader(read(t, out, "tables", "trials.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	trials := 0
	for _, x := range r.Experiments {
		trials += len(x.Trials)
	}
	if len(rows) != trials+1 {
		t.Errorf("%d rows for %d trials", len(rows), trials)
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a spreadsheet would compute %q", cell)
			}
		}
	}
}

func digest(t *testing.T, r *report.Results) {
	if !r.CheckDigest() {
		t.Fatal("the digest does not fit")
	}
	same := *r
	same.Run, same.Usage.Elapsed, same.Journal.Seq = "another", 99, 7
	if !same.CheckDigest() {
		t.Error("the digest depends on the run's name, time or length of journal")
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*report.Results){
		"a metric":     func(r *report.Results) { r.Experiments[0].Trials[0].Metrics["<b>score</b>"]++ },
		"an outcome":   func(r *report.Results) { r.Experiments[0].Trials[0].Outcome = "timeout" },
		"a verdict":    func(r *report.Results) { r.Hypotheses[0].Verdict = "refuted" },
		"an effect":    func(r *report.Results) { *r.Hypotheses[0].Effect += 1e-9 },
		"a parameter":  func(r *report.Results) { r.Best.Parameters["kind"] = "other" },
		"a gate":       func(r *report.Results) { r.Gates[0].Passed = !r.Gates[0].Passed },
		"a seed":       func(r *report.Results) { r.Experiments[0].Trials[0].Seed++ },
		"the question": func(r *report.Results) { r.Question += "?" },
	} {
		var changed report.Results
		if err := json.Unmarshal(b, &changed); err != nil {
			t.Fatal(err)
		}
		if change(&changed); changed.CheckDigest() {
			t.Errorf("%s was changed and the digest still fits", name)
		}
	}
}
