package study

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Amend sets keys of a study file, each given as key=value, where key is a
// path like limits.run.cost and value is YAML. A list of hypotheses is added
// to the file's own. It returns the file anew; Parse says whether it is a
// study. Comments are not kept.
func Amend(data []byte, sets []string) ([]byte, error) {
	var doc yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(data, &doc, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("reading the study file: %w", err)
	}
	for _, set := range sets {
		key, text, ok := strings.Cut(set, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q sets nothing; write it like limits.run.cost=10USD", set)
		}
		var value any
		if err := yaml.UnmarshalWithOptions([]byte(text), &value, yaml.UseOrderedMap()); err != nil {
			return nil, fmt.Errorf("the value of %s is not YAML: %w", key, err)
		}
		var err error
		if doc, err = setKey(doc, strings.Split(key, "."), value, key); err != nil {
			return nil, err
		}
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("writing the study file: %w", err)
	}
	return out, nil
}

func setKey(m yaml.MapSlice, path []string, value any, whole string) (yaml.MapSlice, error) {
	at := -1
	for n := len(path); n > 0 && at < 0; n-- { // a key may have dots in it
		for i, item := range m {
			if item.Key == strings.Join(path[:n], ".") {
				at, path = i, append([]string{strings.Join(path[:n], ".")}, path[n:]...)
				break
			}
		}
	}
	if at < 0 {
		m, at = append(m, yaml.MapItem{Key: path[0]}), len(m)
	}
	if len(path) == 1 {
		before, list := m[at].Value.([]any)
		if more, ok := value.([]any); ok && list && whole == "hypotheses" {
			value = slices.Concat(before, more)
		}
		m[at].Value = value
		return m, nil
	}
	inner, ok := m[at].Value.(yaml.MapSlice)
	if !ok && m[at].Value != nil {
		return nil, fmt.Errorf("%s cannot be set: %s has no keys of its own", whole, path[0])
	}
	inner, err := setKey(inner, path[1:], value, whole)
	m[at].Value = inner
	return m, err
}
