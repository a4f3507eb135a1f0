package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"time"

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
		r, err := describeInput(in, dir)
		if err != nil {
			return "", err
		}
		records = append(records, r)
	}
	b, err := json.Marshal(records)
	if err != nil {
		return "", err
	}
	d, err := e.objects.PutBytes(b)
	return string(d), err
}

func describeInput(in study.Input, dir string) (inputRecord, error) {
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
	if err := r.describe(above, filepath.Base(resolved), in.Hash == "full"); err != nil {
		return r, fmt.Errorf("input %s: %w", in.Path, err)
	}
	return r, nil
}

// describe notes the files of the input at a name.
func (r *inputRecord) describe(above *untrusted.Folder, name string, whole bool) error {
	info, err := above.Lstat(name)
	if err != nil {
		return err
	}
	var total int64
	note := func(path string, info untrusted.Info) {
		modified := info.Modified.UTC()
		r.Files = append(r.Files, inputFile{Path: path, Size: info.Size, Time: &modified})
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
	if total > hashBelow && !whole {
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

// checkInputs refuses to go on with inputs that are not what they were, and says
// what of each is not to be seen.
func (e *Engine) checkInputs(c research.RunCreated) (hidden map[string][]string, err error) {
	if c.Inputs == "" {
		return nil, nil
	}
	b, err := e.objects.Get(objects.Digest(c.Inputs))
	if err != nil {
		return nil, fmt.Errorf("reading the record of the inputs: %w", err)
	}
	var records []inputRecord
	if err := json.Unmarshal(b, &records); err != nil {
		return nil, fmt.Errorf("reading the record of the inputs: %w", err)
	}
	if len(records) != len(c.Study.Program.Inputs) {
		return nil, fmt.Errorf("the record of the inputs has %d of them, and the study %d", len(records), len(c.Study.Program.Inputs))
	}
	hidden = map[string][]string{}
	for i, in := range c.Study.Program.Inputs {
		now, err := describeInput(in, c.Folder)
		if err != nil {
			return nil, fmt.Errorf("%w; put it back to go on with this run", err)
		}
		hidden[in.Path] = now.hidden
		before, err := json.Marshal(records[i])
		if err != nil {
			return nil, err
		}
		after, err := json.Marshal(now)
		if err != nil {
			return nil, err
		}
		if string(before) != string(after) {
			return nil, fmt.Errorf("the input %s (%s) has changed since the run began; put it back, or start a new run", in.Path, now.Source)
		}
	}
	return hidden, nil
}
