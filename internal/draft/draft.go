// Package draft writes a first study: one that runs as it is, or one of a command that
// works already, from its arguments and from what it does when it is tried.
package draft

import (
	_ "embed" // the first study
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ratchet/internal/environment"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// File is a file that is proposed.
type File struct {
	Name    string
	Content []byte
}

//go:embed first/study.yaml
var firstStudy []byte

//go:embed first/experiment.py
var firstProgram []byte

// First is a study with a small program, which runs as it is.
func First() []File {
	return []File{{"study.yaml", firstStudy}, {"experiment.py", firstProgram}}
}

// Draft is a study of a command, as far as it is known.
type Draft struct {
	dir    string
	given  []string // the command as it was given
	words  []word
	files  []string // of the program
	inputs []input
	notes  []string // questions, and what was found
	tried  *trial   // nil: it was not
}

// word is an argument of the command in the study: text, with {NAME} in the place of a
// parameter's value.
type word struct {
	text  string
	param string // its parameter; "": none
	value string // what stood there
}

// input is a file or folder that the program sees, and where it is.
type input struct{ path, source string }

// Of reads a command. dir is the folder that the study is for: flags that have values,
// and name=value as frameworks with overrides have it, become parameters, a flag for a
// seed becomes {seed}, and files in dir that are named become the program's.
func Of(dir string, command []string) *Draft {
	d := &Draft{dir: dir, given: command}
	for i := 0; i < len(command); i++ {
		i += d.argument(command, i)
	}
	return d
}

var (
	flagForm     = regexp.MustCompile(`^(--?[A-Za-z][\w.-]*)(?:=(.*))?$`)
	overrideForm = regexp.MustCompile(`^(\+{0,2}[A-Za-z_][\w.@/-]*)=(.+)$`)
	seedForm     = regexp.MustCompile(`(?i)^(random[_-]?)?seed$`)
	notName      = regexp.MustCompile(`[^A-Za-z0-9_.]`)
)

// argument takes one argument of the command, and its value if it is a flag
// that has one; it returns how many further arguments it took.
func (d *Draft) argument(command []string, i int) int {
	arg := command[i]
	plain := func(text string) { d.words = append(d.words, word{text: braces(text)}) }
	if i > 0 && d.take(arg) {
		plain(arg)
		return 0
	}
	if m := overrideForm.FindStringSubmatch(arg); i > 0 && m != nil {
		d.words = append(d.words, d.parameter(m[1]+"=", strings.TrimLeft(m[1], "+"), m[2]))
		return 0
	}
	m := flagForm.FindStringSubmatch(arg)
	if i == 0 || m == nil {
		plain(arg)
		return 0
	}
	flag, value := m[1], m[2]
	if strings.Contains(arg, "=") {
		d.words = append(d.words, d.parameter(flag+"=", strings.TrimLeft(flag, "-"), value))
		return 0
	}
	plain(flag)
	if i+1 >= len(command) || flagForm.MatchString(command[i+1]) && !isNumber(command[i+1]) {
		return 0 // a switch
	}
	d.words = append(d.words, d.parameter("", strings.TrimLeft(flag, "-"), command[i+1]))
	return 1
}

// parameter is a word with a parameter in it, where its value is one to be searched.
func (d *Draft) parameter(before, flag, value string) word {
	name := strings.Trim(notName.ReplaceAllString(flag, "_"), "._")
	taken := func(w word) bool { return strings.EqualFold(w.param, name) }
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case seedForm.MatchString(last):
		return word{text: braces(before) + "{seed}", param: "seed", value: value}
	case name == "" || len(name) > 64 || name[0] >= '0' && name[0] <= '9' || slices.ContainsFunc(d.words, taken):
		return word{text: braces(before + value)}
	case !isNumber(value) && d.take(value):
		return word{text: braces(before + value)} // a path is not searched
	}
	return word{text: braces(before) + "{" + name + "}", param: name, value: value}
}

// seeded reports whether the command has a flag for a seed.
func (d *Draft) seeded() bool {
	return slices.ContainsFunc(d.words, func(w word) bool { return w.param == "seed" })
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func braces(s string) string { return strings.NewReplacer("{", "{{", "}", "}}").Replace(s) }

// What of the program's own folder becomes one of its files at most; larger ones are
// inputs, which are not copied.
const mostCopied = 16 << 20

var errLarge = errors.New("it is too large to be copied")

// take makes a file or folder that is there one of the program's files, or an input;
// false: there is none of the name, or the program is not to have it.
func (d *Draft) take(path string) bool {
	clean := filepath.ToSlash(filepath.Clean(path))
	if path == "" || clean == "." {
		return false
	}
	if !filepath.IsLocal(path) {
		return d.takeElsewhere(path)
	}
	folder, err := untrusted.Open(d.dir)
	if err != nil {
		return false
	}
	defer folder.Close()
	var size int64
	err = folder.VisitFiles([]string{clean}, nil, func(_ string, open func() (*os.File, untrusted.Info, error)) error {
		f, info, err := open()
		if err != nil {
			return err
		}
		if size += info.Size; size > mostCopied {
			err = errLarge
		}
		return errors.Join(err, f.Close())
	})
	switch {
	case errors.Is(err, errLarge):
		d.input(clean, clean)
	case errors.As(err, new(*untrusted.UnfitError)):
		d.note("%s is not taken: %s", research.Printable(clean, 100), research.Printable(err.Error(), 200))
		return false
	case err != nil:
		return false
	case keys(clean):
		d.note("%s is not taken, since files of that name usually have keys in them: declare it under inputs if the program needs it", clean)
		return false
	case !slices.Contains(d.files, clean):
		d.files = append(d.files, clean)
	}
	return true
}

// takeElsewhere makes what is outside of the folder an input.
func (d *Draft) takeElsewhere(path string) bool {
	if info, err := os.Stat(study.Resolve(d.dir, path)); err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return false
	}
	in := input{filepath.Base(path), path}
	var keys *environment.KeysError
	st := &study.Study{Program: study.Program{Inputs: []study.Input{{Path: in.path, Source: in.source}}}}
	if err := environment.CheckAllowed(st, d.dir, nil); errors.As(err, &keys) {
		d.note("%s is not taken: %s", research.Printable(path, 100), keys.Keys)
		return false
	}
	d.input(in.path, in.source)
	return true
}

func (d *Draft) input(path, source string) {
	if !slices.ContainsFunc(d.inputs, func(in input) bool { return in.path == path }) {
		d.inputs = append(d.inputs, input{path, source})
	}
}

func (d *Draft) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(d.notes, n) {
		d.notes = append(d.notes, n)
	}
}

// keys reports whether a file's name is one of those that keys are kept under.
func keys(path string) bool {
	base := filepath.Base(path)
	return strings.HasPrefix(base, ".env") || base == ".netrc" || strings.HasPrefix(base, "id_")
}

// seen is an argument as the program sees it: an input that is elsewhere has a place in
// its folder.
func (d *Draft) seen(text string) string {
	for _, in := range d.inputs {
		if in.path != in.source && !strings.Contains(in.source, "{") {
			text = strings.ReplaceAll(text, braces(in.source), in.path)
		}
	}
	return text
}

// command is the command of the study.
func (d *Draft) command() []string {
	out := make([]string, len(d.words))
	for i, w := range d.words {
		out[i] = d.seen(w.text)
	}
	if d.tried != nil && d.tried.onErrors {
		out = append([]string{"sh", "-c", `exec "$0" "$@" 2>&1`}, out...)
	}
	return out
}
