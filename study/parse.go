package study

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"ratchet/internal/yamlfile"
)

// form is what a name can look like. Its length is not part of the regular
// expression, which would be slow to compile at every start.
type form struct {
	pattern *regexp.Regexp
	most    int // bytes
}

func (f form) allows(s string) bool { return len(s) <= f.most && f.pattern.MatchString(s) }

var (
	nameForm      = form{regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`), 40}
	parameterForm = form{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`), 64}
	metricForm    = form{regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`), 128}
)

// Parse reads a study file. file is its name for messages. The error is
// Problems, every mistake of the file in its order.
func Parse(file string, data []byte) (*Study, error) { return parse(file, data).result() }

// Load is Parse, and checks besides that the files which the study names are
// there. dir is the study file's folder.
func Load(file, dir string, data []byte) (*Study, error) {
	p := parse(file, data)
	p.checkOnDisk(dir)
	return p.result()
}

func parse(file string, data []byte) *parsing {
	p := &parsing{Reader: yamlfile.Reader{File: file, MaxSize: MaxSize}, s: defaults(), at: map[string]ast.Node{}}
	if top := p.Root(data); top != nil {
		p.study(top)
	}
	return p
}

func (p *parsing) result() (*Study, error) {
	if len(p.Problems) > 0 {
		return nil, p.Problems.Sorted()
	}
	p.s.surprises = p.Warnings.Sorted()
	return p.s, nil
}

// parsing is one call of Parse: the file's tree becoming a study. at keeps
// where things were read, for the checks that see the study as a whole.
type parsing struct {
	yamlfile.Reader
	s       *Study
	at      map[string]ast.Node
	pending []later
}

func (p *parsing) study(top ast.Node) {
	s := p.s
	seen := p.Fields(top, "the study", map[string]func(ast.Node){
		"version": func(n ast.Node) {
			if s.Version = p.Whole(n, "version", 0, 1<<30); s.Version != Version {
				p.Complain(n, fmt.Sprintf("this is version %d of the study file", s.Version), "this release reads version %d", Version)
			}
		},
		"name": func(n ast.Node) {
			if s.Name = p.Text(n, "name"); !nameForm.allows(s.Name) {
				p.Complain(n, fmt.Sprintf("the name is %q", yamlfile.Shorten(s.Name)), "use up to 40 lower-case letters, digits and hyphens; it becomes part of file names")
			}
		},
		"question":    func(n ast.Node) { s.Question = strings.TrimSpace(p.Text(n, "question")) },
		"program":     p.program,
		"objective":   p.objective,
		"objectives":  p.objectives,
		"constraints": p.constraints,
		"metrics":     p.metrics,
		"parameters":  p.parameters,
		"hypotheses":  p.hypotheses,
		"search":      p.search,
		"keep":        p.keep,
		"validation":  p.validation,
		"gates":       p.gates,
		"limits":      p.limits,
		"retries": func(n ast.Node) {
			p.Fields(n, "retries", map[string]func(ast.Node){
				"max": func(n ast.Node) { s.Retries.Max = p.Whole(n, "retries.max", 0, 100) },
			})
		},
		"on_resource": func(n ast.Node) {
			p.at["on_resource"] = n
			p.onResource(n)
		},
		"checkpoints": func(n ast.Node) {
			c := &s.Checkpoints
			p.Fields(n, "checkpoints", map[string]func(ast.Node){
				"experiments": func(n ast.Node) { c.Experiments = p.Whole(n, "checkpoints.experiments", 0, 1_000_000) },
				"every":       p.interval(&c.Every, "checkpoints.every"),
				"attempt":     p.interval(&c.Attempt, "checkpoints.attempt"),
			})
		},
		"evaluation": p.evaluation,
		"executor":   func(n ast.Node) { s.Executor = p.Choice(n, "executor", "local", "slurm", "kubernetes") },
		"parallel":   func(n ast.Node) { s.Parallel = p.Whole(n, "parallel", 1, 10_000) },
		"model":      func(n ast.Node) { s.Model = p.Text(n, "model") },
		"models":     p.models,
		"tools":      p.tools,
	})
	if len(p.Problems) > 0 && len(seen) == 0 {
		return
	}
	once := !seen["objective"] && !seen["objectives"] && !seen["constraints"] && !seen["parameters"] && !seen["hypotheses"] && !seen["search"] && !seen["validation"] && !seen["metrics"]
	if once { // the command runs once
		s.Search = Search{Method: Grid, Experiments: 1, Seeds: 1}
	}
	for _, key := range []string{"version", "name", "program", "objective"} {
		if !seen[key] && (key != "objective" || !once && !seen["objectives"]) {
			p.Complain(top, fmt.Sprintf("the key %q is missing", key), "%s", map[string]string{
				"version":   "add `version: 1`",
				"name":      "add `name: my-study`",
				"program":   "add `program: {command: [python3, train.py, --seed, \"{seed}\"], files: [train.py]}`",
				"objective": "add `objective: {metric: accuracy, goal: maximize}`",
			}[key])
		}
	}
	p.check(top, seen)
}

func (p *parsing) program(n ast.Node) {
	g := &p.s.Program
	p.at["program"] = n
	seen := p.Fields(n, "program", map[string]func(ast.Node){
		"command": func(n ast.Node) {
			p.at["command"] = n
			if g.Command = p.Texts(n, "program.command"); len(g.Command) == 0 || g.Command[0] == "" {
				p.Complain(n, "program.command is empty", "give the program and its arguments, [python3, train.py]")
			}
		},
		"files": func(n ast.Node) {
			for _, item := range p.List(n, "program.files") {
				g.Files = append(g.Files, p.inside(item, p.Text(item, "a file"), "a program's file"))
			}
		},
		"editable": func(n ast.Node) {
			p.at["editable"] = n
			for _, item := range p.List(n, "program.editable") {
				g.Editable = append(g.Editable, p.inside(item, p.Text(item, "a file"), "a program's file"))
			}
		},
		"inputs": func(n ast.Node) { g.Inputs = p.inputs(n, "program.inputs") },
		"render": func(n ast.Node) { g.Render = p.written(n, "program.render") },
		"config": func(n ast.Node) { g.Config = p.written(n, "program.config") },
		"build": func(n ast.Node) {
			p.at["build"] = n
			g.Build = p.Texts(n, "program.build")
		},
		"environment": func(n ast.Node) {
			g.Environment = p.Text(n, "program.environment")
		},
		"env": p.env,
		"outputs": func(n ast.Node) {
			for _, item := range p.List(n, "program.outputs") {
				g.Outputs = append(g.Outputs, p.inside(item, p.Text(item, "an output"), "an output"))
			}
		},
		"checkpoint": func(n ast.Node) { g.Checkpoint = p.inside(n, p.Text(n, "program.checkpoint"), "the checkpoint folder") },
	})
	if !seen["command"] {
		p.Complain(n, `the key "command" is missing in program`, "add `command: [python3, train.py]`")
	}
}

func (p *parsing) inputs(n ast.Node, where string) (out []Input) {
	for _, e := range p.Mapping(n, where) {
		in := Input{Path: p.inside(e.At, e.Key, "an input's place")}
		if _, nested := p.Resolve(e.Value).(*ast.MappingNode); nested {
			seen := p.Fields(e.Value, "an input", map[string]func(ast.Node){
				"from": func(n ast.Node) { in.Source = p.Text(n, "from") },
				"hash": func(n ast.Node) { in.Hash = p.Choice(n, "hash", "full") },
			})
			if !seen["from"] {
				p.Complain(e.At, fmt.Sprintf("the input %q does not say where it is", e.Key), "write `%s: {from: ../data/file, hash: full}`", e.Key)
			}
		} else {
			in.Source = p.Text(e.Value, "an input's source")
		}
		if in.Source == "" {
			p.Complain(e.Value, fmt.Sprintf("the input %q has an empty source", e.Key), "name a file or folder")
		}
		p.at["input "+in.Path] = e.Value
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// inside refuses a path that leaves the folder it is relative to.
func (p *parsing) inside(at ast.Node, path, what string) string {
	clean := filepath.ToSlash(filepath.Clean(path))
	if path == "" || !filepath.IsLocal(path) || strings.ContainsAny(path, "\x00\n") {
		p.Complain(at, fmt.Sprintf("%s is %q, which leaves its folder", what, yamlfile.Shorten(path)), "write a relative path without .. ; data from elsewhere is declared under program.inputs")
	}
	p.at["file "+clean] = at
	return clean
}

func (p *parsing) metricName(n ast.Node, what string) string {
	s := p.Text(n, what)
	if !metricForm.allows(s) {
		p.Complain(n, fmt.Sprintf("%s is %q", what, yamlfile.Shorten(s)), "use 1 to 128 printable characters")
	}
	return s
}

func (p *parsing) metrics(n ast.Node) {
	p.s.Metrics = map[string]Extract{}
	for _, m := range p.Mapping(n, "metrics") {
		var e Extract
		where := "metrics." + m.Key
		p.Fields(m.Value, where, map[string]func(ast.Node){
			"stdout": func(n ast.Node) {
				e.Stdout = p.Text(n, where+".stdout")
				if re, err := regexp.Compile(e.Stdout); err != nil {
					p.Complain(n, fmt.Sprintf("%s is not a regular expression: %v", where, err), "see https://pkg.go.dev/regexp/syntax")
				} else if re.NumSubexp() != 1 {
					p.Complain(n, fmt.Sprintf("%s has %d groups", where, re.NumSubexp()), "put ( ) around the number, and around nothing else")
				}
			},
			"file": func(n ast.Node) { e.File = p.inside(n, p.Text(n, where+".file"), "a metrics file") },
			"key":  func(n ast.Node) { e.Key = p.Text(n, where+".key") },
			"use":  func(n ast.Node) { e.Use = p.Choice(n, where+".use", "last", "best", "mean") },
		})
		if (e.Stdout == "") == (e.File == "") || (e.File == "") != (e.Key == "") {
			if e.Use == "" || e.Stdout != "" || e.File != "" || e.Key != "" {
				p.Complain(m.At, fmt.Sprintf("%s does not say where to read it", where), "write {stdout: 'loss=(\\S+)'} or {file: out.json, key: test.acc}")
			}
		}
		p.s.Metrics[m.Key] = e
	}
}

func (p *parsing) search(n ast.Node) {
	s := &p.s.Search
	p.at["search"] = n
	seen := p.Fields(n, "search", map[string]func(ast.Node){
		"method": func(n ast.Node) {
			s.Method = p.Choice(n, "search.method", Auto, GP, TPE, CMA, NSGA, Halving, Random, LatinHypercube, Sobol, Grid, Tree, Open)
		},
		"experiments": func(n ast.Node) { s.Experiments = p.Whole(n, "search.experiments", 1, 1_000_000) },
		"seeds":       func(n ast.Node) { s.Seeds = p.Whole(n, "search.seeds", 1, 1000) },
		"stop":        func(n ast.Node) { s.Stop = p.Choice(n, "search.stop", StopHalving, StopMedian, StopCurve) },
		"eta":         func(n ast.Node) { s.Eta = p.Whole(n, "search.eta", 2, 100) },
		"min_step":    func(n ast.Node) { s.MinStep = p.Whole(n, "search.min_step", 1, 1<<30) },
		"brackets":    func(n ast.Node) { s.Brackets = p.Whole(n, "search.brackets", 1, 10) },
		"error":       func(n ast.Node) { s.Error = p.Number(n, "search.error", 0.0001, 0.5) },
		"enough":      func(n ast.Node) { s.Enough = p.Number(n, "search.enough", 0, math.MaxFloat64) },
		"learn_from":  func(n ast.Node) { s.LearnFrom = p.Texts(n, "search.learn_from") },
		"start": func(n ast.Node) {
			for i, n := range p.List(n, "search.start") {
				s.Start = append(s.Start, p.some(n, fmt.Sprintf("search.start[%d]", i), "the search starts with"))
			}
		},
	})
	for key := range seen {
		p.s.asked["search."+key] = true
	}
	if models := []string{Auto, GP, TPE, Halving, Open}; len(s.LearnFrom) > 0 && !slices.Contains(models, s.Method) {
		p.Complain(n, fmt.Sprintf("%s learns from nothing", s.Method), "set method to auto, gp, tpe or halving, or remove learn_from")
	}
	if models := []string{Auto, GP, Halving, Open}; s.Enough != 0 && !slices.Contains(models, s.Method) {
		p.Complain(n, fmt.Sprintf("enough goes by what a model expects, and %s has none", s.Method), "set method to auto, gp or halving, or remove it")
	}
	switch stops := s.Stops(); {
	case stops != "":
		if s.Eta == 0 {
			s.Eta = map[bool]int{true: 3, false: 2}[stops == StopHalving]
		}
		s.MinStep = max(s.MinStep, 1)
		if stops != StopHalving && s.Brackets != 0 {
			p.Complain(n, "brackets are of successive halving", "set stop: halving, or remove them")
		}
		if stops != StopCurve && s.Error != 0 {
			p.Complain(n, "error is of the rule that extrapolates curves", "set stop: curve, or remove it")
		}
		if stops == StopCurve && s.Error == 0 {
			s.Error = 0.05
		}
	case s.Eta != 0 || s.MinStep != 0 || s.Brackets != 0 || s.Error != 0:
		p.Complain(n, "eta, min_step, brackets and error say how trials are stopped, and nothing stops them", "set stop: halving, median or curve, or remove them")
	}
}

func (p *parsing) validation(n ast.Node) {
	v := &p.s.Validation
	p.at["validation"] = n
	p.Fields(n, "validation", map[string]func(ast.Node){
		"seeds":      func(n ast.Node) { v.Seeds = p.Whole(n, "validation.seeds", 2, 1000) },
		"alpha":      func(n ast.Node) { v.Alpha = p.Number(n, "validation.alpha", 0.0001, 0.5) },
		"front":      func(n ast.Node) { v.Front = p.Whole(n, "validation.front", 1, 100) },
		"correction": func(n ast.Node) { v.Correction = p.Choice(n, "validation.correction", "holm", "bonferroni", "none") },
	})
}

// interval reads a time that is zero for never, or at least a second.
func (p *parsing) interval(to *Duration, what string) func(ast.Node) {
	return func(n ast.Node) {
		before := len(p.Problems)
		if *to = yamlfile.Unit(&p.Reader, n, what, ParseDuration); *to > 0 && *to < Duration(time.Second) && len(p.Problems) == before {
			p.Complain(n, fmt.Sprintf("%s is %s", what, *to), "give at least 1s, or 0s for never")
		}
	}
}

// positive reads a time that is not zero.
func (p *parsing) positive(to *Duration, what string) func(ast.Node) {
	return func(n ast.Node) {
		before := len(p.Problems)
		if *to = yamlfile.Unit(&p.Reader, n, what, ParseDuration); *to <= 0 && len(p.Problems) == before {
			p.Complain(n, what+" is zero", "give a time, like 60s")
		}
	}
}

// attemptLimits reads the limits of one process, and gives the keys that are there.
func (p *parsing) attemptLimits(n ast.Node, where string, a *AttemptLimits) map[string]bool {
	duration := func(to *Duration, what string) func(ast.Node) {
		return func(n ast.Node) { *to = yamlfile.Unit(&p.Reader, n, what, ParseDuration) }
	}
	amount := func(to *Bytes, what string, least Bytes) func(ast.Node) {
		return func(n ast.Node) {
			before := len(p.Problems)
			if *to = yamlfile.Unit(&p.Reader, n, what, ParseBytes); *to < least && len(p.Problems) == before {
				p.Complain(n, fmt.Sprintf("%s is %s", what, *to), "give at least %s", least)
			}
		}
	}
	return p.Fields(n, where, map[string]func(ast.Node){
		"time":       p.positive(&a.Time, where+".time"),
		"grace":      duration(&a.Grace, where+".grace"),
		"stall":      duration(&a.Stall, where+".stall"),
		"memory":     amount(&a.Memory, where+".memory", 1<<20),
		"gpu_memory": amount(&a.GPUMemory, where+".gpu_memory", 1<<20),
		"disk":       amount(&a.Disk, where+".disk", 1<<20),
		"output":     amount(&a.Output, where+".output", 1<<10),
		"cpus":       func(n ast.Node) { a.CPUs = p.Number(n, where+".cpus", 0.01, 4096) },
		"gpus": func(n ast.Node) {
			if a.GPUs = p.Number(n, where+".gpus", 0, 1024); a.GPUs > 1 && a.GPUs != math.Trunc(a.GPUs) {
				p.Complain(n, fmt.Sprintf("%s.gpus is %v", where, a.GPUs), "give whole devices, or a share of one below 1")
			}
		},
		"processes": func(n ast.Node) { a.Processes = p.Whole(n, where+".processes", 1, 1<<20) },
		"network":   func(n ast.Node) { a.Network = p.Choice(n, where+".network", NetworkNone, NetworkHost) },
	})
}

func (p *parsing) limits(n ast.Node) {
	l := &p.s.Limits
	p.Fields(n, "limits", map[string]func(ast.Node){
		"attempt": func(n ast.Node) {
			for key := range p.attemptLimits(n, "limits.attempt", &l.Attempt) {
				p.s.asked["limits.attempt."+key] = true
			}
		},
		"stage": func(n ast.Node) {
			fields := p.spend(&l.Stage.Spend, "limits.stage")
			fields["time"] = p.positive(&l.Stage.Time, "limits.stage.time")
			p.Fields(n, "limits.stage", fields)
		},
		"model": func(n ast.Node) {
			l.Model = map[string]Spend{}
			for _, e := range p.Mapping(n, "limits.model") {
				var s Spend
				p.Fields(e.Value, "limits.model."+e.Key, p.spend(&s, "limits.model."+e.Key))
				p.modelName(e.At, e.Key)
				l.Model[e.Key] = s
			}
		},
		"run": func(n ast.Node) {
			p.Fields(n, "limits.run", map[string]func(ast.Node){
				"time":        p.positive(&l.Run.Time, "limits.run.time"),
				"cost":        func(n ast.Node) { l.Run.Cost = yamlfile.Unit(&p.Reader, n, "limits.run.cost", ParseMoney) },
				"tokens":      func(n ast.Node) { l.Run.Tokens = int64(p.Whole(n, "limits.run.tokens", 0, 1<<50)) },
				"calls":       func(n ast.Node) { l.Run.Calls = int64(p.Whole(n, "limits.run.calls", 0, 1<<50)) },
				"experiments": func(n ast.Node) { l.Run.Experiments = p.Whole(n, "limits.run.experiments", 1, 1_000_000) },
			})
		},
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
