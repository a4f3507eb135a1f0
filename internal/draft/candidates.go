package draft

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"ratchet/internal/research"
	"ratchet/study"
)

// candidate is what could be a metric.
type candidate struct {
	name    string
	pattern string // that finds it in the output; "": the program reports it itself
	line    string // where it was seen last, for a person
	more    *bool  // more is better; nil: not known
}

func (c candidate) goal() string {
	if c.more != nil && !*c.more {
		return study.Minimize
	}
	return study.Maximize
}

// choose gives the last candidate whose name says what it measures, or else the last.
func choose(all []candidate) candidate {
	for _, c := range slices.Backward(all) {
		if c.more != nil {
			return c
		}
	}
	return all[len(all)-1]
}

const number = `[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?`

var (
	// namedForm is a name and a number: Final accuracy: 0.93, loss=0.1, "f1": 0.8, and
	// rows of tables, │ val_acc │ 0.9 │.
	namedForm = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_./@-]*(?: [A-Za-z][A-Za-z0-9_./@-]*){0,3})["']?\s*[=:|│]\s*(` + number + `)`)
	// spacedForm is a name and a number with nothing but space between.
	spacedForm = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_./@-]*)\s+(` + number + `)`)
	colours    = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")
	parts      = regexp.MustCompile(`[A-Za-z]+[0-9]*`)
)

// Words that say what a name measures: whether more of it is better, or that it is no
// metric.
var (
	better = []string{
		"accuracy", "acc", "f1", "auc", "auroc", "auprc", "ap", "map", "precision", "recall", "score", "reward", "return", "returns", "bleu", "rouge", "r2", "iou", "miou", "dice",
		"psnr", "ssim", "sharpe", "ndcg", "mrr", "elo", "success", "correct", "kappa", "mcc", "throughput",
	}
	worse = []string{
		"loss", "err", "error", "errors", "rmse", "mse", "mae", "mape", "ppl", "perplexity", "wer", "cer", "fid", "nll", "bpb", "bpc", "cost", "regret", "logloss", "deviance", "latency",
	}
	never = []string{
		"epoch", "epochs", "step", "steps", "iter", "iters", "iteration", "iterations", "batch", "batches", "time", "seconds", "sec", "secs", "s", "ms", "elapsed", "eta", "lr", "rate",
		"seed", "size", "shape", "params", "parameters", "memory", "mem", "gpu", "gpus", "cpu", "cpus", "version", "port", "pid", "it", "samples", "examples", "tokens", "n", "num", "rank",
		"workers", "total", "line", "file", "v", "http", "https", "row", "rows", "fold",
	}
)

// measures says whether more of what has a name is better; ok false: it is no metric.
func measures(name string) (more *bool, ok bool) {
	words := parts.FindAllString(strings.ToLower(name), -1)
	for _, w := range slices.Backward(words) { // the last word says what the others tell apart
		switch {
		case slices.Contains(better, w):
			return new(true), true
		case slices.Contains(worse, w):
			return new(false), true
		case slices.Contains(never, w):
			return nil, false
		}
	}
	return nil, len(words) > 0
}

// mostCandidates bounds how many metrics are proposed.
const mostCandidates = 12

// candidatesIn are the metrics that a program's output may have in it, those that were
// printed last behind the others, each once.
func candidatesIn(output []byte) (out []candidate) {
	output = colours.ReplaceAll(output, nil)
	for line := range bytes.FieldsFuncSeq(output, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if len(line) > 2000 || !utf8.Valid(line) {
			continue
		}
		found := namedForm.FindAllSubmatchIndex(line, -1)
		found = append(found, spacedForm.FindAllSubmatchIndex(line, -1)...)
		for i, m := range found {
			name := string(line[m[2]:m[3]])
			more, ok := measures(name)
			spaced := !bytes.ContainsAny(line[m[3]:m[4]], "=:|│")
			if !ok || spaced && more == nil || follows(line[m[5]:]) || i > 20 {
				continue
			}
			c := candidate{
				name:    strings.ToLower(strings.Join(strings.Fields(name), "_")),
				pattern: `\b` + strings.Join(strings.Fields(regexp.QuoteMeta(name)), `\s+`) + `["'']?\s*[=:|│]?\s*([-+.0-9eE]+)`,
				line:    research.Printable(strings.TrimSpace(string(line)), 60), more: more,
			}
			c.pattern = strings.ReplaceAll(c.pattern, `["'']`, `["']`)
			out = slices.DeleteFunc(out, func(o candidate) bool { return o.name == c.name })
			out = append(out, c)
		}
	}
	return out[max(0, len(out)-mostCandidates):]
}

// follows reports whether what stands behind a number makes it a part of something else:
// a version, a time, a share of a whole.
func follows(rest []byte) bool {
	if len(rest) == 0 {
		return false
	}
	c := rest[0]
	return c == '/' || c == ':' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9'
}

// reported are the metrics that a program has reported itself.
func reported(names []string) (out []candidate) {
	for _, name := range names {
		if more, ok := measures(name); ok {
			line, _ := json.Marshal(map[string]string{name: "…"}) // of texts
			out = append(out, candidate{name: name, line: string(line), more: more})
		}
	}
	return out
}

var (
	choiceForm  = regexp.MustCompile(`--([A-Za-z][\w-]*)[ =]\{([^{}\n]+)\}`)
	hydraGroups = regexp.MustCompile(`(?ms)^== Configuration groups ==\n.*?\n\n(.*?)\n\n`)
	hydraGroup  = regexp.MustCompile(`(?m)^([\w/@.-]+): ([\w., -]+)$`)
)

// choicesIn are the values that a text of help has for parameters: argparse's
// {adam,sgd}, and Hydra's groups.
func choicesIn(help string) map[string][]string {
	out := map[string][]string{}
	put := func(name, values string) {
		for _, v := range strings.Split(values, ",") {
			name := strings.Trim(notName.ReplaceAllString(name, "_"), "._")
			if v = strings.TrimSpace(v); v != "" && !slices.Contains(out[name], v) {
				out[name] = append(out[name], v)
			}
		}
	}
	for _, m := range choiceForm.FindAllStringSubmatch(help, -1) {
		put(m[1], m[2])
	}
	if groups := hydraGroups.FindStringSubmatch(help); groups != nil {
		for _, m := range hydraGroup.FindAllStringSubmatch(groups[1], -1) {
			put(m[1], m[2])
		}
	}
	return out
}

// missingForms name what a program has not found.
var missingForms = []*regexp.Regexp{
	regexp.MustCompile(`(?:No such file or directory|can't open file|cannot open file|FileNotFoundError)[^'"\n]*['"]([^'"\n]+)['"]`),
	regexp.MustCompile(`ENOENT: no such file or directory, \w+ '([^'\n]+)'`),
	regexp.MustCompile(`rb_sysopen - (\S+)`),
	regexp.MustCompile(`(?m)^(?:\S+: )+['"]?([^:'"\s]+)['"]?: No such file or directory`),
	regexp.MustCompile(`(?i)(?:file|path|directory|dataset) ['"]?([\w./~-]+)['"]? (?:does not exist|not found)`),
}

var moduleForm = regexp.MustCompile(`(?:No module named|Cannot find module|cannot import name) '([^'\n]+)'`)

// missingIn are the paths and modules that a program's last words say it has not found.
func missingIn(words string) (paths, modules []string) {
	for _, re := range missingForms {
		for _, m := range re.FindAllStringSubmatch(words, -1) {
			path := strings.TrimPrefix(strings.TrimPrefix(m[1], "/ratchet/work/"), "./")
			if !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	for _, m := range moduleForm.FindAllStringSubmatch(words, -1) {
		if !slices.Contains(modules, m[1]) {
			modules = append(modules, m[1])
		}
	}
	return paths, modules
}
