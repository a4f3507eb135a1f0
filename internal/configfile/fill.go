package configfile

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ratchet/internal/yamlfile"
)

// spotForm finds what stands for a value: {name}; {{name}}, which stands for the text
// {name}; and ${…}, which is left to the program.
var spotForm = regexp.MustCompile(`\$\{[^{}\n]*\}|\{\{([A-Za-z_][A-Za-z0-9_.-]*)\}\}|\{([A-Za-z_][A-Za-z0-9_.-]*)\}`)

// spot is a place in a template.
type spot struct {
	name       string
	start, end int // offsets
	in         within
}

// within is what a spot stands in, which says how a value is written there.
type within int

const (
	alone   within = iota // a value of its own: written in the format's notation
	escaped               // a text with escapes, in double quotes
	doubled               // a text of YAML in single quotes, in which they are doubled
	raw                   // any other text
	comment
)

// Template is a text with names in it.
type Template struct {
	format Format
	text   []byte // with {{name}} as {name} outside of spots
	source []byte
	moved  []move // where text differs from source
	spots  []spot
	tree   any // with marks in place of values
}

// move is by how many bytes the source is longer than the text, from an offset of the text on.
type move struct{ at, by int }

// Parse reads a template. known says which names there are; nil: all. The error is a
// *Mistake.
func Parse(format Format, source []byte, known []string) (*Template, error) {
	t := &Template{format: format, source: source}
	if len(source) > MaxSize {
		return nil, &Mistake{1, 1, fmt.Sprintf("the template has %d bytes", len(source)), fmt.Sprintf("at most %d are read", MaxSize)}
	}
	last, longer := 0, 0
	for _, m := range spotForm.FindAllSubmatchIndex(source, -1) {
		switch {
		case m[2] >= 0:
			t.text = append(append(t.text, source[last:m[0]]...), source[m[0]+1:m[1]-1]...)
			longer += 2
			t.moved = append(t.moved, move{len(t.text), longer})
			last = m[1]
		case m[4] >= 0:
			t.text = append(t.text, source[last:m[0]]...)
			last = m[0]
			s := spot{name: string(source[m[4]:m[5]]), start: len(t.text), end: len(t.text) + m[1] - m[0]}
			if known != nil && !slices.Contains(known, s.name) {
				remedy := fmt.Sprintf("write {{%s}} for the text itself", s.name)
				if near := yamlfile.Nearest(s.name, known); near != "" {
					remedy = fmt.Sprintf("did you mean {%s}? Else %s", near, remedy)
				}
				return nil, t.mistakeAt(s.start, fmt.Sprintf("there is no parameter %q", s.name), remedy)
			}
			t.spots = append(t.spots, s)
		}
	}
	t.text = append(t.text, source[last:]...)
	return t, t.look()
}

// Names are the names in the template.
func (t *Template) Names() []string {
	var out []string
	for _, s := range t.spots {
		out = append(out, s.name)
	}
	return out
}

func (t *Template) mistakeAt(offset int, what, remedy string) *Mistake {
	by := 0
	for _, m := range t.moved {
		if m.at <= offset {
			by = m.by
		}
	}
	line, column := position(t.source, offset+by)
	return &Mistake{line, column, what, remedy}
}

// mark is the number that stands for the value of a spot while the template is read.
func mark(i int) string { return strconv.Itoa(73_190_264_000_000 + i) }

// with is the text with something in each spot.
func (t *Template) with(in func(i int) string) []byte {
	var out bytes.Buffer
	last := 0
	for i, s := range t.spots {
		out.Write(t.text[last:s.start])
		out.WriteString(in(i))
		last = s.end
	}
	out.Write(t.text[last:])
	return out.Bytes()
}

// look finds out what each spot stands in, by reading the template with numbers in
// the places of values: a number alone is read as a number, one in a text is not, and
// one in a comment is not read at all. What escapes mean there is found out alike.
func (t *Template) look() error {
	if t.format == Text {
		for i := range t.spots {
			t.spots[i].in = raw
		}
		return nil
	}
	if bytes.Contains(t.text, []byte(mark(0)[:8])) {
		return &Mistake{1, 1, "the template has the number " + mark(0)[:8] + " in it, which stands for values while it is read", "write it otherwise"}
	}
	marked := t.with(mark)
	tree, err := t.format.read(marked)
	if err != nil {
		m := t.format.place(marked, err)
		m.Column = max(1, m.Column-t.wider(m.Line, m.Column))
		m.Remedy = "a {name} stands for a value, or within a text"
		return m
	}
	t.tree = tree
	for i := range t.spots {
		s := &t.spots[i]
		has := func(more string) func(text string) bool {
			return func(text string) bool { return strings.Contains(text, mark(i)+more) }
		}
		probe := func(insert, means string) bool {
			tree, err := t.format.read(t.with(func(j int) string {
				if j == i {
					return mark(j) + insert
				}
				return mark(j)
			}))
			return err == nil && anyText(tree, has(means)) && !anyText(tree, has(insert))
		}
		switch {
		case anyNumber(tree, number(mark(i))):
			s.in = alone
		case !anyText(tree, has("")):
			s.in = comment
		case probe(`\u0041`, "A"):
			s.in = escaped
		case t.format == YAML && probe("''", "'"):
			s.in = doubled
		default:
			s.in = raw
		}
	}
	return nil
}

// wider is by how much the marks before a column make a line longer.
func (t *Template) wider(line, column int) int {
	more := 0
	for i, s := range t.spots {
		if l, c := position(t.text, s.start); l == line && c+more < column {
			more += len(mark(i)) - (s.end - s.start)
		}
	}
	return more
}

// Fill is the template with values in it. A value that is not there, nil, is null
// where it stands alone, and nothing elsewhere. The error is a *Mistake: a value that
// the template has no room for, like a text with a quote within quotes of its own.
func (t *Template) Fill(value func(name string) *Value) ([]byte, error) {
	inserted, means := make([]string, len(t.spots)), make([]any, len(t.spots))
	texts := make([]string, 2*len(t.spots))
	for i, s := range t.spots {
		v := value(s.name)
		if v == nil {
			v = &Value{JSON: "null"}
		}
		tree, err := v.decoded()
		if err == nil && s.in == alone {
			inserted[i], err = t.format.write(tree)
		}
		if err != nil {
			return nil, t.mistakeAt(s.start, fmt.Sprintf("{%s} cannot be filled in: %s", s.name, err), "write it within a text, or give the parameter other values")
		}
		switch s.in {
		case escaped:
			quoted := quote(v.Text)
			inserted[i] = quoted[1 : len(quoted)-1]
		case doubled:
			inserted[i] = strings.ReplaceAll(v.Text, "'", "''")
		case raw:
			inserted[i] = v.Text
		case comment:
			inserted[i] = strings.Join(strings.Fields(v.Text), " ")
		}
		means[i] = normal(tree)
		texts[2*i], texts[2*i+1] = mark(i), v.Text
	}
	out := t.with(func(i int) string { return inserted[i] })
	if t.format == Text {
		return out, nil
	}
	tree, err := t.format.read(out)
	if err == nil && reflect.DeepEqual(tree, replaced(t.tree, means, strings.NewReplacer(texts...))) {
		return out, nil
	}
	for i, s := range t.spots { // the first that does not fit by itself
		alone := t.with(func(j int) string {
			if j == i {
				return inserted[i]
			}
			return mark(j)
		})
		want := replaced(t.tree, append(append(make([]any, i), means[i]), make([]any, len(means)-i-1)...), strings.NewReplacer(texts[2*i:2*i+2]...))
		if tree, err := t.format.read(alone); err != nil || !reflect.DeepEqual(tree, want) {
			return nil, t.mistakeAt(s.start, fmt.Sprintf("{%s} cannot be %q here: the file would say something else", s.name, texts[2*i+1]), `put the text that it stands in into double quotes`)
		}
	}
	return nil, t.mistakeAt(t.spots[0].start, "the values do not fit together here", "put each into double quotes")
}

// replaced is a tree with values in the places of marks; a nil value leaves its mark.
func replaced(tree any, values []any, texts *strings.Replacer) any {
	switch v := tree.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[texts.Replace(key)] = replaced(item, values, texts)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = replaced(item, values, texts)
		}
		return out
	case string:
		return texts.Replace(v)
	case number:
		for i, value := range values {
			if v == number(mark(i)) && texts.Replace(mark(i)) != mark(i) {
				return value
			}
		}
	}
	return tree
}

func anyText(tree any, is func(string) bool) bool {
	switch v := tree.(type) {
	case map[string]any:
		for key, item := range v {
			if is(key) || anyText(item, is) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if anyText(item, is) {
				return true
			}
		}
	case string:
		return is(v)
	}
	return false
}

func anyNumber(tree any, n number) bool {
	switch v := tree.(type) {
	case map[string]any:
		for _, item := range v {
			if anyNumber(item, n) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if anyNumber(item, n) {
				return true
			}
		}
	case number:
		return v == n
	}
	return false
}
