package environment

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"ratchet/study"
)

// VariableError says that a study gives its programs a variable of the user's
// environment that is not to be had.
type VariableError struct{ Name, Why, Remedy string }

func (v *VariableError) Error() string {
	return fmt.Sprintf("the study gives its programs the variable %s of your environment, %s; %s", v.Name, v.Why, v.Remedy)
}

// CheckGranted refuses a study whose programs get variables of the user's environment
// that the user has not granted by name: a study may be a stranger's, and name any.
func CheckGranted(st *study.Study, granted []string) error {
	for _, name := range st.Program.Wanted() {
		if !slices.Contains(granted, name) {
			return &VariableError{name, "and you have not said that they may have it", "if they may, add --env " + name}
		}
	}
	return nil
}

// Given are the variables of this process's environment, NAME=value, that programs
// get. One that is not set is a VariableError.
func Given(st *study.Study) ([]string, error) {
	var out []string
	for _, name := range st.Program.Wanted() {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, &VariableError{name, "and it is not set", fmt.Sprintf("set it (export %s=…), or remove it from program.env", name)}
		}
		out = append(out, name+"="+value)
	}
	return out, nil
}

// ordinary are variables that say nothing of what a program needs.
var ordinary = []string{"PATH", "HOME", "USER", "SHELL", "TERM", "LANG", "PWD", "OLDPWD", "SHLVL", "HOSTNAME", "LOGNAME", "EDITOR", "PAGER", "DISPLAY", "_"}

// Missed are the names of this process's variables that a text mentions and that are
// not among those that a program had (NAME=value).
func Missed(text string, had []string) (out []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		known := slices.ContainsFunc(had, func(h string) bool { return strings.HasPrefix(h, name+"=") })
		if len(name) < 4 || known || slices.Contains(ordinary, name) || strings.HasPrefix(name, "RATCHET_") || strings.ToUpper(name) != name {
			continue
		}
		if mentions(text, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// mentions reports whether a text has a name as a word of its own.
func mentions(text, name string) bool {
	part := func(c byte) bool {
		return c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
	}
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return false
		}
		at, end := from+i, from+i+len(name)
		if (at == 0 || !part(text[at-1])) && (end == len(text) || !part(text[end])) {
			return true
		}
		from = end
	}
}
