package yamlfile

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
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

// Reader walks a YAML tree and collects what is wrong with it, so that a
// person sees all mistakes at once.
type Reader struct {
	File     string
	MaxSize  int // bytes; 0: no bound
	Problems Problems
	Warnings Problems // what is allowed and may surprise
	anchors  map[string]ast.Node
	aliases  int
	nodes    int
}

// Entry is one key of a mapping.
type Entry struct {
	Key   string
	At    ast.Node // the key, for its position
	Value ast.Node
}

// Complain notes a mistake at a node: what is wrong, and what would be right.
func (r *Reader) Complain(at ast.Node, what, remedy string, args ...any) {
	line, column := position(at)
	r.ComplainAt(line, column, what, fmt.Sprintf(remedy, args...))
}

// Warn notes what may not be meant: what is read, and what to write instead.
func (r *Reader) Warn(at ast.Node, what, remedy string) {
	line, column := position(at)
	r.Warnings = append(r.Warnings, Problem{File: r.File, Line: line, Column: column, What: what, Remedy: remedy})
}

// ComplainAt notes a mistake at a line and column, from 1.
func (r *Reader) ComplainAt(line, column int, what, remedy string) {
	r.Problems = append(r.Problems, Problem{File: r.File, Line: line, Column: column, What: what, Remedy: remedy})
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

// Root parses the bytes and returns the document's top node, or nil after
// complaining.
func (r *Reader) Root(data []byte) ast.Node {
	if r.MaxSize > 0 && len(data) > r.MaxSize {
		r.ComplainAt(1, 1, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("at most %d are read; move long text and data into files of their own", r.MaxSize))
		return nil
	}
	if line, ok := tooDeep(data); !ok {
		r.ComplainAt(line, 1, "the file is nested too deeply", fmt.Sprintf("a file has at most %d levels", maxDepth))
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
		r.ComplainAt(line, column, "this is not YAML: "+what, "check indentation, colons and quotes on this line and the one above")
		return nil
	}
	if len(file.Docs) > 1 && file.Docs[1].Body != nil {
		r.Complain(file.Docs[1].Body, "a second document begins here", "one is read; remove the --- line")
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		r.ComplainAt(1, 1, "the file is empty", "write at least one key")
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

// Resolve follows anchors and aliases and counts what it passes.
func (r *Reader) Resolve(n ast.Node) ast.Node {
	for {
		if r.nodes++; r.nodes > maxNodes {
			if r.nodes == maxNodes+1 {
				r.Complain(n, "the file unfolds into too many values", "a file has at most %d; remove repeated aliases", maxNodes)
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
				r.Complain(n, "too many aliases", "a file has at most %d; write the values out", maxAliases)
				return nil
			}
			target, known := r.anchors[v.Value.String()]
			if !known || contains(target, n) {
				r.Complain(n, fmt.Sprintf("the alias *%s stands before its anchor, or inside it", v.Value.String()), "write the value out")
				return nil
			}
			n = target
		case *ast.TagNode:
			r.Complain(n, "tags are not read", "remove %s", v.GetToken().Value)
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

// Mapping returns the entries of a mapping, or nil after complaining.
func (r *Reader) Mapping(n ast.Node, what string) []Entry {
	at := n
	var values []*ast.MappingValueNode
	switch m := r.Resolve(n).(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	case nil:
		return nil
	default:
		r.Complain(at, what+" is "+Describe(m), "write a mapping, `key: value`")
		return nil
	}
	entries := make([]Entry, 0, len(values))
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			r.Complain(v.Key, "merge keys are not read", "write the keys out")
			continue
		}
		key := v.Key.(ast.Node)
		if s, ok := r.Resolve(key).(*ast.StringNode); ok {
			entries = append(entries, Entry{s.Value, key, v.Value})
		} else if text := v.Key.GetToken(); text != nil {
			entries = append(entries, Entry{text.Value, key, v.Value})
		}
	}
	return entries
}

// Fields calls the handler of each key and complains about unknown ones.
func (r *Reader) Fields(n ast.Node, what string, handlers map[string]func(ast.Node)) map[string]bool {
	seen := map[string]bool{}
	for _, e := range r.Mapping(n, what) {
		handle, ok := handlers[e.Key]
		if !ok {
			known := slices.Sorted(maps.Keys(handlers))
			remedy := "known here: " + strings.Join(known, ", ")
			if near := Nearest(e.Key, known); near != "" {
				seen[near] = true // one mistake, said once
				remedy = fmt.Sprintf("did you mean %q? %s", near, remedy)
			}
			r.Complain(e.At, fmt.Sprintf("unknown key %q in %s", e.Key, what), "%s", remedy)
			continue
		}
		seen[e.Key] = true
		if _, null := e.Value.(*ast.NullNode); null || e.Value == nil {
			r.Complain(e.At, fmt.Sprintf("%q has no value", e.Key), "give it one or remove the line")
			continue
		}
		handle(e.Value)
	}
	return seen
}

// List returns the items of a list, or nil after complaining.
func (r *Reader) List(n ast.Node, what string) []ast.Node {
	switch s := r.Resolve(n).(type) {
	case *ast.SequenceNode:
		return s.Values
	case nil:
	default:
		r.Complain(n, what+" is "+Describe(s), "write a list, [one, two] or lines that begin with -")
	}
	return nil
}

// Text is a text, or a number or boolean as it is written.
func (r *Reader) Text(n ast.Node, what string) string {
	switch v := r.Resolve(n).(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value
	case nil:
	default:
		r.Complain(n, what+" is "+Describe(v), "write a text")
	}
	return ""
}

// Number is a number within bounds.
func (r *Reader) Number(n ast.Node, what string, low, high float64) float64 {
	x, ok := r.Float(n, what)
	if ok && (x < low || x > high) {
		r.Complain(n, fmt.Sprintf("%s is %v", what, x), "it must be from %v to %v", low, high)
	}
	return x
}

// Whole is a whole number within bounds.
func (r *Reader) Whole(n ast.Node, what string, low, high int) int {
	x, ok := r.Float(n, what)
	switch {
	case !ok:
	case x != math.Trunc(x):
		r.Complain(n, fmt.Sprintf("%s is %v", what, x), "write a whole number")
	case x < float64(low) || x > float64(high):
		r.Complain(n, fmt.Sprintf("%s is %v", what, x), "it must be from %d to %d", low, high)
	default:
		return int(x)
	}
	return low
}

// Choice is one of some words.
func (r *Reader) Choice(n ast.Node, what string, words ...string) string {
	s := r.Text(n, what)
	for _, w := range words {
		if s == w {
			return s
		}
	}
	r.Complain(n, fmt.Sprintf("%s is %q", what, Shorten(s)), "it must be %s", OneOf(words))
	return words[0]
}

// Texts is a list of texts.
func (r *Reader) Texts(n ast.Node, what string) []string {
	var out []string
	for _, item := range r.List(n, what) {
		out = append(out, r.Text(item, "an item of "+what))
	}
	return out
}

// Unit is a text that parse reads. Its error says what is wrong and, behind a
// semicolon, what would be right.
func Unit[T any](r *Reader, n ast.Node, what string, parse func(string) (T, error)) T {
	v, err := parse(r.Text(n, what))
	if err != nil {
		message, remedy, _ := strings.Cut(err.Error(), "; ")
		if remedy == "" {
			remedy = "see docs/study.md for the units"
		}
		r.Complain(n, what+": "+message, "%s", remedy)
	}
	return v
}

// Describe says what kind of value a node is.
func Describe(n ast.Node) string {
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

// Shorten cuts a text for a message.
func Shorten(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}
