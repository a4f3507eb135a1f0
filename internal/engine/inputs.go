package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ratchet/internal/journal"
	"ratchet/internal/objects"
	"ratchet/internal/research"
	"ratchet/internal/untrusted"
	"ratchet/study"
)

// hashBelow is the size up to which an input is recorded by the digest of its
// content; above, by names, sizes and times, unless the study asks for more.
const hashBelow = 1 << 30

// inputRecord is what a run keeps of an input, to see later that it is still
// the same.
type inputRecord struct {
	Path   string      `json:"path"`
	Source string      `json:"source"`
	Files  []inputFile `json:"files"`
	// hidden are sockets, pipes and devices, which programs do not see.
	hidden []string
	// identity is by what a change of the files is noticed without reading them.
	identity []identity
}

// identity changes with a file's content: a program can set a file's times of
// access and modification, but not that of its last change.
type identity struct {
	path              string
	dev, ino          uint64
	size              int64
	modified, changed int64 // nanoseconds since 1970
}

type inputFile struct {
	Path   string     `json:"path"` // "." for an input that is a file
	Size   int64      `json:"size"` // bytes
	Digest string     `json:"digest,omitempty"`
	Time   *time.Time `json:"time,omitempty"` // of modification; only without a digest
}

// recordInputs stores the facts about all inputs as one object.
func (e *Engine) recordInputs(inputs []study.Input, dir string) (string, error) {
	if len(inputs) == 0 {
		return "", nil
	}
	records := make([]inputRecord, 0, len(inputs))
	for _, in := range inputs {
		r, err := describeInput(in, dir, true)
		if err != nil {
			return "", err
		}
		records = append(records, r)
	}
	b, err := json.Marshal(records)
	if err != nil {
		return "", err
	}
	d, err := e.Objects.PutBytes(b)
	return string(d), err
}

// describeInput describes an input, with its content or by its files alone.
func describeInput(in study.Input, dir string, content bool) (inputRecord, error) {
	r := inputRecord{Path: in.Path, Source: in.Locate(dir)}
	resolved, err := filepath.EvalSymlinks(r.Source) //nolint:forbidigo // an input is named by its path
	if err != nil {
		return r, fmt.Errorf("input %s: %w", in.Path, err)
	}
	above, err := untrusted.Open(filepath.Dir(resolved))
	if err != nil {
		return r, fmt.Errorf("input %s: %w", in.Path, err)
	}
	defer above.Close()
	if err := r.describe(above, filepath.Base(resolved), content, in.Hash == "full"); err != nil {
		return r, fmt.Errorf("input %s: %w", in.Path, err)
	}
	return r, nil
}

// describe notes the files of the input at a name; their content too, up to a
// bound or whole.
func (r *inputRecord) describe(above *untrusted.Folder, name string, content, whole bool) error {
	info, err := above.Lstat(name)
	if err != nil {
		return err
	}
	var total int64
	note := func(path string, info untrusted.Info) {
		modified := info.Modified.UTC()
		r.Files = append(r.Files, inputFile{Path: path, Size: info.Size, Time: &modified})
		r.identity = append(r.identity, identity{path, info.Dev, info.Ino, info.Size, info.Modified.UnixNano(), info.Changed.UnixNano()})
		total += info.Size
	}
	if info.Mode.IsRegular() {
		note(".", info)
	} else {
		folder, err := above.Folder(name)
		if err != nil {
			return err
		}
		defer folder.Close()
		err = folder.Walk(func(e *untrusted.Entry, err error) error {
			switch mode := e.Info.Mode; {
			case err != nil:
				return err
			case mode.IsRegular():
				note(e.Path, e.Info)
			case untrusted.Special(mode):
				r.hidden = append(r.hidden, e.Path)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !content || total > hashBelow && !whole {
		return nil
	}
	for i, f := range r.Files {
		if r.Files[i].Digest, err = digestOf(above, path.Join(name, f.Path)); err != nil {
			return err
		}
		r.Files[i].Time = nil
	}
	return nil
}

func digestOf(above *untrusted.Folder, name string) (string, error) {
	f, _, err := above.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() // only read from
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// inputs are a run's inputs as they were when their content was last seen to be
// what the run's record has.
type inputs struct {
	mu      sync.Mutex
	dir     string
	list    []study.Input
	records []inputRecord
}

// hidden is what programs do not see of an input.
func (n *inputs) hidden(i int) []string {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.records[i].hidden
}

// InputsError says that inputs are not what they were when the run began.
type InputsError struct {
	Run, What string
	retry     bool // trials were to be tried again
}

func (i *InputsError) Error() string {
	if i.retry {
		return fmt.Sprintf("%s since run %s began; put it back, or `ratchet retry %s --accept-inputs` tries the failed trials again with it as it is, beside others that had it as it was", i.What, i.Run, i.Run)
	}
	return fmt.Sprintf("%s since run %s began; put it back and `ratchet resume %s` goes on, or `ratchet resume %s --accept-inputs` measures everything anew with it as it is", i.What, i.Run, i.Run, i.Run)
}

// checkInputs refuses to go on with inputs that are not what they were.
func (e *Engine) checkInputs(c research.RunCreated) (*inputs, error) {
	if c.Inputs == "" {
		return nil, nil
	}
	b, err := e.Objects.Get(objects.Digest(c.Inputs))
	if err != nil {
		return nil, fmt.Errorf("reading the record of the inputs: %w", err)
	}
	n := &inputs{dir: c.Folder, list: c.Study.AllInputs()}
	if err := json.Unmarshal(b, &n.records); err != nil {
		return nil, fmt.Errorf("reading the record of the inputs: %w", err)
	}
	if len(n.records) != len(n.list) {
		return nil, fmt.Errorf("the record of the inputs has %d of them, and the study %d", len(n.records), len(n.list))
	}
	if what := n.changed(); what != "" {
		return nil, &InputsError{Run: c.Run, What: what}
	}
	return n, nil
}

// changed says which input is not what the record has, and how it differs; "":
// none. It reads a file's content only where the file is not the one that it was:
// another inode, size or time.
func (n *inputs) changed() string {
	if n == nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, in := range n.list {
		before := n.records[i]
		now, err := describeInput(in, n.dir, false)
		if err == nil && before.identity != nil && slices.Equal(before.identity, now.identity) {
			continue
		}
		if err == nil {
			now, err = describeInput(in, n.dir, true)
		}
		if err != nil {
			return fmt.Sprintf("the input %s cannot be read any more (%v)", in.Path, err)
		}
		if what := before.differs(now); what != "" {
			return fmt.Sprintf("the input %s (%s) has changed: %s", in.Path, now.Source, what)
		}
		n.records[i] = now
	}
	return ""
}

// differs says how an input is not the one that another record has; "": it is.
func (r inputRecord) differs(now inputRecord) string {
	if r.Source != now.Source {
		return "it is another file, " + now.Source
	}
	after := map[string]inputFile{}
	for _, f := range now.Files {
		after[f.Path] = f
	}
	for _, f := range r.Files {
		to, there := after[f.Path]
		delete(after, f.Path)
		name := "its content"
		if f.Path != "." {
			name = f.Path
		}
		switch {
		case !there:
			return f.Path + " is gone"
		case f.Size != to.Size:
			return fmt.Sprintf("%s had %d bytes and has %d", name, f.Size, to.Size)
		case f.Digest != to.Digest:
			return fmt.Sprintf("%s was sha256 %.12s and is %.12s", name, f.Digest, to.Digest)
		case f.Time != nil && to.Time != nil && !f.Time.Equal(*to.Time):
			return fmt.Sprintf("%s was written at %s", name, to.Time.Format(time.RFC3339))
		}
	}
	for path := range after {
		return path + " is new"
	}
	return ""
}

// newInputs records the inputs of a run as they are now, where they are not as its
// record has them: the digest, and how they differ; "": they are as recorded.
func (e *Engine) newInputs(c research.RunCreated) (record, what string, err error) {
	_, err = e.checkInputs(c)
	var changed *InputsError
	if !errors.As(err, &changed) {
		return "", "", err
	}
	record, err = e.recordInputs(c.Study.AllInputs(), c.Folder)
	return record, changed.What, err
}

// acceptInputs lets a run go on with its inputs as they are now. What was measured
// with others is rolled back.
func (e *Engine) acceptInputs(ctx context.Context, s *research.State, head journal.Head, by string) error {
	c := s.Created
	record, what, err := e.newInputs(c)
	if err != nil || record == "" {
		return err // nil: there is nothing to accept
	}
	for _, stage := range s.StageRecord {
		if stage.Name == research.Planning && !stage.Ended.IsZero() && s.Stage != research.Planning {
			if s, head, err = e.rollBack(ctx, s, head, stage.Seq, by); err != nil {
				return err
			}
			break
		}
	}
	if err := e.AppendTo(ctx, c.Run, head, s.Time, research.InputsAccepted{Inputs: record, What: what, By: by}); err != nil {
		return fmt.Errorf("accepting the inputs: %w", err)
	}
	return nil
}
