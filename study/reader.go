package study

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds that keep a small file from becoming a large tree.
const (
	maxDepth   = 12
	maxNodes   = 20_000
	maxAliases = 64
)

// reader walks a YAML tree and collects what is wrong with it, so that a
// person sees all mistakes at once.
type reader struct {
	file     string
	problems Problems
	anchors  map[string]ast.Node
	aliases  int
	nodes    int
}

// entry is one key of a mapping.
type entry struct {
	key   string
	at    ast.Node // the key, for its position
	value ast.Node
}

func (r *reader) complain(at ast.Node, what, remedy string, args ...any) {
	line, column := position(at)
	r.complainAt(line, column, what, fmt.Sprintf(remedy, args...))
}

func (r *reader) complainAt(line, column int, what, remedy string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, What: what, Remedy: remedy})
}

// position is where a node begins. A block mapping's own token is its first
// colon, so its first key is asked instead.
func position(n ast.Node) (line, column int) {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return position(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(m.Key)
	case *ast.SequenceNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return position(m.Values[0])
		}
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1, 1
	}
	p := n.GetToken().Position
	return p.Line, p.Column
}

// root parses the bytes and returns the document's top node, or nil after
// complaining.
func (r *reader) root(data []byte) ast.Node {
	if len(data) > MaxSize {
		r.complainAt(1, 1, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("a study has at most %d; move long text and data into input files", MaxSize))
		return nil
	}
	if line, ok := tooDeep(data); !ok {
		r.complainAt(line, 1, "the file is nested too deeply", fmt.Sprintf("a study has at most %d levels", maxDepth))
		return nil
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		line, column, what := 1, 1, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			what = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil && t.Position != nil {
				line, column = t.Position.Line, t.Position.Column
			}
		}
		r.complainAt(line, column, "this is not YAML: "+what, "check indentation, colons and quotes on this line and the one above")
		return nil
	}
	if len(file.Docs) > 1 && file.Docs[1].Body != nil {
		r.complain(file.Docs[1].Body, "a second document begins here", "a study file holds one; remove the --- line")
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		r.complainAt(1, 1, "the file is empty", "begin with `version: 1`; `ratchet init` writes a first study")
		return nil
	}
	return file.Docs[0].Body
}

// tooDeep bounds the nesting before the parser recurses into it. It counts
// brackets in texts too, so its bound is far above maxDepth's.
func tooDeep(data []byte) (line int, ok bool) {
	const bound = 8 * maxDepth
	flow, dashes, line := 0, 0, 1
	for _, c := range data {
		switch c {
		case '[', '{':
			flow++
		case ']', '}':
			flow = max(flow-1, 0)
		case '-', '?':
			dashes++
		case '\n':
			line++
			dashes = 0
		case ' ':
		default:
			dashes = 0
		}
		if flow > bound || dashes > bound {
			return line, false
		}
	}
	return 0, true
}

// resolve follows anchors and aliases and counts what it passes.
func (r *reader) resolve(n ast.Node) ast.Node {
	for {
		if r.nodes++; r.nodes > maxNodes {
			if r.nodes == maxNodes+1 {
				r.complain(n, "the file unfolds into too many values", "a study has at most %d; remove repeated aliases", maxNodes)
			}
			return nil
		}
		switch v := n.(type) {
		case *ast.AnchorNode:
			if r.anchors == nil {
				r.anchors = map[string]ast.Node{}
			}
			r.anchors[v.Name.String()] = v.Value
			n = v.Value
		case *ast.AliasNode:
			if r.aliases++; r.aliases > maxAliases {
				r.complain(n, "too many aliases", "a study has at most %d; write the values out", maxAliases)
				return nil
			}
			target, known := r.anchors[v.Value.String()]
			if !known || contains(target, n) {
				r.complain(n, fmt.Sprintf("the alias *%s stands before its anchor, or inside it", v.Value.String()), "write the value out")
				return nil
			}
			n = target
		case *ast.TagNode:
			r.complain(n, "tags are not read", "remove %s", v.GetToken().Value)
			return nil
		default:
			return n
		}
	}
}

func contains(tree, n ast.Node) bool {
	found := false
	ast.Walk(visitor(func(x ast.Node) bool { found = found || x == n; return !found }), tree)
	return found
}

type visitor func(ast.Node) bool

func (v visitor) Visit(n ast.Node) ast.Visitor {
	if v(n) {
		return v
	}
	return nil
}

// mapping returns the entries of a mapping, or nil after complaining.
func (r *reader) mapping(n ast.Node, what string) []entry {
	at := n
	var values []*ast.MappingValueNode
	switch m := r.resolve(n).(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	case nil:
		return nil
	default:
		r.complain(at, what+" is "+describe(m), "write a mapping, `key: value`")
		return nil
	}
	entries := make([]entry, 0, len(values))
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			r.complain(v.Key, "merge keys are not read", "write the keys out")
			continue
		}
		key := v.Key.(ast.Node)
		if s, ok := r.resolve(key).(*ast.StringNode); ok {
			entries = append(entries, entry{s.Value, key, v.Value})
		} else if text := v.Key.GetToken(); text != nil {
			entries = append(entries, entry{text.Value, key, v.Value})
		}
	}
	return entries
}

// fields calls the handler of each key and complains about unknown ones.
func (r *reader) fields(n ast.Node, what string, handlers map[string]func(ast.Node)) map[string]bool {
	seen := map[string]bool{}
	for _, e := range r.mapping(n, what) {
		handle, ok := handlers[e.key]
		if !ok {
			known := sortedKeys(handlers)
			remedy := "known here: " + strings.Join(known, ", ")
			if near := nearest(e.key, known); near != "" {
				remedy = fmt.Sprintf("did you mean %q? %s", near, remedy)
			}
			r.complain(e.at, fmt.Sprintf("unknown key %q in %s", e.key, what), "%s", remedy)
			continue
		}
		seen[e.key] = true
		if _, null := e.value.(*ast.NullNode); null || e.value == nil {
			r.complain(e.at, fmt.Sprintf("%q has no value", e.key), "give it one or remove the line")
			continue
		}
		handle(e.value)
	}
	return seen
}

func (r *reader) list(n ast.Node, what string) []ast.Node {
	switch s := r.resolve(n).(type) {
	case *ast.SequenceNode:
		return s.Values
	case nil:
	default:
		r.complain(n, what+" is "+describe(s), "write a list, [one, two] or lines that begin with -")
	}
	return nil
}

// scalar is a string, bool or float64.
func (r *reader) scalar(n ast.Node, what string) (any, bool) {
	switch v := r.resolve(n).(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.BoolNode:
		return v.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return r.float(n, what)
	case nil:
	default:
		r.complain(n, what+" is "+describe(v), "write a text, a number, true or false")
	}
	return nil, false
}

func (r *reader) text(n ast.Node, what string) string {
	switch v := r.resolve(n).(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value
	case nil:
	default:
		r.complain(n, what+" is "+describe(v), "write a text")
	}
	return ""
}

// exponent is a number that YAML 1.2 knows and the parser takes for a text.
var exponent = regexp.MustCompile(`^[-+]?\d+(\.\d*)?[eE][-+]?\d+$`)

func (r *reader) float(n ast.Node, what string) (float64, bool) {
	var x float64
	switch v := r.resolve(n).(type) {
	case *ast.IntegerNode:
		switch i := v.Value.(type) {
		case int64:
			x = float64(i)
		case uint64:
			x = float64(i)
		}
		if math.Abs(x) > 1<<53 {
			r.complain(n, what+" is too large a whole number", "stay within ±2^53, where floating point is exact")
			return 0, false
		}
		return x, true
	case *ast.FloatNode:
		return v.Value, true
	case *ast.StringNode:
		if exponent.MatchString(v.Value) {
			if x, err := strconv.ParseFloat(v.Value, 64); err == nil {
				return x, true
			}
		}
		r.complain(n, fmt.Sprintf("%s is the text %q", what, shorten(v.Value)), "write a finite number")
		return 0, false
	case nil:
		return 0, false
	default:
		r.complain(n, what+" is "+describe(v), "write a finite number")
		return 0, false
	}
}

func (r *reader) number(n ast.Node, what string, low, high float64) float64 {
	x, ok := r.float(n, what)
	if ok && (x < low || x > high) {
		r.complain(n, fmt.Sprintf("%s is %v", what, x), "it must be from %v to %v", low, high)
	}
	return x
}

func (r *reader) whole(n ast.Node, what string, low, high int) int {
	x, ok := r.float(n, what)
	switch {
	case !ok:
	case x != math.Trunc(x):
		r.complain(n, fmt.Sprintf("%s is %v", what, x), "write a whole number")
	case x < float64(low) || x > float64(high):
		r.complain(n, fmt.Sprintf("%s is %v", what, x), "it must be from %d to %d", low, high)
	default:
		return int(x)
	}
	return low
}

func (r *reader) choice(n ast.Node, what string, words ...string) string {
	s := r.text(n, what)
	for _, w := range words {
		if s == w {
			return s
		}
	}
	r.complain(n, fmt.Sprintf("%s is %q", what, shorten(s)), "it must be %s", oneOf(words))
	return words[0]
}

func (r *reader) texts(n ast.Node, what string) []string {
	var out []string
	for _, item := range r.list(n, what) {
		out = append(out, r.text(item, "an item of "+what))
	}
	return out
}

func unit[T any](r *reader, n ast.Node, what string, parse func(string) (T, error)) T {
	v, err := parse(r.text(n, what))
	if err != nil {
		message, remedy, _ := strings.Cut(err.Error(), "; ")
		if remedy == "" {
			remedy = "see docs/study.md for the units"
		}
		r.complain(n, what+": "+message, "%s", remedy)
	}
	return v
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.InfinityNode, *ast.NanNode:
		return "not a finite number"
	}
	return "a text"
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}
