package study

import (
	"fmt"
	"strings"
)

// Expand replaces {name} in an argument by the value that lookup gives;
// {{ and }} stand for braces. It reports an unclosed brace and a name that
// lookup does not know.
func Expand(arg string, lookup func(name string) (string, bool)) (string, error) {
	var out strings.Builder
	for i := 0; i < len(arg); i++ {
		switch {
		case strings.HasPrefix(arg[i:], "{{"), strings.HasPrefix(arg[i:], "}}"):
			out.WriteByte(arg[i])
			i++
		case arg[i] == '{':
			end := strings.IndexByte(arg[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("%q has a { without its }; write {{ for a brace itself", arg)
			}
			name := arg[i+1 : i+end]
			v, ok := lookup(name)
			if !ok {
				return "", fmt.Errorf("%q names {%s}, which is neither a parameter nor seed; write {{%s}} for the text itself", arg, name, name)
			}
			out.WriteString(v)
			i += end
		default:
			out.WriteByte(arg[i])
		}
	}
	return out.String(), nil
}

// Arguments is the command with the values of one trial in it. An argument
// that names a parameter which does not exist under p (its `when` does not
// hold) is left out, and so is the flag before it.
func (s *Study) Arguments(p Params, seed int64) ([]string, error) {
	var out []string
	for i, arg := range s.Program.Command {
		absent := false
		text, err := Expand(arg, func(name string) (string, bool) {
			if name == "seed" {
				return fmt.Sprint(seed), true
			}
			if v, ok := p[name]; ok {
				return FormatValue(v), true
			}
			_, known := s.Parameter(name)
			absent = absent || known
			return "", known
		})
		if err != nil {
			return nil, err
		}
		if !absent {
			out = append(out, text)
			continue
		}
		if last := len(out) - 1; last > 0 && strings.HasPrefix(out[last], "-") && !strings.Contains(out[last], "=") && out[last] == s.Program.Command[i-1] {
			out = out[:last]
		}
	}
	return out, nil
}
