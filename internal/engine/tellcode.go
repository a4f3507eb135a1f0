package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"ratchet/internal/objects"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// mostCode bounds the files that proposals may change, in bytes, all of them together.
const mostCode = 4 << 20

// proposedCode stores the program's files as a proposal has them, and gives the digest of their
// manifest. base is that of the parent's.
func (e *Engine) proposedCode(st *study.Study, base string, p Proposal) (string, error) {
	switch {
	case p.Code == "" && len(p.Patch) == 0:
		return base, nil
	case p.Code != "" && len(p.Patch) > 0:
		return "", &ProposalError{"the proposal has a folder and a patch", "give one of them"}
	case len(st.Program.Editable) == 0:
		return "", &ProposalError{"the study lets proposals change no file", "propose parameters, or name files under program.editable"}
	}
	tree, err := e.Objects.Tree(objects.Digest(base))
	if err != nil {
		return "", err
	}
	if p.Code != "" {
		tree, err = e.codeOfFolder(st, tree, p.Code)
	} else {
		tree, err = e.codeOfPatch(st, tree, p.Patch)
	}
	if err != nil {
		return "", err
	}
	size := int64(0)
	for _, f := range tree {
		if st.Program.Edits(f.Path) {
			size += f.Size
		}
	}
	if size > mostCode {
		return "", &ProposalError{fmt.Sprintf("the files that may be changed have %s in all", study.Bytes(size)), fmt.Sprintf("keep them below %s; data belongs into inputs", study.Bytes(mostCode))}
	}
	d, err := e.Objects.PutTree(tree)
	return string(d), err
}

// put replaces a file of a tree, or adds it.
func put(tree objects.Tree, f objects.File) objects.Tree {
	tree = slices.DeleteFunc(slices.Clone(tree), func(other objects.File) bool { return other.Path == f.Path })
	return append(tree, f)
}

// codeOfFolder lays the files of a folder that may be changed over those of a tree. A file that
// the folder does not have stays as it is; one that may not be changed must be the same.
func (e *Engine) codeOfFolder(st *study.Study, tree objects.Tree, path string) (objects.Tree, error) {
	path, err := filepath.EvalSymlinks(path) //nolint:forbidigo // the folder is named by whoever proposes
	var folder *untrusted.Folder
	if err == nil {
		folder, err = untrusted.Open(path)
	}
	if err != nil {
		return nil, &ProposalError{fmt.Sprintf("the code cannot be read: %v", err), "name a folder with the program's files"}
	}
	defer folder.Close()
	var wanted []string
	for _, name := range slices.Concat(st.Program.Files, st.Program.Editable) {
		if _, err := folder.Lstat(name); err == nil && !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	if len(wanted) == 0 {
		return nil, &ProposalError{fmt.Sprintf("the folder has none of the program's files, %s", strings.Join(st.Program.Editable, ", ")), "name the folder that they are in"}
	}
	left := int64(mostCode)
	err = folder.VisitFiles(wanted, st.Program.HasInput, func(path string, open func() (*os.File, untrusted.Info, error)) error {
		f, info, err := open()
		if err != nil {
			return err
		}
		defer f.Close() // only read from
		path = filepath.ToSlash(path)
		at := slices.IndexFunc(tree, func(other objects.File) bool { return other.Path == path })
		if !st.Program.Edits(path) && at < 0 {
			return nil // it is not the program's
		}
		if st.Program.Edits(path) {
			if left -= info.Size; left < 0 {
				return &ProposalError{"the files that may be changed are too large", fmt.Sprintf("keep them below %s; data belongs into inputs", study.Bytes(mostCode))}
			}
		}
		d, size, err := e.Objects.Put(f)
		if err != nil {
			return err
		}
		if !st.Program.Edits(path) {
			if tree[at].Digest != d {
				return refusedFile(st, path)
			}
			return nil
		}
		executable := info.Mode&0o111 != 0
		if at >= 0 {
			executable = tree[at].Executable
		}
		tree = put(tree, objects.File{Path: path, Digest: d, Size: size, Executable: executable})
		return nil
	})
	if err != nil && !errors.As(err, new(*ProposalError)) {
		err = &ProposalError{fmt.Sprintf("the code cannot be read: %v", err), "give plain files"}
	}
	return tree, err
}

func refusedFile(st *study.Study, path string) error {
	return &ProposalError{fmt.Sprintf("it changes %s, which proposals may not", path), "they may change " + strings.Join(st.Program.Editable, ", ")}
}

// unprefixed is a name of a patch without what diffs put in front of it, unless a file is
// called so.
func unprefixed(tree objects.Tree, name string) string {
	if slices.ContainsFunc(tree, func(f objects.File) bool { return f.Path == name }) {
		return name
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, "a/"), "b/")
}

// codeOfPatch applies a unified diff to a tree.
func (e *Engine) codeOfPatch(st *study.Study, tree objects.Tree, patch []byte) (objects.Tree, error) {
	if len(patch) > mostCode {
		return nil, &ProposalError{fmt.Sprintf("the patch has %s", study.Bytes(len(patch))), fmt.Sprintf("keep it below %s", study.Bytes(mostCode))}
	}
	files, _, err := gitdiff.Parse(bytes.NewReader(patch))
	if err != nil {
		return nil, &ProposalError{fmt.Sprintf("the patch cannot be read: %v", err), "give a unified diff, as `git diff` or `diff -u` write it"}
	}
	if len(files) == 0 {
		return nil, &ProposalError{"the patch changes nothing", "give a unified diff, as `git diff` or `diff -u` write it"}
	}
	for _, f := range files {
		f.OldName, f.NewName = unprefixed(tree, f.OldName), unprefixed(tree, f.NewName)
		for _, name := range []string{f.OldName, f.NewName} {
			if name != "" && (!fs.ValidPath(name) || !st.Program.Edits(name)) {
				return nil, refusedFile(st, name)
			}
		}
		at := slices.IndexFunc(tree, func(other objects.File) bool { return other.Path == f.OldName })
		var before []byte
		var was objects.File
		switch {
		case f.IsNew && slices.ContainsFunc(tree, func(other objects.File) bool { return other.Path == f.NewName }):
			return nil, &ProposalError{fmt.Sprintf("the patch makes %s, which is there already", f.NewName), "make it against the parent's code"}
		case f.IsNew:
		case at < 0:
			return nil, &ProposalError{fmt.Sprintf("the patch changes %s, which the parent does not have", f.OldName), "make it against the parent's code"}
		default:
			was = tree[at]
			if before, err = e.Objects.Get(was.Digest); err != nil {
				return nil, err
			}
		}
		if f.IsDelete || f.IsRename {
			tree = slices.Delete(slices.Clone(tree), at, at+1)
		}
		if f.IsDelete {
			continue
		}
		var after bytes.Buffer
		if err := gitdiff.Apply(&after, bytes.NewReader(before), f); err != nil {
			return nil, &ProposalError{fmt.Sprintf("the patch does not apply to %s: %v", f.OldName, err), "make it against the parent's code"}
		}
		d, err := e.Objects.PutBytes(after.Bytes())
		if err != nil {
			return nil, err
		}
		tree = put(tree, objects.File{Path: f.NewName, Digest: d, Size: int64(after.Len()), Executable: was.Executable})
	}
	return tree, nil
}
