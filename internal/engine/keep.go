package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/sandbox"
)

// keep stores the output and the artifacts of an attempt.
func (d *driver) keep(out executor.Outcome) (objects.Tree, []string, error) {
	files := objects.Tree{}
	for _, of := range []struct{ name, path string }{{"stdout", out.Stdout}, {"stderr", out.Stderr}, {sandbox.MetricsFile, out.Metrics}, {"diagnosis.txt", out.Diagnosis}} {
		name, path := of.name, of.path
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			continue
		}
		f, err := d.engine.putText(path)
		if err != nil {
			return nil, nil, err
		}
		f.Path = name
		files = append(files, f)
	}
	kept, notes, err := keepFolder(out.Output, "output/", d.engine.putUntrusted)
	if err != nil {
		return nil, nil, err
	}
	files = append(files, kept...)
	kept, more, err := d.keepOutputs(out)
	return append(files, kept...), append(notes, more...), err
}

// workPrefix begins the names of what is kept of a working folder.
const workPrefix = "work/"

// keepOutputs stores what the study wants of the working folder: what is new
// there, or not what the program's files were.
func (d *driver) keepOutputs(out executor.Outcome) (objects.Tree, []string, error) {
	p := d.study.Program
	if len(p.Outputs) == 0 {
		return nil, nil, nil
	}
	snapshot, err := d.engine.objects.Tree(objects.Digest(d.state.Created.Snapshot))
	if err != nil {
		return nil, nil, err
	}
	was := map[string]objects.Digest{}
	for _, f := range snapshot {
		was[workPrefix+f.Path] = f.Digest
	}
	var files objects.Tree
	var notes []string
	take := func(dir, prefix string, skip func(string) bool) error {
		kept, more, err := keepFolder(dir, prefix, d.engine.putUntrusted)
		notes = append(notes, more...)
		for _, f := range kept {
			if was[f.Path] != f.Digest && !skip(strings.TrimPrefix(f.Path, workPrefix)) {
				files = append(files, f)
			}
		}
		return err
	}
	input := func(path string) bool { // what inputs were mounted on
		for _, in := range p.Inputs {
			if path == in.Path || strings.HasPrefix(path, in.Path+"/") {
				return true
			}
		}
		return false
	}
	for _, o := range p.Outputs {
		if err := take(filepath.Join(out.Work, o), workPrefix+strings.TrimPrefix(o+"/", "./"), input); err != nil {
			return nil, nil, err
		}
	}
	if p.Checkpoint != "" {
		err = take(out.Checkpoint, workPrefix+p.Checkpoint+"/", func(string) bool { return false })
	}
	return files, notes, err
}

// keepFolder stores the regular files of a folder that a program wrote. What
// is not a regular file, or has a name that could do harm, is named in notes
// and skipped: links are not followed, nothing is waited for.
func keepFolder(dir, prefix string, put func(path string) (objects.File, error)) (objects.Tree, []string, error) {
	files := objects.Tree{}
	var notes []string
	skipped, beyond := 0, 0
	skip := func(what string) {
		if skipped++; skipped <= mostNotes {
			notes = append(notes, "skipped: "+what)
		}
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path) // below dir by construction
		shown := strconv.Quote(rel)
		if len(shown) > 120 {
			shown = shown[:117] + `..."`
		}
		switch {
		case err != nil && path == dir:
			return nil // the program removed its output folder: nothing is kept
		case err != nil:
			skip(shown + " cannot be read")
			return nil
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			skip(shown + " is " + kindOf(entry.Type()))
			return nil
		case !goodName(rel):
			skip(shown + " has a name that is not kept")
			return nil
		case len(files) >= mostArtifacts:
			beyond++
			return nil
		}
		f, err := put(path)
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ELOOP), errors.Is(err, errNotRegular):
			skip(shown + " cannot be opened")
			return nil
		case err != nil:
			return err
		}
		f.Path = prefix + filepath.ToSlash(rel)
		files = append(files, f)
		return nil
	})
	if beyond > 0 {
		notes = append([]string{fmt.Sprintf("skipped: %d files beyond the first %d", beyond, mostArtifacts)}, notes...)
	}
	if skipped > mostNotes {
		notes = append(notes, fmt.Sprintf("skipped: %d files in all", skipped))
	}
	return files, notes, err
}

var errNotRegular = errors.New("not a regular file")

// putText stores what a program wrote for people to read, without secrets.
func (e *Engine) putText(path string) (objects.File, error) {
	f, info, err := openUntrusted(path)
	if err != nil {
		return objects.File{}, err
	}
	defer f.Close() // only read from
	digest, size, err := e.objects.Put(e.secrets.Reader(io.LimitReader(f, info.Size())))
	return objects.File{Digest: digest, Size: size}, err
}

func (e *Engine) putUntrusted(path string) (objects.File, error) {
	f, info, err := openUntrusted(path)
	if err != nil {
		return objects.File{}, err
	}
	defer f.Close() // only read from
	digest, size, err := e.objects.Put(io.LimitReader(f, info.Size()))
	return objects.File{Digest: digest, Size: size, Executable: info.Mode()&0o111 != 0}, err
}

// openUntrusted opens a regular file that a program wrote; it follows no link
// and waits for nobody.
func openUntrusted(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func goodName(rel string) bool {
	if !utf8.ValidString(rel) || len(rel) > 4*mostArtifactName {
		return false
	}
	for _, r := range rel {
		if unicode.IsControl(r) || r == '\\' {
			return false
		}
	}
	return filepath.IsLocal(rel)
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}
