package attempt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"ratchet/internal/executor"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/internal/untrusted"
)

// opener opens a file to be stored.
type opener func() (*os.File, untrusted.Info, error)

// own opens a file in a folder that no program writes to.
func own(path string) opener {
	return func() (*os.File, untrusted.Info, error) {
		f, err := os.Open(path) //nolint:forbidigo // this is what own is for
		if err != nil {
			return nil, untrusted.Info{}, err
		}
		info, err := untrusted.InfoOf(f)
		return f, info, err
	}
}

// openBox opens what a program worked in. A program without walls may have
// removed it: then it has nothing in it.
func openBox(path string) (*untrusted.Folder, error) {
	box, err := untrusted.OpenBox(path)
	if untrusted.Theirs(err) {
		return nil, nil
	}
	return box, err
}

// Bounds on what is kept of a job.
const (
	mostArtifacts    = 10_000
	mostArtifactName = 255 // bytes
	mostNotes        = 20
)

// store stores what the job printed and reported and, unless it keeps texts alone,
// its artifacts.
func (a *Attempt) store(box *untrusted.Folder) (objects.Tree, []string, error) {
	files, err := a.keepTexts(box)
	if err != nil || a.Job.Keep != executor.KeepOutput {
		return files, nil, err
	}
	s := &stash{a: a}
	defer s.discard()
	k := keeper{put: s.put}
	if err := k.store(box, sandbox.OutputFolder, strings.TrimSuffix(research.OutputFiles, "/")); err != nil {
		return nil, nil, err
	}
	outputs, notes, err := a.keepOutputs(box, s)
	if err == nil {
		err = s.commit()
	}
	return slices.Concat(files, k.files, outputs), append(k.said(), notes...), err
}

// fewFiles is up to how many files are stored one by one, each synced for itself.
const fewFiles = 32

// stash stores files: the first few one by one, and however many more in one go.
// All are durable after commit.
type stash struct {
	a    *Attempt
	n    int
	many *objects.Intake // nil: there are few
}

func (s *stash) put(open opener) (objects.File, error) {
	if s.n++; s.n <= fewFiles {
		return s.a.put(open)
	}
	if s.many == nil {
		var err error
		if s.many, err = s.a.Store.Intake(); err != nil {
			return objects.File{}, err
		}
	}
	return stored(open, s.many.Store)
}

func (s *stash) commit() error {
	if s.many == nil {
		return nil
	}
	in := s.many
	s.many = nil
	return in.Commit()
}

func (s *stash) discard() {
	if s.many != nil {
		s.many.Discard()
	}
}

// keepTexts stores what a job printed and reported.
func (a *Attempt) keepTexts(box *untrusted.Folder) (objects.Tree, error) {
	files := objects.Tree{}
	reported := func() (*os.File, untrusted.Info, error) { return box.Open(sandbox.MetricsFile) }
	for _, of := range []struct {
		name string
		open opener
	}{
		{"stdout", own(shim.Stdout(a.Folder))}, {"stderr", own(shim.Stderr(a.Folder))},
		{sandbox.MetricsFile, reported}, {"diagnosis.txt", own(shim.Diagnosis(a.Folder))},
	} {
		f, err := a.putText(of.open)
		if untrusted.Theirs(err) || errors.Is(err, errEmpty) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.Path = of.name
		files = append(files, f)
	}
	return files, nil
}

// keepOutputs stores what the job keeps of the working folder: what is new
// there, or not what the program's files were. The checkpoint's files come first: a
// program can put a file in the place of a folder on the way to them.
func (a *Attempt) keepOutputs(box *untrusted.Folder, s *stash) (objects.Tree, []string, error) {
	if len(a.Job.Outputs) == 0 {
		return nil, nil, nil
	}
	before, err := a.Store.Tree(objects.Digest(a.Job.Files))
	if err != nil {
		return nil, nil, err
	}
	was := map[string]objects.Digest{}
	for _, f := range before {
		was[research.WorkFiles+f.Path] = f.Digest
	}
	var files objects.Tree
	var names untrusted.Names
	var notes []string
	take := func(in *untrusted.Folder, name, prefix string, skip func(string) bool) error {
		k := keeper{put: s.put}
		err := k.store(in, name, prefix)
		for _, f := range k.files {
			switch {
			case was[f.Path] == f.Digest || names.Has(f.Path) || skip(strings.TrimPrefix(f.Path, research.WorkFiles)):
			case names.Add(f.Path):
				files = append(files, f)
			default:
				k.skip(f.Path, "has the name of a folder that is kept")
			}
		}
		notes = append(notes, k.said()...)
		return err
	}
	if at := a.Job.CheckpointAt; at != "" {
		kept, err := openBox(a.Kept)
		if err != nil {
			return nil, nil, err
		}
		defer kept.Close()
		if err := take(kept, ".", path.Join(research.WorkFiles, at), func(string) bool { return false }); err != nil {
			return nil, nil, err
		}
	}
	for _, o := range a.Job.Outputs {
		if err := take(box, path.Join(sandbox.WorkFolder, o), path.Join(research.WorkFiles, o), a.isInput); err != nil {
			return nil, nil, err
		}
	}
	return files, notes, nil
}

// keeper stores the regular files that a program wrote. What is not a regular
// file, or has a name that could do harm, is named and skipped: links are not
// followed, nothing is waited for.
type keeper struct {
	put             func(opener) (objects.File, error)
	files           objects.Tree
	notes           []string
	skipped, beyond int
}

// store stores what is at a name: a file, or all in a folder. What is not there
// is passed over. prefix is the name by which it is kept.
func (k *keeper) store(in *untrusted.Folder, name, prefix string) error {
	info, err := in.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case untrusted.Theirs(err):
		k.skip(prefix, "cannot be opened")
		return nil
	case err != nil:
		return err
	case !info.Mode.IsDir():
		return k.file(prefix, info.Mode, func() (*os.File, untrusted.Info, error) { return in.Open(name) })
	}
	folder, err := in.Folder(name)
	if untrusted.Theirs(err) {
		k.skip(prefix, "cannot be opened")
		return nil
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Walk(func(e *untrusted.Entry, err error) error {
		at := path.Join(prefix, e.Path)
		switch {
		case untrusted.Theirs(err):
			k.skip(at, "cannot be read")
			return nil
		case err != nil || e.Info.Mode.IsDir():
			return err
		}
		return k.file(at, e.Info.Mode, e.Open)
	})
}

func (k *keeper) file(at string, mode fs.FileMode, open opener) error {
	switch {
	case !mode.IsRegular():
		k.skip(at, "is "+untrusted.Kind(mode))
		return nil
	case !goodName(at):
		k.skip(at, "has a name that is not kept")
		return nil
	case len(k.files) >= mostArtifacts:
		k.beyond++
		return nil
	}
	f, err := k.put(open)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone meanwhile
	case untrusted.Theirs(err):
		k.skip(at, "cannot be opened")
		return nil
	case err != nil:
		return err
	}
	f.Path = at
	k.files = append(k.files, f)
	return nil
}

// skip notes what is not kept, by its name in the output folder, or in the
// working folder.
func (k *keeper) skip(at, why string) {
	shown := strconv.Quote(strings.TrimPrefix(strings.TrimPrefix(at, research.OutputFiles), research.WorkFiles))
	if len(shown) > 120 {
		shown = shown[:117] + `..."`
	}
	if k.skipped++; k.skipped <= mostNotes {
		k.notes = append(k.notes, "skipped: "+shown+" "+why)
	}
}

// said are the notes on what was skipped.
func (k *keeper) said() []string {
	notes := k.notes
	if k.beyond > 0 {
		notes = append([]string{fmt.Sprintf("skipped: %d files beyond the first %d", k.beyond, mostArtifacts)}, notes...)
	}
	if k.skipped > mostNotes {
		notes = append(notes, fmt.Sprintf("skipped: %d files in all", k.skipped))
	}
	return notes
}

var errEmpty = errors.New("the file is empty")

// putText stores what a program wrote for people to read, without secrets, if
// it wrote anything.
func (a *Attempt) putText(open opener) (objects.File, error) {
	f, info, err := open()
	if err != nil {
		return objects.File{}, err
	}
	defer f.Close() // only read from
	if info.Size == 0 {
		return objects.File{}, errEmpty
	}
	digest, size, err := a.Store.Put(a.Secrets.Reader(io.LimitReader(f, info.Size)))
	return objects.File{Digest: digest, Size: size}, err
}

// put stores a file that a program wrote, as long as it is now.
func (a *Attempt) put(open opener) (objects.File, error) { return stored(open, a.Store.Put) }

func stored(open opener, put func(io.Reader) (objects.Digest, int64, error)) (objects.File, error) {
	f, info, err := open()
	if err != nil {
		return objects.File{}, err
	}
	defer f.Close() // only read from
	digest, size, err := put(io.LimitReader(f, info.Size))
	return objects.File{Digest: digest, Size: size, Executable: info.Mode&0o111 != 0}, err
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
