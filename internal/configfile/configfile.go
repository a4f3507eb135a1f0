// Package configfile writes the configuration files of programs: values filled into
// a template, or laid over the keys of a file, in YAML, JSON, TOML or any other text.
package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/pelletier/go-toml/v2"
)

// MaxSize is the largest file that is filled or changed, in bytes.
const MaxSize = 1 << 20

// Format is how a file is written.
type Format string

// The formats. Text is any other: values stand in it as they are.
const (
	YAML Format = "YAML"
	JSON Format = "JSON"
	TOML Format = "TOML"
	Text Format = "text"
)

// FormatOf is the format that a file's name says.
func FormatOf(name string) Format {
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml":
		return YAML
	case ".json":
		return JSON
	case ".toml":
		return TOML
	}
	return Text
}

// Value is what stands for a name.
type Value struct {
	JSON string // as JSON
	Text string // as it stands within other text
}

// Mistake is what is wrong with a file, and where.
type Mistake struct {
	Line, Column int // from 1
	What, Remedy string
}

func (m *Mistake) Error() string {
	return fmt.Sprintf("line %d, column %d: %s; %s", m.Line, m.Column, m.What, m.Remedy)
}

// read is a file's content as a tree of maps, lists and scalars: for YAML, the
// list of its documents.
func (f Format) read(b []byte) (any, error) {
	switch f {
	case YAML:
		var documents []any
		d := yaml.NewDecoder(bytes.NewReader(b))
		for {
			var one any
			if err := d.Decode(&one); err != nil {
				if errors.Is(err, io.EOF) {
					return normal(documents), nil
				}
				return nil, err
			}
			documents = append(documents, one)
		}
	case JSON:
		var one any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err := d.Decode(&one)
		if err == nil {
			if _, more := d.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("something stands behind the document")
			}
		}
		return normal(one), err
	case TOML:
		one := map[string]any{}
		err := toml.Unmarshal(b, &one)
		return normal(one), err
	}
	return string(b), nil
}

// place is where a file cannot be read, and why.
func (f Format) place(b []byte, err error) *Mistake {
	m := &Mistake{Line: 1, Column: 1, What: fmt.Sprintf("this is not %s: %s", f, firstLine(err.Error()))}
	var inYAML yaml.Error
	var inTOML *toml.DecodeError
	var inJSON *json.SyntaxError
	switch {
	case errors.As(err, &inYAML):
		m.What = fmt.Sprintf("this is not %s: %s", f, inYAML.GetMessage())
		if t := inYAML.GetToken(); t != nil && t.Position != nil {
			m.Line, m.Column = t.Position.Line, t.Position.Column
		}
	case errors.As(err, &inTOML):
		m.Line, m.Column = inTOML.Position()
	case errors.As(err, &inJSON):
		m.Line, m.Column = position(b, int(inJSON.Offset)-1)
	}
	return m
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// position is the line and the column, in bytes, of an offset; both from 1.
func position(b []byte, offset int) (line, column int) {
	before := b[:max(0, min(offset, len(b)))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// number is a number of a tree, in one notation for all formats.
type number string

func newNumber(x float64) number {
	if whole := strconv.FormatFloat(x, 'f', 0, 64); len(whole) < 18 {
		if back, err := strconv.ParseFloat(whole, 64); err == nil && back == x {
			return number(whole)
		}
	}
	return number(strconv.FormatFloat(x, 'g', -1, 64))
}

// normal is a tree in which what is equal compares equal, whatever read it.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = normal(item)
		}
		return out
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[fmt.Sprint(key)] = normal(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = normal(item)
		}
		return out
	case string, bool, nil:
		return v
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return number(strconv.FormatInt(i, 10))
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return number(strconv.FormatUint(u, 10))
		}
		if x, err := v.Float64(); err == nil {
			return newNumber(x)
		}
		return number(v.String())
	case float64:
		return newNumber(v)
	}
	return number(fmt.Sprint(v)) // whole numbers, and times
}

// write is a value in a format's own notation, on one line. Readers of YAML 1.1 take
// a number with an exponent for one only if it has a point and its exponent a sign.
func (f Format) write(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		if f == TOML {
			return "", errors.New("TOML has no null")
		}
		return "null", nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		if mantissa, exponent, ok := strings.Cut(v.String(), "e"); ok && f == YAML && !strings.Contains(mantissa, ".") {
			return mantissa + ".0e" + exponent, nil
		}
		return v.String(), nil
	case string:
		return quote(v), nil
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			var err error
			if items[i], err = f.write(item); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	case map[string]any:
		var items []string
		between := ": "
		if f == TOML {
			between = " = "
		}
		for _, key := range sorted(v) {
			item, err := f.write(v[key])
			if err != nil {
				return "", err
			}
			items = append(items, quote(key)+between+item)
		}
		return "{" + strings.Join(items, ", ") + "}", nil
	}
	return "", fmt.Errorf("%T has no notation", v)
}

// quote is a text in double quotes, with escapes that YAML, JSON and TOML share.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // texts always encode
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}

// decoded is a value as a tree.
func (v Value) decoded() (any, error) {
	var out any
	d := json.NewDecoder(strings.NewReader(v.JSON))
	d.UseNumber()
	err := d.Decode(&out)
	return out, err
}
