package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/pelletier/go-toml/v2"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// Base is a file whose keys are overridden.
type Base struct {
	format Format
	source []byte
	tree   any
}

// ParseBase reads a file whose keys are to be overridden. The error is a *Mistake.
func ParseBase(format Format, source []byte) (*Base, error) {
	b := &Base{format: format, source: source}
	if format == Text {
		return nil, &Mistake{1, 1, "this is neither YAML nor JSON nor TOML by its name", "name it .yaml, .json or .toml, or fill it with program.render"}
	}
	if len(source) > MaxSize {
		return nil, &Mistake{1, 1, fmt.Sprintf("the file has %d bytes", len(source)), fmt.Sprintf("at most %d are read", MaxSize)}
	}
	tree, err := format.read(source)
	if err != nil {
		m := format.place(source, err)
		m.Remedy = "correct it"
		return nil, m
	}
	b.tree = tree
	if documents, several := tree.([]any); format == YAML && several {
		if len(documents) != 1 {
			return nil, &Mistake{1, 1, fmt.Sprintf("the file has %d documents", len(documents)), "keep one"}
		}
		b.tree = documents[0]
	}
	if _, ok := b.tree.(map[string]any); !ok {
		return nil, &Mistake{1, 1, "the file has no keys", "write a mapping"}
	}
	return b, nil
}

// Has reports whether there is a key: by itself, or as a path of keys and, into
// lists, numbers from 0, separated by dots.
func (b *Base) Has(name string) bool { return b.path(name) != nil }

// Keys are the keys of all values that are neither mappings themselves nor lists with
// such, as Has takes them.
func (b *Base) Keys() (out []string) {
	visit("", b.tree, func(key string, _ any) { out = append(out, key) })
	return out
}

// With are the keys that have a value.
func (b *Base) With(value string) (out []string) {
	visit("", b.tree, func(key string, v any) {
		if v == value && b.Has(key) {
			out = append(out, key)
		}
	})
	return out
}

func visit(key string, tree any, with func(key string, v any)) {
	below := func(name string) string { return strings.TrimPrefix(key+"."+name, ".") }
	switch v := tree.(type) {
	case map[string]any:
		for _, name := range sorted(v) {
			visit(below(name), v[name], with)
		}
		return
	case []any:
		if slices.ContainsFunc(v, func(item any) bool { _, nested := item.(map[string]any); return nested }) {
			for i, item := range v {
				visit(below(strconv.Itoa(i)), item, with)
			}
			return
		}
	}
	with(key, tree)
}

// path leads to a key; nil: there is none of the name.
func (b *Base) path(name string) []string {
	if m := b.tree.(map[string]any); has(m, name) {
		return []string{name}
	}
	at := b.tree
	var path []string
	for segment := range strings.SplitSeq(name, ".") {
		switch v := at.(type) {
		case map[string]any:
			if !has(v, segment) {
				return nil
			}
			at = v[segment]
		case []any:
			i, err := strconv.Atoi(segment)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			at = v[i]
		default:
			return nil
		}
		path = append(path, segment)
	}
	return path
}

func has(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}

// Lay is the file with values in the places of those of its keys. All else stays as it
// is; comments and order too, but for TOML's.
func (b *Base) Lay(values map[string]Value) ([]byte, error) {
	decoded, want := map[string]any{}, b.tree
	for _, name := range sorted(values) {
		path := b.path(name)
		if path == nil {
			return nil, fmt.Errorf("there is no key %s", name)
		}
		v, err := values[name].decoded()
		if err != nil {
			return nil, err
		}
		decoded[name] = v
		want = set(want, path, normal(v))
	}
	out, err := b.lay(decoded)
	if err != nil {
		return nil, err
	}
	got, err := b.format.read(out)
	if b.format == YAML && err == nil {
		got = got.([]any)[0]
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		return nil, fmt.Errorf("the file would say something else besides (%v); simplify it where its keys are overridden, or fill a template with program.render", firstDifference("", want, got))
	}
	return out, nil
}

func (b *Base) lay(values map[string]any) ([]byte, error) {
	switch b.format {
	case JSON:
		out := b.source
		for _, name := range sorted(values) {
			text, err := JSON.write(values[name])
			if err != nil {
				return nil, err
			}
			segments := b.path(name)
			for i, s := range segments {
				segments[i] = gjson.Escape(s)
			}
			if out, err = sjson.SetRawBytes(out, strings.Join(segments, "."), []byte(text)); err != nil {
				return nil, err
			}
		}
		return out, nil
	case TOML:
		tree := map[string]any{}
		if err := toml.Unmarshal(b.source, &tree); err != nil {
			return nil, err
		}
		var laid any = tree
		for _, name := range sorted(values) {
			v, err := native(values[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			laid = set(laid, b.path(name), v)
		}
		var out bytes.Buffer
		e := toml.NewEncoder(&out)
		e.SetIndentTables(false)
		err := e.Encode(laid)
		return out.Bytes(), err
	}
	file, err := parser.ParseBytes(b.source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, name := range sorted(values) {
		text, err := YAML.write(values[name])
		if err != nil {
			return nil, err
		}
		if err := replace(file, b.path(name), text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return []byte(file.String()), nil
}

// replace puts a value, in YAML on one line, in the place of another.
func replace(file *ast.File, path []string, text string) error {
	written, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return err
	}
	at, put := file.Docs[0].Body, func(ast.Node) {}
	for _, segment := range path {
		if anchor, ok := at.(*ast.AnchorNode); ok {
			at = anchor.Value
		}
		switch n := at.(type) {
		case *ast.SequenceNode:
			i, err := strconv.Atoi(segment)
			if err != nil {
				return err
			}
			at, put = n.Values[i], func(v ast.Node) { n.Values[i] = v }
		case ast.MapNode:
			entry := child(n, segment)
			if entry == nil {
				return errors.New("it comes from elsewhere in the file; write it out in its place")
			}
			at, put = entry.Value, func(v ast.Node) { entry.Value = v }
		}
	}
	value := written.Docs[0].Body
	if c := at.GetComment(); c != nil {
		if err := value.SetComment(c); err != nil {
			return err
		}
	}
	put(value)
	return nil
}

// child is a mapping's entry of its own for a key.
func child(m ast.MapNode, key string) *ast.MappingValueNode {
	for it := m.MapRange(); it.Next(); {
		if t := it.Key().GetToken(); t != nil && t.Value == key {
			return it.KeyValue()
		}
	}
	return nil
}

// native is a decoded value as the encoder of TOML takes it.
func native(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, errors.New("TOML has no null")
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		return v.Float64()
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			var err error
			if out[i], err = native(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			var err error
			if out[key], err = native(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// set is a tree with a value at a path, which is there; the tree given is not changed.
func set(tree any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	switch t := tree.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for key, item := range t {
			out[key] = item
		}
		out[path[0]] = set(t[path[0]], path[1:], v)
		return out
	case []any:
		out := append([]any(nil), t...)
		if i, err := strconv.Atoi(path[0]); err == nil {
			out[i] = set(t[i], path[1:], v)
		}
		return out
	}
	return tree
}

// firstDifference is the key at which two trees differ.
func firstDifference(at string, want, got any) string {
	w, isMap := want.(map[string]any)
	g, alike := got.(map[string]any)
	if !isMap || !alike {
		return fmt.Sprintf("%s: %v", strings.TrimPrefix(at, "."), got)
	}
	for _, key := range sorted(w) {
		if !reflect.DeepEqual(w[key], g[key]) {
			return firstDifference(at+"."+key, w[key], g[key])
		}
	}
	return fmt.Sprintf("%s has more keys", strings.TrimPrefix(at, "."))
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
